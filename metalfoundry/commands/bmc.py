"""What is asked of Rufio, which switches a machine through its BMC, and the readers of what it says.

A Job of bmc.tinkerbell.org is a list of tasks that are run once, in order. Types are spelt with their group: plain
`job` is batch/v1's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metalfoundry.commands.kubectl import FIELD_MANAGER, Kubectl, one
from metalfoundry.commands.script import Part
from metalfoundry.model.actions import items, mapping, text
from metalfoundry.model.resources import Hardware

JOBS = "jobs.v1alpha1.bmc.tinkerbell.org"
TASKS = "tasks.v1alpha1.bmc.tinkerbell.org"
MACHINES = "machines.v1alpha1.bmc.tinkerbell.org"
MOST_LETTERS = 63
_NO_LETTER = re.compile(r"[^a-z0-9]+")

Task = Mapping[str, Any]
ON: Task = {"powerAction": "on"}
OFF: Task = {"powerAction": "off"}
CYCLE: Task = {"powerAction": "cycle"}


@dataclass(frozen=True, slots=True)
class BmcMachine:
    """A Machine of Rufio: `power` is on, off or unknown; `contactable` None where Rufio has not said, `message` why
    not."""

    name: str
    power: str = "unknown"
    contactable: bool | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        return {"bmc": self.name, "power": self.power, "contactable": self.contactable, "message": self.message}

    @staticmethod
    def of(obj: Mapping[str, Any]) -> BmcMachine:
        """Read a Machine (bmc.tinkerbell.org)."""
        status = mapping(obj.get("status"))
        contact = next((item for item in items(status.get("conditions")) if item.get("type") == "Contactable"), {})
        said = text(contact.get("status"))
        return BmcMachine(
            name=text(mapping(obj.get("metadata")).get("name")),
            power=text(status.get("powerState")) or "unknown",
            contactable=said == "True" if said in ("True", "False") else None,
            message=text(contact.get("message")),
        )


def netboot_once(hardware: Hardware) -> tuple[Task, ...]:
    """Switch it off, have it boot from the network once, switch it on: as UEFI where an interface's DHCP says so."""
    interfaces = items(mapping(hardware.raw.get("spec")).get("interfaces"))
    uefi = any(mapping(interface.get("dhcp")).get("uefi") is True for interface in interfaces)
    return OFF, {"oneTimeBootDeviceAction": {"device": ["pxe"], "efiBoot": uefi}}, ON


def job_name(hardware: str, run: str) -> str:
    """The name of one Job, which a finished one keeps for ever: `metalfoundry-HARDWARE-RUN`, of at most 63 letters.
    Of a long Hardware's name the end is left out, never of the run.
    """
    unique = _NO_LETTER.sub("-", "-".join((run.split("-")[0], run.rsplit("-", 1)[-1])).lower()).strip("-")
    room = MOST_LETTERS - len(FIELD_MANAGER) - len(unique) - 2
    return f"{FIELD_MANAGER}-{_NO_LETTER.sub('-', hardware)[:room].strip('-')}-{unique}"


def create_job(kubectl: Kubectl, name: str, machine: str, tasks: Sequence[Task], after: str = "") -> Part:
    """Create the Job `name`, which does `tasks` with a Machine of the namespace; `after` as in Part."""
    manifest = {
        "apiVersion": "bmc.tinkerbell.org/v1alpha1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": kubectl.namespace},
        "spec": {"machineRef": {"name": machine, "namespace": kubectl.namespace}, "tasks": list(tasks)},
    }
    return Part("create", kubectl.argv("create", "-f", "-", "-o", "name"), json.dumps(manifest, indent=1), after)


def get_machine(kubectl: Kubectl, name: str) -> Part:
    """The Machine of that name; kubectl fails where there is none."""
    return Part("machine", kubectl.argv("get", one(MACHINES, name), "-o", "json"))


def list_tasks(kubectl: Kubectl) -> Part:
    """Every Task of the namespace, as a List."""
    return Part("tasks", kubectl.argv("get", TASKS, "-o", "json"))


def of_job(tasks: Sequence[Mapping[str, Any]], job: str) -> list[Mapping[str, Any]]:
    """Those that Rufio made of the Job: `JOB-task-N`."""
    named = re.compile(rf"{re.escape(job)}-task-[0-9]+")
    return [task for task in tasks if named.fullmatch(text(mapping(task.get("metadata")).get("name")))]


_CAUSES = (
    (re.compile("Failed to connect to BMC", re.IGNORECASE), "Rufio does not reach the BMC", "machine"),
    (re.compile("bmc task timeout", re.IGNORECASE), "the BMC did not do it in the time that Rufio gives it", "tasks"),
    (re.compile("failed to perform PowerAction", re.IGNORECASE), "the BMC refused to switch the power", "tasks"),
    (re.compile(r"machine \S+ not found|machines\.bmc\S* \S+ not found", re.IGNORECASE),
     "there is no Machine for it", "machines"),
)  # fmt: skip


def cause(message: str) -> tuple[str, str]:
    """Rufio's own words for a failure as a plain sentence, and what to look at next: machine, machines or tasks."""
    found = next(((what, look) for sign, what, look in _CAUSES if sign.search(message)), None)
    return found or ("the BMC's Job failed", "tasks")
