"""`fab netboot.*`: windows, claims, guards and the sweeper."""

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


@task(
    help=words("inventory", "json", reap="remove what guards that are over have left", log="print one run's guard log"),
)
def guards(c: Context, inventory: str = INVENTORY, reap: bool = False, log: str = "", json: bool = False) -> None:
    """The guards on the jump host.

    Example: fab netboot.guards
    """
    from metalfoundry.ui.tasks import netboot as body

    with opened(inventory, json) as foundry:
        body.guards(foundry, reap, log, json)


@task(
    help=words(
        "inventory",
        "json",
        install="apply it",
        status="show it (default)",
        remove="delete it",
        print="print the manifests, for a GitOps repository",
    ),
)
def sweeper(
    c: Context,
    inventory: str = INVENTORY,
    install: bool = False,
    status: bool = False,
    remove: bool = False,
    print: bool = False,
    json: bool = False,
) -> None:
    """The CronJob that closes what nobody else closes.

    Example: fab netboot.sweeper --install
    """
    from metalfoundry.ui.tasks import netboot as body

    with opened(inventory, json, quiet=print) as foundry:
        chosen = [word for word, on in (("install", install), ("remove", remove), ("print", print)) if on]
        finish(body.sweeper(foundry, chosen, json))


def collection() -> Collection:
    """The tasks as `netboot.*`."""
    return Collection("netboot", open_, close, status, audit, break_, guards, sweeper)
