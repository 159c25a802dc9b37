"""Why a run failed: the same diagnosis as `fab troubleshoot` gives, on the world as it was when it failed.

The undo has run before: netboot is closed, the Workflow may be gone, and Smee denies. What it changed is judged by what
the run itself had seen last, and what was written after the failure is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metalfoundry.commands.loglines import LogLine
from metalfoundry.commands.netboot import claim_of
from metalfoundry.diagnosis.facts import Fact, Facts, NotSeen, Seen, seen
from metalfoundry.model.errors import NeverInstalled, VerificationFailed, WorkflowFailed, WorkflowTimedOut
from metalfoundry.model.events import Notice, PhaseEnded, Record
from metalfoundry.model.inventory import Timeouts
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs.job import Job
from metalfoundry.runs.troubleshoot import Diagnosis, gathered, judged

SECONDS = 10.0
_SLACK = timedelta(seconds=0.1)  # the way of an answer
_EXPLAINED = (NeverInstalled, VerificationFailed, WorkflowFailed, WorkflowTimedOut)


@dataclass
class LastSeen:
    """A sink that keeps what the run knew at the moment of its failure, before anything was taken back."""

    job: Job
    at: datetime | None = None
    hardware: Hardware | None = None
    workflow: Workflow | None = None

    def __call__(self, record: Record) -> None:
        """Take one record of this run."""
        failed = isinstance(record.event, PhaseEnded) and record.event.error
        if failed and record.run == self.job.run and self.at is None:
            self.at, self.hardware, self.workflow = record.time, self.job.window.hardware, self.job.workflow


def diagnosis(last: LastSeen, error: Exception) -> Diagnosis | None:
    """Why the run ended with `error`, from one exec more on the jump host and on the machine, within SECONDS.

    None where the error says it all, or where nothing could be read any more: then a Notice says so.
    """
    job, site = last.job, last.job.site
    if not isinstance(error, _EXPLAINED) or last.at is None:
        return None
    begun = site.clock.now().mono
    try:
        facts = _as_it_was(gathered(site, job.server.name, SECONDS), last, site.clock.now().wall)
        return judged(facts, site.clock.now().mono - begun)
    except KeyboardInterrupt as interrupt:
        error.__cause__ = interrupt  # as for any interrupt: nothing else is to be begun
        return None
    except Exception as problem:  # noqa: BLE001 - a diagnosis that fails must not hide the error that it is about
        site.bus.emit(Notice(f"no diagnosis: {problem}", "warning"))
        return None


def _as_it_was(facts: Facts, last: LastSeen, now: datetime) -> Facts:
    assert last.at is not None
    job, hardware = last.job, last.hardware or seen(facts.hardware)
    since = now - last.at
    workflow = last.workflow or seen(facts.workflow)
    others = [item for item in seen(facts.workflows) or () if workflow is None or item.name != workflow.name]
    moment = facts.now - since
    started = job.rebooted_at
    run = "this run"
    return replace(
        facts,
        now=moment,
        configured=replace(facts.configured, timeouts=_spent(facts.configured.timeouts)),
        hardware=Seen(hardware, run, moment),
        claim=Seen(claim_of(hardware) if hardware else None, run, moment),
        workflow=Seen(workflow, run, moment),
        workflows=Seen((*([workflow] if workflow else []), *others), run, moment),
        smee=NotSeen("netboot was closed before Smee could be asked", run),
        guards=NotSeen("the guard was this run's own", run),
        before=Seen(job.before, run, moment) if job.before else NotSeen(job.silence or "it was not heard before", run),
        started=Seen(moment - timedelta(seconds=_mono_age(last, started)), run) if started else facts.started,
        logs=_until(facts.logs, moment + _SLACK),
    )


def _spent(limits: Timeouts) -> Timeouts:
    """The limits as one sees them who has waited that long: a run gives up at its limit, not after it."""
    return Timeouts(*(0.9 * seconds for seconds in (limits.netboot, limits.install, limits.boot, limits.verify)))


def _mono_age(last: LastSeen, started: float) -> float:
    """Seconds from the reboot to the failure."""
    clock = last.job.site.clock.now()
    assert last.at is not None
    return max(0.0, clock.mono - started - (clock.wall - last.at).total_seconds())


def _until(logs: Mapping[str, Fact[tuple[LogLine, ...]]], end: datetime) -> dict[str, Fact[tuple[LogLine, ...]]]:
    kept: dict[str, Fact[tuple[LogLine, ...]]] = {}
    for source, fact in logs.items():
        if isinstance(fact, Seen):
            lines = tuple(line for line in fact.value if line.time is None or line.time <= end)
            kept[source] = replace(fact, value=lines)
        else:
            kept[source] = fact
    return kept
