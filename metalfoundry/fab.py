"""The Fabric tasks. Yours, too: `from metalfoundry.fab import ns` in a tasks.py of your own.

Only words come in and go out here; the work is in foundry.py. Everything heavy is imported inside the tasks, so that
`fab --list` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fabric import task
from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.words import INVENTORY, check_names, finish, opened

if TYPE_CHECKING:
    from metalfoundry.runs.job import Options

_HELP = {
    "name": "server, or NAME,NAME…, or all",
    "server": "only these: NAME,NAME… (default: all)",
    "inventory": "inventory file (default: $METALFOUNDRY_INVENTORY, else ./inventory.yaml)",
    "json": "one JSON document on stdout, everything else on stderr",
    "yes": "do not ask for the server's name",
    "reason": "why, for whoever finds the claim",
}


def _help(*names: str, **more: str) -> dict[str, str]:
    return {name: _HELP[name] for name in names} | more


@task(
    positional=["name"],
    auto_shortflags=False,
    help=_help(
        "name",
        "inventory",
        "json",
        "yes",
        "reason",
        workflow="Workflow file instead of the inventory's; only this server's document is applied",
        workflow_name="which Workflow, where the file has several for this server; or how to call a made one",
        template="make the Workflow from this Template instead",
        plan="read only: show the facts and every command that would change something",
        keep_workflow="leave the Workflow in the cluster afterwards",
        replace="remove another live Workflow of the same agent instead of refusing",
        no_reboot="a person reboots the server (or it is off)",
    ),
)
def provision(
    c: Context,
    name: str,
    inventory: str = INVENTORY,
    workflow: str = "",
    workflow_name: str = "",
    template: str = "",
    reason: str = "",
    plan: bool = False,
    yes: bool = False,
    keep_workflow: bool = False,
    replace: bool = False,
    no_reboot: bool = False,
    json: bool = False,
) -> None:
    """Re-install servers, with netboot open only until the installer runs: fab provision colo-server-01"""
    from metalfoundry.ui import provisioning

    check_names(c, "provision", name, provision)
    options = _options(workflow, workflow_name, template, reason, keep_workflow, replace, not no_reboot)
    with opened(c, inventory, json) as foundry:
        servers = foundry.servers(name)
        if plan:
            finish(provisioning.plan(foundry, servers, options, json))
        finish(provisioning.provision(foundry, servers, options, ask=not yes, json=json))


@task(auto_shortflags=False, help=_help("server", "inventory", "json"))
def status(c: Context, server: str = "", inventory: str = INVENTORY, json: bool = False) -> None:
    """Where every server stands, from one remote command: fab status"""
    from metalfoundry.ui import looking

    with opened(c, inventory, json) as foundry:
        looking.status(foundry, foundry.servers(server or None), json)


@task(positional=["name"], auto_shortflags=False, help=_help("name", "inventory"))
def init(c: Context, name: str, inventory: str = INVENTORY) -> None:
    """The one-time step: make a closed netboot block where the Hardware has none: fab init all"""
    from metalfoundry.ui import looking

    check_names(c, "init", name, init)
    with opened(c, inventory) as foundry:
        looking.init(foundry, foundry.servers(name))


@task(
    name="open",
    positional=["name"],
    auto_shortflags=False,
    help=_help("name", "inventory", "reason", "yes", minutes="how long it stays open (default: 10)"),
)
def netboot_open(
    c: Context, name: str, inventory: str = INVENTORY, reason: str = "", minutes: int = 10, yes: bool = False
) -> None:
    """Open netboot by hand: the next boot wipes the server! fab netboot.open anvil --minutes 5"""
    from metalfoundry.ui import looking

    check_names(c, "netboot.open", name, netboot_open)
    with opened(c, inventory) as foundry:
        looking.open_netboot(foundry, foundry.servers(name), reason, minutes * 60.0, ask=not yes)


@task(name="close", positional=["name"], auto_shortflags=False, help=_help("name", "inventory"))
def netboot_close(c: Context, name: str, inventory: str = INVENTORY) -> None:
    """Close netboot and prove it: fab netboot.close anvil"""
    from metalfoundry.ui import looking

    check_names(c, "netboot.close", name, netboot_close)
    with opened(c, inventory) as foundry:
        looking.close_netboot(foundry, foundry.servers(name))


@task(name="status", auto_shortflags=False, help=_help("server", "inventory", "json"))
def netboot_status(c: Context, server: str = "", inventory: str = INVENTORY, json: bool = False) -> None:
    """Whose netboot is open, and until when: fab netboot.status"""
    from metalfoundry.ui import looking

    with opened(c, inventory, json) as foundry:
        looking.netboot_status(foundry, foundry.servers(server or None), json)


@task(
    name="up",
    auto_shortflags=False,
    help={
        "scenario": "how the machines behave (default: installs; `list` names all)",
        "speed": "how many times quicker than life (default: 1)",
        "dir": "where the lab keeps its files (default: .lab)",
        "real": "with OpenSSH, kube-apiserver and etcd (KUBEBUILDER_ASSETS) instead of the embedded stand-ins",
    },
)
def lab_up(c: Context, scenario: str = "installs", speed: str = "1", dir: str = ".lab", real: bool = False) -> None:
    """Start the embedded lab in the background, and say how to use it: fab lab.up --scenario reboot-last"""
    from metalfoundry.ui import laboratory

    laboratory.up(scenario, speed, dir, real)


@task(name="down", auto_shortflags=False, help={"dir": "where the lab keeps its files (default: .lab)"})
def lab_down(c: Context, dir: str = ".lab") -> None:
    """Stop the embedded lab: fab lab.down"""
    from metalfoundry.ui import laboratory

    laboratory.down(dir)


def _options(workflow: str, workflow_name: str, template: str, *rest: Any) -> Options:
    from pathlib import Path

    from metalfoundry.runs.job import Options

    reason, keep, replace, reboot = rest
    return Options(
        workflow=Path(workflow) if workflow else None,
        workflow_name=workflow_name or None,
        template=template or None,
        reason=reason,
        keep_workflow=keep,
        replace=replace,
        reboot=reboot,
    )


def _collection(name: str, *tasks: Any) -> Collection:
    collection = Collection(name)
    for one in tasks:
        collection.add_task(one)
    return collection


ns = Collection()
for one in (provision, status, init):
    ns.add_task(one)
ns.add_collection(_collection("netboot", netboot_open, netboot_close, netboot_status))
ns.add_collection(_collection("lab", lab_up, lab_down))
