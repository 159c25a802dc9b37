"""`fab netboot.*`: windows and claims."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.tasks.options import INVENTORY, finish, opened, task, words


@task(
    name="open",
    positional=["name"],
    help=words("name", "inventory", "reason", "yes", minutes="how long netboot may stay open (default: 10)"),
)
def open_(
    c: Context, name: str, inventory: str = INVENTORY, reason: str = "", minutes: int = 10, yes: bool = False
) -> None:
    """Open netboot by hand: the next boot wipes the server.

    Example: fab netboot.open anvil --minutes 5
    """
    from metalfoundry.ui.tasks import netboot as body

    with opened(inventory) as foundry:
        body.open_netboot(foundry, foundry.servers(name), reason, minutes * 60.0, ask=not yes)


@task(positional=["name"], help=words("name", "inventory"))
def close(c: Context, name: str, inventory: str = INVENTORY) -> None:
    """Close netboot and prove it.

    Example: fab netboot.close anvil
    """
    from metalfoundry.ui.tasks import netboot as body

    with opened(inventory) as foundry:
        body.close_netboot(foundry, foundry.servers(name))


@task(help=words("server", "inventory", "json"))
def status(c: Context, server: str = "", inventory: str = INVENTORY, json: bool = False) -> None:
    """Show whose netboot is open, and until when.

    Example: fab netboot.status
    """
    from metalfoundry.ui.tasks import looking as body

    with opened(inventory, json) as foundry:
        body.netboot_status(foundry, foundry.servers(server or None), json)


@task(help=words("inventory", "json", close="close the windows that have no owner"))
def audit(c: Context, inventory: str = INVENTORY, close: bool = False, json: bool = False) -> None:
    """List open netboot windows; exits 40 if one has no owner.

    Example: fab netboot.audit --close
    """
    from metalfoundry.ui.tasks import netboot as body

    with opened(inventory, json) as foundry:
        finish(body.audit(foundry, close, json))


@task(
    name="break",
    positional=["name"],
    help=words("inventory", "reason", "yes", name="a server", run="the run id of the claim, from `fab netboot.status`"),
)
def break_(
    c: Context, name: str, run: str = "", inventory: str = INVENTORY, reason: str = "", yes: bool = False
) -> None:
    """Take a server from a dead run, and close its window.

    Example: fab netboot.break anvil --run ID --reason WHY
    """
    from metalfoundry.ui.tasks import netboot as body

    with opened(inventory) as foundry:
        body.break_claim(foundry, foundry.servers(name), run, reason, ask=not yes)


def collection() -> Collection:
    """The tasks as `netboot.*`."""
    return Collection("netboot", open_, close, status, audit, break_)
