"""What a provision is about, as Preflight found it."""

from __future__ import annotations

from dataclasses import dataclass

from metalfoundry.commands.claims import ClaimSeen
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.rights import Right
from metalfoundry.model import redact
from metalfoundry.model.documents import Document
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.site.machine import Machine


@dataclass(frozen=True, slots=True)
class Target:
    """The server as it was found, and the Workflow that it is to get.

    `worker`: the agent to which the Template gives the work. `resumes`: the claim of a run that is taken up, and
    `begun` the Workflow that it had applied. `old_workflows`: those of the same agent that are to be removed.

    `facts_now` is what the machine was when we first looked; None where it was silent, with `ssh_error` why, and
    `listens` whether its network answered at all. `facts_old` is the system that is to be replaced: another one where
    the machine was silent or in the installer, or where a run is taken up that has rebooted it already. `old_systems`
    are all that have run on it since a run last ended well. `lacks`: the rights without which its BMC cannot be used,
    where it has one. `since`: monotonic seconds, earlier than anything that this
    run, or the one that it resumes, did to the machine.
    """

    hardware: Hardware
    document: Document
    boot_action: str | None
    machine: Machine
    worker: str
    since: float
    resumes: ClaimSeen | None = None
    begun: Workflow | None = None
    old_workflows: tuple[str, ...] = ()
    old_systems: tuple[MachineFacts, ...] = ()
    facts_old: MachineFacts | None = None
    facts_now: MachineFacts | None = None
    ssh_error: str = ""
    listens: bool = False
    lacks: tuple[Right, ...] = ()

    @property
    def in_hook(self) -> bool:
        """Whether the machine sat in HookOS when we first looked."""
        return self.facts_now is not None and self.facts_now.in_hook

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the Workflow document hands to the Template under a secret's name."""
        values = self.document.hardware_map
        return tuple(
            value for key, value in values.items() if len(value) > 3 and redact.data({key: value})[key] != value
        )
