"""`fab guard.*`: the guard, which closes windows when their clients cannot."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.tasks import guard_cluster_tasks
from metalfoundry.ui.tasks.options import INVENTORY, opened, task, words


@task(help=words("inventory", "json"))
def status(c: Context, inventory: str = INVENTORY, json: bool = False) -> None:
    """Show the guard, what it guards and what it closed last.

    Example: fab guard.status
    """
    from metalfoundry.ui.tasks import guard as body

    with opened(inventory, json) as foundry:
        body.status(foundry, json)


@task(help=words("inventory"))
def log(c: Context, inventory: str = INVENTORY) -> None:
    """Show the log of the guard on the jump host.

    Example: fab guard.log
    """
    from metalfoundry.ui.tasks import guard as body

    with opened(inventory, quiet=True) as foundry:
        body.log(foundry)


@task(help=words("inventory", force="even if it has claims: their windows are closed"))
def stop(c: Context, inventory: str = INVENTORY, force: bool = False) -> None:
    """End the guard on the jump host.

    Example: fab guard.stop
    """
    from metalfoundry.ui.tasks import guard as body

    with opened(inventory) as foundry:
        body.stop(foundry, force)


def collection() -> Collection:
    """The tasks as `guard.*`."""
    return Collection("guard", status, log, stop, *guard_cluster_tasks.TASKS)
