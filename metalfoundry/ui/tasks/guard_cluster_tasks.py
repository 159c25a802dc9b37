"""`fab guard.install`, `guard.remove`, `guard.print`: the guard in the cluster."""

from __future__ import annotations

from invoke.context import Context

from metalfoundry.ui.tasks.options import INVENTORY, opened, task, words

IMAGE = "instead of the inventory's site.guard.image: one with a POSIX shell and kubectl"


@task(help=words("inventory", "yes", image=IMAGE))
def install(c: Context, inventory: str = INVENTORY, image: str = "", yes: bool = False) -> None:
    """Install the guard in the cluster; wait until it guards.

    Example: fab guard.install
    """
    from metalfoundry.ui.tasks import guard_cluster as body

    with opened(inventory) as foundry:
        body.install(foundry, image, ask=not yes)


@task(help=words("inventory", "yes", force="even while runs hold servers"))
def remove(c: Context, inventory: str = INVENTORY, force: bool = False, yes: bool = False) -> None:
    """Take the guard out of the cluster.

    Example: fab guard.remove
    """
    from metalfoundry.ui.tasks import guard_cluster as body

    with opened(inventory) as foundry:
        body.remove(foundry, force, ask=not yes)


@task(name="print", help=words("inventory", image=IMAGE))
def print_(c: Context, inventory: str = INVENTORY, image: str = "") -> None:
    """Print its manifests, to apply them by hand or by Git.

    Example: fab guard.print > guard.yaml
    """
    from metalfoundry.ui.tasks import guard_cluster as body

    with opened(inventory, quiet=True) as foundry:
        body.show(foundry, image)


TASKS = (install, remove, print_)
