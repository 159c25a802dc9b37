"""Re-install one server: the phases in their order, and what comes of them.

Each phase first looks, then acts; whatever is begun has its undo ready. However a run ends, netboot is closed.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.bus import Sink
from metalfoundry.model.errors import Interrupted, MetalfoundryError, Terminated
from metalfoundry.model.events import RunEnded, RunStarted
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.records.run_state import Story
from metalfoundry.runs.engine import Phase, execute
from metalfoundry.runs.failure_diagnosis import LastSeen, diagnosis
from metalfoundry.runs.hooks import Hooks
from metalfoundry.runs.leaving import leaves
from metalfoundry.runs.options import Options
from metalfoundry.runs.phases.apply import Apply
from metalfoundry.runs.phases.boot import Boot
from metalfoundry.runs.phases.claim import TakeClaim
from metalfoundry.runs.phases.clean_up import CleanUp
from metalfoundry.runs.phases.close import Close
from metalfoundry.runs.phases.install import Install
from metalfoundry.runs.phases.open import Open
from metalfoundry.runs.phases.preflight import Preflight
from metalfoundry.runs.phases.release import Release
from metalfoundry.runs.phases.stay import Stay, is_asked_for
from metalfoundry.runs.phases.verify import Verify
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.report import Netboot, Report, report_of
from metalfoundry.runs.troubleshoot import Diagnosis
from metalfoundry.site.cluster import Patched
from metalfoundry.site.proof import Proof, still_open
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Clock

PHASES: tuple[Phase[ProvisionRun], ...] = (
    Preflight(),
    TakeClaim(),
    CleanUp(),
    Apply(),
    Open(),
    Boot(),
    Close(),
    Install(),
    Verify(),
    Release(),
)


def phases(server: Server) -> tuple[Phase[ProvisionRun], ...]:
    """Those of a provision of this server: with Stay before Release, where the inventory asks for it."""
    return (*PHASES[:-1], Stay(), *PHASES[-1:]) if is_asked_for(server) else PHASES


def run_id(clock: Clock, server: str) -> str:
    """A name for one run that sorts by time and that nobody guesses."""
    return f"{clock.now().wall:%Y%m%dT%H%M%SZ}-{server}-{secrets.token_hex(4)}"


def provision(site: Site, server: Server, options: Options) -> Report:
    """Re-install `server` and return what came of it; errors are in the report, never raised.

    An interrupt, or a cancel, is an Interrupted, after everything was taken back. A second interrupt leaves at once: as
    UnsafeError, with the command that closes netboot by hand, unless nothing can be open.
    """
    run = ProvisionRun(site, server, options, run_id(site.clock, server.name))
    story, last = Story(run.id, server.name), LastSeen(run)
    hooks = Hooks(run.site, run.id, server.name, server.hardware)
    run.options = replace(options, confirm=hooks.before(options.confirm))
    run.window.claim.leaves = partial(leaves, run)
    sinks: tuple[Sink, ...] = (story, last, hooks)
    run.bus.add(*sinks)
    begun = run.clock.now().mono
    error = _carried_out(run, hooks)
    late = _Late()
    why: Diagnosis | None = None
    with late:
        run.stop_following()
        why = diagnosis(last, error) if error is not None else None
    seconds = run.clock.now().mono - begun
    disk = _tell_disk(run, error)
    report = report_of(story, error, _netboot(run), seconds, claimed=run.window.claim.taken)
    with late:
        hooks.over(report)
    with late:
        run.bus.emit(RunEnded(report.verdict, report.exit_code, seconds))
    run.bus.drop(*sinks)
    interrupted = report.interrupted or late.interrupt is not None
    before, after = _said(run.found.facts_old if run.found else None), _said(run.facts_new)
    return replace(report, before=before, after=after, diagnosis=why, interrupted=interrupted, disk=disk)


class _Late:
    """What is done when the verdict stands: an interrupt ends the waiting, and leaves the verdict alone."""

    interrupt: KeyboardInterrupt | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, KeyboardInterrupt):
            return False
        self.interrupt = error
        return True


def _carried_out(run: ProvisionRun, hooks: Hooks) -> Exception | None:
    """Why the run failed; None only where every phase has come to its end."""
    try:
        run.bus.emit(RunStarted("provision", run.options.reason))
        execute(run, phases(run.server))
    except Interrupted as first:
        what = f"{first.what}: {run.window.standing()}"
        return _caused(Interrupted(what, next=first.next, signal=first.signal), first)
    except KeyboardInterrupt as second:
        hooks.close()
        return _caused(_left(run, second), second)
    except Exception as problem:  # noqa: BLE001 - an error of a run is a result, for one server as for a fleet
        return problem
    except BaseException as problem:  # noqa: BLE001 - an exit from within, such as a callback's: it ends the run alone
        return _caused(MetalfoundryError(f"the run was ended by an unexpected {problem!r}"), problem)
    return None


def _caused(error: MetalfoundryError, cause: BaseException) -> MetalfoundryError:
    error.__cause__ = cause
    return error


def _netboot(run: ProvisionRun) -> Netboot:
    """What is known of netboot at the end: our own close, else what was read when we looked."""
    window = run.window
    if window.at_risk or (window.proof is not None and not window.theirs):
        return Netboot(window.closed, None if window.at_risk else window.proof)
    if window.hardware is None:
        return Netboot()
    problem = still_open(Patched(None, window.hardware, run.smee))
    read = problem or f"allowPXE false at resourceVersion {window.hardware.resource_version}"
    return Netboot(not problem, Proof("", read, run.smee))


def _tell_disk(run: ProvisionRun, error: Exception | None) -> str:
    """Add to an error what it leaves on the disk, and return that; empty where it leaves nothing behind."""
    disk = run.progress.disk(run.facts_new is not None) if error is not None else ""
    if disk and isinstance(error, MetalfoundryError):
        error.what = f"{error.what}; {disk}"
    if disk and isinstance(error, Interrupted) and run.facts_new is None:
        name = run.server.name
        error.next = (
            f"see what the machine does: {ours('status', name)}; when it is through, or with --replace at "
            f"once: {ours('provision', name)}"
        )
    return disk


def _left(run: ProvisionRun, second: KeyboardInterrupt) -> MetalfoundryError:
    """What is true when nobody waited until everything was taken back."""
    if run.window.at_risk:
        return run.window.unsafe("left at a second interrupt")
    number = second.signal if isinstance(second, Terminated) else 2
    step = ours("status", run.server.name)
    return Interrupted(f"interrupted a second time: {run.window.standing()}", next=step, signal=number)


def _said(facts: MachineFacts | None) -> dict[str, Any]:
    """What a report keeps of a machine."""
    if facts is None:
        return {}
    kept = ("os_name", "hostname", "boot_id", "machine_id", "host_key", "serial", "uptime", "macs", "cmdline")
    return {name: getattr(facts, name) for name in kept}


def exit_code(error: Exception | None) -> int:
    """The documented exit code of an error; 1 for what is none of ours."""
    if error is None:
        return 0
    return error.exit_code if isinstance(error, MetalfoundryError) else 1
