"""The Fabric tasks. Yours, too: `from metalfoundry.fab import ns, open_foundry` in a fabfile.py of your own.

Parses flags, calls Foundry, sets the exit code. Everything heavy is imported inside the tasks, so that
`fab --list` stays quick.
"""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

import fabric.main
from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.model.errors import UsageError
from metalfoundry.model.program import ours
from metalfoundry.ui.tasks import guard_tasks, lab_tasks, netboot_tasks, rbac_tasks, run_tasks
from metalfoundry.ui.tasks import inventory as inventory_tasks
from metalfoundry.ui.tasks.completion import completion
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import INVENTORY, finish, opened, task, warn, watching, words
from metalfoundry.ui.tasks.own import open_foundry as open_foundry
from metalfoundry.ui.tasks.program import Program
from metalfoundry.ui.tasks.report import report


@task(
    positional=["name"],
    help=words(
        "name",
        "inventory",
        "json",
        "yes",
        "reason",
        "events",
        workflow="use this Workflow file instead of the inventory's; only this server's document is applied",
        workflow_name="the Workflow, if the file has several for this server; or the name for one made from --template",
        template="make the Workflow from this Template instead of a file",
        plan="change nothing: show the facts, and every command that would change something",
        keep_workflow="leave the Workflow in the cluster afterwards",
        replace="remove another live Workflow of the same agent, instead of refusing",
        no_reboot="wait for a person to reboot the server, or to switch it on",
        trust_template="go on even if only Tinkerbell can tell which agent the Template names",
        wait="wait in line this long for a server that another run holds, such as 30m (default: not at all)",
        resume="continue a run whose client is gone",
        parallel="how many servers at a time (default: 10)",
        canary="install this many first; if one fails, no other is touched (default: 1)",
        no_canary="no canary: begin with all",
        max_failures="begin no other server after this many failures: a number, or a share such as 10%",
        keep_going="go on with the next server after any failure",
        batch="install in batches of this many (default: no batches)",
        labels="only servers whose Hardware carries these labels: KEY=VALUE,KEY=VALUE…",
        retry_failed="only servers that failed or were not begun in this run or fleet: an id from `fab runs`",
        spread="a label of the Hardware: at most one server at a time for each of its values",
        **{"except": "not these servers: NAME,NAME…"},
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
    trust_template: bool = False,
    resume: bool = False,
    wait: str = "",
    except_: str = "",
    labels: str = "",
    retry_failed: str = "",
    parallel: int = 10,
    canary: int = 1,
    no_canary: bool = False,
    max_failures: str = "1",
    keep_going: bool = False,
    batch: int = 0,
    spread: str = "",
    events: str = "",
    json: bool = False,
) -> None:
    """Re-install servers, with netboot open for one boot.

    Example: fab provision colo-server-01
    """
    from metalfoundry.records.run_store import Journal, home
    from metalfoundry.runs.fleet import Policy
    from metalfoundry.runs.options import Options

    journal = None if plan else Journal(home(), warn)
    with (
        boundary(waits=False, json=json),
        opened(inventory, json, events, journal, view := None if plan else watching(json, events)) as foundry,
    ):
        from metalfoundry.ui.tasks import provision as body

        if workflow and template:
            raise UsageError(
                "--template and --workflow exclude each other", next=f"{ours('provision', name)}, with one of the two"
            )
        file = Path(workflow) if workflow else None
        asked = Options(file, workflow_name or None, template or None, reason, trust_template=trust_template)
        options = changed(asked, keep_workflow=keep_workflow, replace=replace, reboot=not no_reboot, resume=resume)
        options = changed(options, wait=body.span("--wait", wait))
        policy = Policy(parallel, 0 if no_canary else canary, max_failures, keep_going, batch, spread)
        wanted = body.pairs(labels) if labels else None
        servers = foundry.servers(name, but=except_ or None, labels=wanted, unfinished=retry_failed or None)
        if journal is None or view is None:
            finish(body.plan(foundry, servers, options, json))
        finish(body.provision(foundry, servers, options, journal, view, ask=not yes, json=json, policy=policy))


@task(
    help=words(
        "server",
        "inventory",
        "json",
        watch="show it again whenever something changes, until Ctrl-C",
        probe="also ask each machine what it is: at most 3 seconds each, 8 at a time",
    ),
)
def status(
    c: Context,
    server: str = "",
    inventory: str = INVENTORY,
    watch: bool = False,
    probe: bool = False,
    json: bool = False,
) -> None:
    """Show where every server stands.

    Example: fab status --watch
    """
    from metalfoundry.ui.tasks import status as body

    with opened(inventory, json, unread_ends=watch) as foundry:
        body.status(foundry, foundry.servers(server) if server else None, watch=watch, probe=probe, json=json)


@task(positional=["name"], help=words("name", "inventory", "json"))
def history(c: Context, name: str, inventory: str = INVENTORY, json: bool = False) -> None:
    """Show the last runs on a server, whoever led them.

    Example: fab history colo-server-01
    """
    from metalfoundry.ui.tasks import published as body

    with opened(inventory, json) as foundry:
        body.history(foundry, foundry.servers(name), json)


@task(help=words("server", "inventory"))
def known_hosts(c: Context, server: str = "", inventory: str = INVENTORY) -> None:
    """Print known_hosts lines of what was installed.

    Example: fab known-hosts > known_hosts
    """
    from metalfoundry.ui.tasks import published as body

    with opened(inventory, quiet=True) as foundry:
        body.known_hosts(foundry, foundry.servers(server or None))


@task(help=words("server", "inventory", "json", all="also list what passed"))
def doctor(c: Context, server: str = "", inventory: str = INVENTORY, all: bool = False, json: bool = False) -> None:
    """Check the way to every disk; exits 10 if a check fails.

    Example: fab doctor colo-server-01
    """
    from metalfoundry.ui.tasks import doctor as body

    with opened(inventory, json) as foundry:
        finish(body.doctor(foundry, foundry.servers(server or None), all=all, json=json))


@task(
    positional=["name"],
    help=words(
        "inventory",
        "json",
        name="a server, Hardware or Workflow, several, or all (what has not ended well, and windows without an owner)",
        all="also show findings that another one explains",
        bundle="write facts, logs and findings, without secrets, to this .tar.gz",
    ),
)
def troubleshoot(
    c: Context, name: str, inventory: str = INVENTORY, all: bool = False, bundle: str = "", json: bool = False
) -> None:
    """Explain why a server hangs, with proof and next command.

    Example: fab troubleshoot colo-server-01
    """
    from metalfoundry.ui.tasks import troubleshoot as body

    with opened(inventory, json) as foundry:
        finish(body.troubleshoot(foundry, name, all=all, bundle=bundle, json=json))


@task(
    positional=["name"],
    help=words(
        "inventory",
        name="a server, Hardware or Workflow",
        follow="go on until Ctrl-C, through every reboot of the machine",
        source="where to read: auto, hook (the installer), smee (with the machine's syslog), server or controller",
        since="only lines younger than this, such as 10m, 90s or 1h",
        tail="how many lines, counted from the end (default: 200; with --source hook 50)",
        json="print one JSON object for each line",
    ),
)
def logs(
    c: Context,
    name: str,
    inventory: str = INVENTORY,
    follow: bool = False,
    source: str = "auto",
    since: str = "",
    tail: int = 0,
    json: bool = False,
) -> None:
    """Show installer and control-plane logs, merged by time.

    Example: fab logs colo-server-01 --follow
    """
    from metalfoundry.ui.tasks import logs as body

    with opened(inventory, json, unread_ends=follow, quiet=True) as foundry:
        body.show(foundry, name, source=source, since=since, tail=tail, follow=follow, json=json)


@task(positional=["name"], help=words("name", "inventory"))
def init(c: Context, name: str, inventory: str = INVENTORY) -> None:
    """Add a closed netboot block where Hardware has none.

    Example: fab init all
    """
    from metalfoundry.ui.tasks import looking as body

    with opened(inventory) as foundry:
        body.init(foundry, foundry.servers(name))


@task(positional=["name"], help=words("name", "inventory", reason="why; shown to whoever wants to install it"))
def protect(c: Context, name: str, reason: str = "", inventory: str = INVENTORY) -> None:
    """Keep a server from being installed, and say why.

    Example: fab protect anvil --reason "holds the backups"
    """
    from metalfoundry.ui.tasks import looking as body

    with opened(inventory) as foundry:
        body.protect(foundry, foundry.servers(name), reason)


@task(positional=["name"], help=words("name", "inventory", "yes"))
def unprotect(c: Context, name: str, inventory: str = INVENTORY, yes: bool = False) -> None:
    """Let a protected server be installed again.

    Example: fab unprotect anvil
    """
    from metalfoundry.ui.tasks import looking as body

    with opened(inventory) as foundry:
        body.unprotect(foundry, foundry.servers(name), ask=not yes)


ns = Collection()
for task_ in (
    provision,
    status,
    history,
    doctor,
    troubleshoot,
    logs,
    known_hosts,
    init,
    protect,
    unprotect,
    *run_tasks.TASKS,
    report,
    completion,
):
    ns.add_task(task_)
ns.add_collection(run_tasks.collection())
ns.add_collection(netboot_tasks.collection())
ns.add_collection(guard_tasks.collection())
ns.add_collection(inventory_tasks.collection())
ns.add_collection(rbac_tasks.collection())
ns.add_collection(lab_tasks.collection())
fabric.main.program.__class__ = Program  # plain `fab`, which is about to parse the tasks' words
