"""The next command, ready to paste, with the names that the facts hold. kubectl runs on the jump host, fab here."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from metalfoundry.commands.kubectl import HARDWARE, TEMPLATES, WORKFLOWS
from metalfoundry.diagnosis.facts import Facts, seen

JOBS = "jobs.bmc.tinkerbell.org,tasks.bmc.tinkerbell.org"


def kubectl(facts: Facts, *words: str) -> str:
    """One kubectl call in the site's namespace."""
    return shlex.join((*facts.configured.kubectl, *words, "-n", facts.configured.namespace))


def list_templates(facts: Facts) -> str:
    """Which Templates there are."""
    return kubectl(facts, "get", TEMPLATES)


def show_template(facts: Facts) -> str:
    """The Template of the Workflow."""
    workflow = seen(facts.workflow)
    return kubectl(facts, "get", f"{TEMPLATES}/{workflow.template_ref if workflow else ''}", "-o", "yaml")


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
    """Remove the Workflow and provision again."""
    workflow = seen(facts.workflow)
    again = provision(facts)
    return f"{delete_workflows(facts, workflow.name)}\n{again}" if workflow else again


def provision(facts: Facts) -> str:
    """Install the server."""
    return f"fab provision {shlex.quote(facts.configured.server)}"


def open_netboot(facts: Facts) -> str:
    """Open netboot for a while, held by a claim."""
    return f"fab netboot.open {shlex.quote(facts.configured.server)}"


def close_netboot(facts: Facts) -> str:
    """Close netboot and read it back."""
    return f"fab netboot.close {shlex.quote(facts.configured.server)}"


def logs(facts: Facts, source: str = "") -> str:
    """The lines of one source, or of all by time."""
    words = ["fab", "logs", facts.configured.server, *(["--source", source] if source else [])]
    return shlex.join(words)


def ssh(facts: Facts, command: str) -> str:
    """A command on the machine, by the ladder of SSH that the inventory describes."""
    address = facts.configured.address
    interface = facts.interface
    target = f"root@{address or (interface.address if interface else None) or facts.configured.server}"
    return shlex.join((*(facts.configured.ssh or ("ssh", target)), command))


def in_hook_docker(facts: Facts, command: str) -> str:
    """A docker command inside HookOS (0.9 and later)."""
    return ssh(facts, f"nerdctl -n services.linuxkit exec hook-docker docker {command}")
