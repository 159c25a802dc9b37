"""What came of a run, as a value: for the terminal, for --json, for a library's caller. Schema: docs/report.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metalfoundry.model import redact
from metalfoundry.model.errors import Interrupted, UnsafeError, error_fields
from metalfoundry.model.events import CommandStarted
from metalfoundry.records.run_state import Story
from metalfoundry.runs.troubleshoot import Diagnosis
from metalfoundry.site.proof import Proof

SCHEMA = 1
REFUSALS = (10, 11, 12, 20)
"""Exit codes of a run that was refused, where it never held the server: nothing was changed."""


@dataclass(frozen=True, slots=True)
class Netboot:
    """Whether netboot is closed, as it was last read, and what was read; None where nobody has looked.

    Never True without a proof; False also where it may be open for all we know. A proof of a mere look has no `at`.
    """

    closed: bool | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one run for one server.

    `verdict`: provisioned, failed, refused, interrupted or unsafe; `error` is None when it went well. `netboot`: as
    this run left it. `interrupted`: an interrupt ended it, or came while its end was told, so nothing else should be
    begun. `remote_commands` leaves out watches and looks at a machine that is awaited. `resumes`: the
    run that this one took up. `before` and `after`: what the machine said of itself. `diagnosis`: why it failed, where
    that could be looked at. `disk`: what a run that failed has left on the disk; empty where nothing was begun.
    """

    run: str
    server: str
    verdict: str
    exit_code: int
    error: Exception | None
    netboot: Netboot
    phases: tuple[Mapping[str, Any], ...]
    actions: tuple[Mapping[str, Any], ...]
    remote_commands: int
    seconds: float
    resumes: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    interrupted: bool = False
    disk: str = ""

    def raise_for_error(self) -> Report:
        """Raise what went wrong, or return this report."""
        if self.error is not None:
            raise self.error
        return self

    def to_json(self) -> dict[str, Any]:
        """The report's schema, version 1; no secret is left in what others have said."""
        return redact.data(self._whole())  # type: ignore[no-any-return]

    def _whole(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run": self.run,
            "server": self.server,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "error": error_fields(self.error) if self.error else None,
            "netboot": {
                "closed": self.closed,
                "closed_at": (self.proof.at or None) if self.proof else None,
                "proof": self.proof.to_json() if self.proof else None,
            },
            "phases": [dict(phase) for phase in self.phases],
            "actions": [dict(action) for action in self.actions],
            "remote_commands": self.remote_commands,
            "seconds": round(self.seconds, 3),
            "resumes": self.resumes or None,
            "machine": {"before": dict(self.before) or None, "after": dict(self.after) or None},
            "disk": self.disk or None,
            "diagnosis": self.diagnosis.to_json() if self.diagnosis else None,
        }

    @property
    def closed(self) -> bool | None:
        """Whether netboot is closed as far as this run knows; None where it has not looked."""
        return False if isinstance(self.error, UnsafeError) else self.netboot.closed

    @property
    def proof(self) -> Proof | None:
        """What was read of netboot last: after our own close, else when we looked."""
        return self.netboot.proof


def verdict_of(error: BaseException | None, *, claimed: bool = True) -> str:
    """The one word for a run that ended with `error`, or well; `claimed`: whether it ever held the server."""
    kinds: dict[type[BaseException], str] = {Interrupted: "interrupted", UnsafeError: "unsafe"}
    refused = not claimed and getattr(error, "exit_code", 1) in REFUSALS
    return "provisioned" if error is None else kinds.get(type(error), "refused" if refused else "failed")


def report_of(
    story: Story, error: Exception | None, netboot: Netboot, seconds: float, *, claimed: bool = True
) -> Report:
    """The report of a run that has ended with `error`, or well, after `seconds`; `claimed` as for `verdict_of`."""
    events = [record.event for record in story.commands]
    told = story.to_json()
    return Report(
        run=story.run,
        server=story.server,
        verdict=verdict_of(error, claimed=claimed),
        exit_code=0 if error is None else int(getattr(error, "exit_code", 1)),
        error=error,
        netboot=netboot,
        phases=tuple(told["phases"]),
        actions=tuple(told["actions"]),
        remote_commands=sum(isinstance(event, CommandStarted) and not event.waiting for event in events),
        seconds=seconds,
        resumes=story.earlier,
        interrupted=isinstance(error, Interrupted) or not isinstance(error and error.__cause__, Exception | None),
    )
