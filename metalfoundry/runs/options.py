"""What is asked of a provision, and what a person is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """What a person sees before agreeing to wipe a server; `system` says what runs on it now, `worker` which agent the
    Template gives the work to."""

    server: str
    hardware: str
    address: str
    macs: tuple[str, ...]
    system: str
    serial: str
    uptime_seconds: float | None
    workflow: str
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. `confirm` is shown the identity and raises Declined to stop; None asks nobody.

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
