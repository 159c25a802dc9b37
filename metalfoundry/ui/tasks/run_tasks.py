"""Runs: follow one, end one, list what was recorded."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import INVENTORY, finish, opened, task, watching, words


@task(positional=["name"], help=words("inventory", "events", "json", name="a server"))
def attach(c: Context, name: str, inventory: str = INVENTORY, events: str = "", json: bool = False) -> None:
    """Follow a run that somebody else started.

    Example: fab attach colo-server-01
    """
    with boundary(json=json), opened(inventory, json, events, view=(view := watching(json, events))) as foundry:
        from metalfoundry.ui.tasks import runs as body

        finish(body.attach(foundry, foundry.servers(name), view, json))


@task(
    positional=["name"],
    help=words("name", "inventory", "reason", "yes", reboot="then reboot the server into its disk"),
)
def cancel(
    c: Context, name: str, inventory: str = INVENTORY, reason: str = "", reboot: bool = False, yes: bool = False
) -> None:
    """End a run from elsewhere; its window is closed first.

    Example: fab cancel colo-server-01 --reason "wrong image"
    """
    from metalfoundry.ui.tasks import runs as body

    with opened(inventory) as foundry:
        body.cancel(foundry, foundry.servers(name), reason, reboot=reboot, ask=not yes)


@task(default=True, help=words("json"))
def list_(c: Context, json: bool = False) -> None:
    """List the runs recorded on this computer.

    Example: fab runs
    """
    from metalfoundry.ui.tasks import runs as body

    with boundary(json=json):
        body.runs(json)


@task(
    help={
        "older": "remove runs that began longer ago than this, such as 30d or 12h (default: 30d)",
        "yes": "do not ask",
    },
)
def clean(c: Context, older: str = "30d", yes: bool = False) -> None:
    """Remove the records of old runs.

    Example: fab runs.clean --older 30d
    """
    from metalfoundry.ui.tasks import runs as body

    with boundary():
        body.clean(older, ask=not yes)


@task(
    positional=["name", "state"],
    help=words("name", "inventory", "yes", "json", state="on, off, cycle, or status, which changes nothing"),
)
def power(c: Context, name: str, state: str, inventory: str = INVENTORY, yes: bool = False, json: bool = False) -> None:
    """Switch servers by their BMC, or show their power.

    Example: fab power anvil status
    """
    from metalfoundry.ui.tasks import power as body

    with opened(inventory, json) as foundry:
        body.power(foundry, foundry.servers(name), state, ask=not yes, json=json)


@task(positional=["name"], help=words("name", "inventory", "yes", netboot_once="have it boot from the network once"))
def reboot(c: Context, name: str, inventory: str = INVENTORY, netboot_once: bool = False, yes: bool = False) -> None:
    """Reboot servers over SSH, else by their BMC.

    Example: fab reboot anvil
    """
    from metalfoundry.ui.tasks import power as body

    with opened(inventory) as foundry:
        body.reboot(foundry, foundry.servers(name), netboot_once=netboot_once, ask=not yes)


TASKS = (attach, cancel, power, reboot)


def collection() -> Collection:
    """The tasks as `runs` and `runs.*`."""
    runs = Collection("runs")
    runs.add_task(list_, name="list", default=True)
    runs.add_task(clean)
    return runs
