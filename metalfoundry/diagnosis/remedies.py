"""The next command, ready to paste where the user sits, with the names that the facts hold."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from metalfoundry.commands.kubectl import HARDWARE, TEMPLATES, WORKFLOWS
from metalfoundry.diagnosis.facts import Facts, seen
from metalfoundry.model.program import ours

JOBS = "jobs.bmc.tinkerbell.org,tasks.bmc.tinkerbell.org"


def kubectl(facts: Facts, *words: str) -> str:
    """One kubectl call in the site's namespace, on the jump host."""
    known = facts.configured
    call = shlex.join((*known.kubectl, *words, "-n", known.namespace))
    return shlex.join((*known.jump, call)) if known.jump else call


def list_templates(facts: Facts) -> str:
    """Which Templates there are."""
    return kubectl(facts, "get", TEMPLATES)


def show_template(facts: Facts) -> str:
    """The Template of the Workflow."""
    workflow = seen(facts.workflow)
    return kubectl(facts, "get", f"{TEMPLATES}/{workflow.template_ref if workflow else ''}", "-o", "yaml")


def show_hardware(facts: Facts) -> str:
    """The server's Hardware."""
    return kubectl(facts, "get", HARDWARE, facts.configured.hardware, "-o", "yaml")


def show_deployments(facts: Facts) -> str:
    """Tinkerbell's Deployments: images, arguments, environment."""
    return kubectl(facts, "get", "deployments", "-o", "yaml")


def list_hardware(facts: Facts) -> str:
    """Which Hardware there is."""
    return kubectl(facts, "get", HARDWARE)


def delete_workflows(facts: Facts, *names: str) -> str:
    """Remove Workflows; they can be applied again afterwards."""
    return kubectl(facts, "delete", *(f"{WORKFLOWS}/{name}" for name in names), "--ignore-not-found", "--wait=false")


def patch_workflow(facts: Facts, change: Mapping[str, Any]) -> str:
    """Change a part of the Workflow in question."""
    workflow = seen(facts.workflow)
    name = workflow.name if workflow else facts.name
    return kubectl(facts, "patch", f"{WORKFLOWS}/{name}", "--type=merge", "-p", json.dumps(change))


def start_anew(facts: Facts) -> str:
    """Remove the Workflow where it is still there, and provision again."""
    workflow = seen(facts.latest.workflow)
    again = provision(facts)
    return f"{delete_workflows(facts, workflow.name)}\n{again}" if workflow else again


def provision(facts: Facts) -> str:
    """Install the server."""
    return ours("provision", facts.configured.server)


def status(facts: Facts) -> str:
    """What the server is at."""
    return ours("status", facts.configured.server)


def history(facts: Facts) -> str:
    """The last runs of the server, whoever led them."""
    return ours("history", facts.configured.server)


def report(run: str) -> str:
    """The report of one run, on the computer that led it."""
    return ours("report", run)


def close_netboot(facts: Facts) -> str:
    """Close netboot and read it back."""
    return ours("netboot.close", facts.configured.server)


def logs(facts: Facts, source: str = "") -> str:
    """The lines of one source, or of all by time."""
    return ours("logs", facts.configured.server, *(("--source", source) if source else ()))


def ssh(facts: Facts, command: str) -> str:
    """A command on the machine, by the ladder of SSH that the inventory describes."""
    address = facts.configured.address
    interface = facts.interface
    target = f"root@{address or (interface.address if interface else None) or facts.configured.server}"
    return shlex.join((*(facts.configured.ssh or ("ssh", target)), command))


def in_hook_docker(facts: Facts, command: str) -> str:
    """A docker command inside HookOS (0.9 and later)."""
    return ssh(facts, f"nerdctl -n services.linuxkit exec hook-docker docker {command}")
