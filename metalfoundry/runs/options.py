"""What is asked of a provision, and what a person is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """What a person sees before agreeing to wipe a server; `system` says what runs on it now, `worker` which agent the
    Template gives the work to, `reboot` how it will be rebooted."""

    server: str
    hardware: str
    address: str
    macs: tuple[str, ...]
    system: str
    serial: str
    uptime_seconds: float | None
    workflow: str
    worker: str = ""
    reboot: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of one provision; None is as the inventory says.

    `workflow`: another Workflow file. `workflow_name`: which of its documents, or the name of the one that is made from
    `template`. `reason`: for whoever finds the claim. `confirm` is shown the identity and raises Declined to stop; None
    asks nobody. `keep_workflow`: leave the Workflow there afterwards. `replace`: remove another live Workflow of the
    same agent. `reboot`: False where a person reboots the server. `resume`: take up a run whose client is gone.
    `wait`: for how many seconds, in turn, where another run holds the server; 0 refuses it at once.
    `trust_template`: go on where only Tinkerbell can tell which agent the Template gives its tasks to.
    """

    workflow: Path | None = None
    workflow_name: str | None = None
    template: str | None = None
    reason: str = ""
    confirm: Callable[[Identity], None] | None = None
    keep_workflow: bool = False
    replace: bool = False
    reboot: bool = True
    resume: bool = False
    trust_template: bool = False
    wait: float = 0.0
