"""The Fabric tasks. Yours, too: `from metalfoundry.fab import ns` in a tasks.py of your own.

Only words come in and go out here; the work is in foundry.py. Everything heavy is imported inside the tasks, so that
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
from metalfoundry.ui.tasks import lab_tasks, netboot_tasks, run_tasks
from metalfoundry.ui.tasks.completion import completion
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import INVENTORY, finish, opened, task, warn, watching, words
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
        workflow="Workflow file instead of the inventory's; only this server's document is applied",
        workflow_name="which Workflow, where the file has several for this server; or how to call a made one",
        template="make the Workflow from this Template instead",
        plan="read only: show the facts and every command that would change something",
        keep_workflow="leave the Workflow in the cluster afterwards",
        replace="remove another live Workflow of the same agent instead of refusing",
        no_reboot="a person reboots the server (or it is off)",
        trust_template="go on though only Tinkerbell can tell which agent the Template gives its tasks to",
        resume="take up a run whose client is gone: go on from where the world stands",
        keep_going="begin the next server though one has failed",
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
    keep_going: bool = False,
    events: str = "",
    json: bool = False,
) -> None:
    """Re-install servers, with netboot open for one boot.

    Example: fab provision colo-server-01
    """
    from metalfoundry.records.run_store import Journal, home
    from metalfoundry.runs.job import Options

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
        servers = foundry.servers(name)
        if journal is None or view is None:
            finish(body.plan(foundry, servers, options, json))
        code = body.provision(foundry, servers, options, journal, view, ask=not yes, json=json, keep_going=keep_going)
        finish(code)


@task(
    help=words(
        "server",
        "inventory",
        "json",
        watch="go on showing it whenever something changes; Ctrl-C ends",
        probe="ask each machine what it is, too: at most 3 seconds each, 8 at a time",
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
    """Where every server stands.

    Example: fab status --watch
    """
    from metalfoundry.ui.tasks import status as body

    with opened(inventory, json, unread_ends=watch) as foundry:
        body.status(foundry, foundry.servers(server or None), watch=watch, probe=probe, json=json)


@task(
    positional=["name"],
    help=words(
        "inventory",
        "json",
        name="server, Hardware or Workflow, NAME,NAME…, or all (whatever has not finished well, and stray windows)",
        all="also findings that another one explains",
        bundle="write facts, logs and findings, without secrets, to this .tar.gz",
    ),
)
def troubleshoot(
    c: Context, name: str, inventory: str = INVENTORY, all: bool = False, bundle: str = "", json: bool = False
) -> None:
    """Why it hangs, the proof, and the next command.

    Example: fab troubleshoot colo-server-01
    """
    from metalfoundry.ui.tasks import troubleshoot as body

    with opened(inventory, json) as foundry:
        finish(body.troubleshoot(foundry, name, all=all, bundle=bundle, json=json))


@task(
    positional=["name"],
    help=words(
        "inventory",
        name="server, Hardware or Workflow",
        follow="go on until Ctrl-C, through every reboot of the machine",
        source="auto, hook (the installer), smee (with the machine's syslog), server or controller",
        since="only what is younger: 10m, 90s, 1h",
        tail="the last lines (default: 200; of the agent's own log 50)",
        json="one JSON object a line",
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
    """What the logs of all parts say of it, by time.

    Example: fab logs colo-server-01 --follow
    """
    from metalfoundry.ui.tasks import logs as body

    with opened(inventory, json, unread_ends=follow, quiet=True) as foundry:
        body.show(foundry, name, source=source, since=since, tail=tail, follow=follow, json=json)


@task(positional=["name"], help=words("name", "inventory"))
def init(c: Context, name: str, inventory: str = INVENTORY) -> None:
    """Once: a closed netboot block where there is none.

    Example: fab init all
    """
    from metalfoundry.ui.tasks import looking as body

    with opened(inventory) as foundry:
        body.init(foundry, foundry.servers(name))


ns = Collection()
for task_ in (provision, status, troubleshoot, logs, init, *run_tasks.TASKS, report, completion):
    ns.add_task(task_)
ns.add_collection(run_tasks.collection())
ns.add_collection(netboot_tasks.collection())
ns.add_collection(lab_tasks.collection())
fabric.main.program.__class__ = Program  # plain `fab`, which is about to parse the tasks' words
