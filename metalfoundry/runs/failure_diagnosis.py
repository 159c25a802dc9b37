"""Why a run failed: the same diagnosis as `fab troubleshoot` gives, on the world as it was when it failed.

The undo has run before: netboot is closed, the Workflow may be gone, and Smee denies. So the cause is judged by what
the run itself had seen last, without what was written after the failure; what is shown of the cluster is what is there
now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metalfoundry.commands.claims import claim_of
from metalfoundry.commands.log_parser import ACTION, AGENT, BOOTKIT, CONSOLE, LogLine
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.facts import Aftermath, Fact, Facts, NotSeen, Seen, seen
from metalfoundry.diagnosis.findings import Certainty
from metalfoundry.model.errors import NeverInstalled, VerificationFailed, WorkflowFailed, WorkflowTimedOut
from metalfoundry.model.events import Notice, PhaseEnded, Record
from metalfoundry.model.inventory import Timeouts
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.troubleshoot import Diagnosis, gathered, judged

SECONDS = 10.0
PAUSES = (0.5, 1.0, 1.5, 2.0)  # a line that names the cause may reach its log seconds after the end
_SLACK = timedelta(seconds=0.1)  # the way of an answer
_THEIR_OWN = (ACTION, BOOTKIT, CONSOLE)  # what no undo of ours changes
_EXPLAINED = (NeverInstalled, VerificationFailed, WorkflowFailed, WorkflowTimedOut)
_RUN = "this run"


@dataclass
class LastSeen:
    """A sink that keeps what the run knew at the moment of its failure, before anything was taken back."""

    run: ProvisionRun
    at: datetime | None = None
    hardware: Hardware | None = None
    workflow: Workflow | None = None

    def __call__(self, record: Record) -> None:
        """Take one record of this run."""
        failed = isinstance(record.event, PhaseEnded) and record.event.error
        if failed and record.run == self.run.id and self.at is None:
            self.at, self.hardware, self.workflow = record.time, self.run.window.hardware, self.run.workflow


def diagnosis(last: LastSeen, error: Exception, look: Callable[[], Facts] | None = None) -> Diagnosis | None:
    """Why the run ended with `error`, from one exec more on the jump host and on the machine, within SECONDS; again
    after each of PAUSES as long as nothing certain is found. `look` gathers the facts.

    None where the error says it all, or where nothing could be read any more: then a Notice says so.
    """
    run, site = last.run, last.run.site
    if not isinstance(error, _EXPLAINED) or last.at is None:
        return None
    look = look or (lambda: gathered(site, run.server.name, SECONDS))
    begun = site.clock.now().mono
    found: Diagnosis | None = None
    deleted = run.gone and isinstance(error, WorkflowFailed)
    try:
        for pause in (*PAUSES, None):
            facts = as_it_was(look(), last, site.clock.now().wall, deleted)
            found = judged(facts, site.clock.now().mono - begun)
            if pause is None or found.findings[0].certainty is Certainty.CERTAIN:
                break
            if site.cancel.is_set() or site.clock.now().mono - begun + pause > sum(PAUSES):
                break
            site.clock.wait(pause, site.cancel)
    except KeyboardInterrupt as interrupt:
        error.__cause__ = interrupt  # as for any interrupt: nothing else is to be begun
    except Exception as problem:  # noqa: BLE001 - a diagnosis that fails must not hide the error that it is about
        if found is None:
            site.bus.emit(Notice(f"no diagnosis: {problem}", "warning"))
    return found


def as_it_was(facts: Facts, last: LastSeen, now: datetime, deleted: bool = False) -> Facts:
    """`facts`, gathered at `now`, set back to the failure; what they said of the cluster becomes their aftermath.

    `deleted`: somebody deleted the Workflow before the run failed, and because of that it did.
    """
    assert last.at is not None
    run, hardware = last.run, last.hardware or seen(facts.hardware)
    known = last.workflow or seen(facts.workflow)
    workflow = None if deleted else known
    every = seen(facts.workflows) or ()
    others = [item for item in every if known is None or item.name != known.name]
    kept = next(
        (item for item in every if known is not None and (item.name, item.uid) == (known.name, known.uid)), None
    )
    moment = facts.now - (now - last.at)
    started = run.rebooted_at
    return replace(
        facts,
        now=moment,
        configured=replace(facts.configured, timeouts=_spent(facts.configured.timeouts)),
        hardware=Seen(hardware, _RUN, moment),
        claim=Seen(claim_of(hardware) if hardware else None, _RUN, moment),
        workflow=Seen(workflow, _RUN, moment),
        workflows=Seen((*([workflow] if workflow else []), *others), _RUN, moment),
        smee=NotSeen("netboot was closed before Smee could be asked", _RUN),
        guards=NotSeen("the guard was this run's own", _RUN),
        before=_before(run, moment),
        started=Seen(moment - timedelta(seconds=_mono_age(last, started)), _RUN) if started else facts.started,
        logs=_until(facts.logs, moment + _SLACK, (*_THEIR_OWN, AGENT) if kept else _THEIR_OWN),
        aftermath=Aftermath(
            at=facts.now,
            hardware=facts.hardware,
            workflow=Seen(kept, "kubectl get", facts.now) if isinstance(facts.workflows, Seen) else facts.workflow,
            claim=facts.claim,
            guards=facts.guards,
            smee=facts.smee,
            deleted=known if deleted else None,
        ),
    )


def _before(run: ProvisionRun, moment: datetime) -> Fact[MachineFacts]:
    old = run.target.facts_old
    return Seen(old, _RUN, moment) if old else NotSeen(run.target.ssh_error or "it was not heard before", _RUN)


def _spent(limits: Timeouts) -> Timeouts:
    """The limits as one sees them who has waited that long: a run gives up at its limit, not after it."""
    return Timeouts(**{name: 0.9 * getattr(limits, name) for name in ("netboot", "install", "boot", "verify")})


def _mono_age(last: LastSeen, started: float) -> float:
    """Seconds from the reboot to the failure."""
    clock = last.run.clock.now()
    assert last.at is not None
    return max(0.0, clock.mono - started - (clock.wall - last.at).total_seconds())


def _until(
    logs: Mapping[str, Fact[tuple[LogLine, ...]]], end: datetime, whole: tuple[str, ...]
) -> dict[str, Fact[tuple[LogLine, ...]]]:
    """The lines up to `end`, and all of those sources that are to be kept `whole`."""
    kept: dict[str, Fact[tuple[LogLine, ...]]] = {}
    for source, fact in logs.items():
        if isinstance(fact, Seen) and source not in whole:
            lines = tuple(line for line in fact.value if line.time is None or line.time <= end)
            kept[source] = replace(fact, value=lines)
        else:
            kept[source] = fact
    return kept
