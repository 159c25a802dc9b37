"""Runs: follow one, end one, list what was recorded."""

from __future__ import annotations

from fabric import task
from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import INVENTORY, check_names, finish, opened, watching, words


@task(positional=["name"], auto_shortflags=False, help=words("name", "inventory", "events", "json"))
def attach(c: Context, name: str, inventory: str = INVENTORY, events: str = "", json: bool = False) -> None:
    """Follow a run that somebody else started.

    Example: fab attach colo-server-01
    """
    check_names(c, "attach", name, attach)
    with boundary(), opened(c, inventory, json, events, view=(view := watching(json, events))) as foundry:
        from metalfoundry.ui.tasks import runs as body

        finish(body.attach(foundry, foundry.servers(name), view, json))


@task(
    positional=["name"],
    auto_shortflags=False,
    help=words("name", "inventory", "reason", "yes", reboot="reboot the server afterwards: it boots its disk"),
)
def cancel(
    c: Context, name: str, inventory: str = INVENTORY, reason: str = "", reboot: bool = False, yes: bool = False
) -> None:
    """End a run from elsewhere, its window closed first.

    Example: fab cancel colo-server-01 --reason "wrong image"
    """
    from metalfoundry.ui.tasks import runs as body

    check_names(c, "cancel", name, cancel)
    with opened(c, inventory) as foundry:
        body.cancel(foundry, foundry.servers(name), reason, reboot=reboot, ask=not yes)


@task(auto_shortflags=False, default=True, help=words("json"))
def list_(c: Context, json: bool = False) -> None:
    """The runs recorded on this computer.

    Example: fab runs
    """
    from metalfoundry.ui.tasks import runs as body

    with boundary():
        body.runs(json)


@task(auto_shortflags=False, help={"older": "how old a run must be to be removed: 30d, 12h"})
def clean(c: Context, older: str = "30d") -> None:
    """Remove the records of old runs.

    Example: fab runs.clean --older 30d
    """
    from metalfoundry.ui.tasks import runs as body

    with boundary():
        body.clean(older)


TASKS = (attach, cancel)


def collection() -> Collection:
    """The tasks as `runs` and `runs.*`."""
    runs = Collection("runs")
    runs.add_task(list_, name="list", default=True)
    runs.add_task(clean)
    return runs
