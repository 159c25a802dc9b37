"""Re-install one server: the phases in their order, and what comes of them.

Each phase first looks, then acts; whatever is begun has its undo ready. However a run ends, netboot is closed.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.errors import Interrupted, MetalfoundryError, Terminated
from metalfoundry.model.events import RunEnded, RunStarted, Sink
from metalfoundry.model.inventory import Server
from metalfoundry.runs.aftermath import LastSeen, diagnosis
from metalfoundry.runs.engine import Phase, Run, execute
from metalfoundry.runs.finish import Release, Verify
from metalfoundry.runs.hooks import Hooks
from metalfoundry.runs.install import Boot, Close, Install, Open
from metalfoundry.runs.job import Job, Options, failed_as
from metalfoundry.runs.preflight import Preflight
from metalfoundry.runs.prepare import Claim, Declare, Quiet
from metalfoundry.runs.progress import Progress
from metalfoundry.runs.report import Recorder, Report
from metalfoundry.runs.troubleshoot import Diagnosis
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.window import Window
from metalfoundry.transport.clock import Clock

PHASES: tuple[Phase[Job], ...] = (
    Preflight(),
    Claim(),
    Quiet(),
    Declare(),
    Open(),
    Boot(),
    Close(),
    Install(),
    Verify(),
    Release(),
)


def run_id(clock: Clock, server: str) -> str:
    """A name for one run that sorts by time and that nobody guesses."""
    return f"{clock.now().wall:%Y%m%dT%H%M%SZ}-{server}-{secrets.token_hex(4)}"


def new_job(site: Site, server: Server, options: Options, run: str) -> Job:
    """A job on which nothing has been done yet."""
    bus = site.bus.scoped(run=run, server=server.name)
    here = site.on(bus)
    window = Window(here, server, run, options.reason)
    return Job(
        site=window.site,
        server=server,
        options=options,
        run=run,
        progress=Progress(bus, here.clock),
        cluster=Cluster(window.site),
        window=window,
    )


def provision(site: Site, server: Server, options: Options) -> Report:
    """Re-install `server` and return what came of it; errors are in the report, never raised.

    An interrupt is an Interrupted, after everything was taken back. A second one leaves at once: as UnsafeError, with
    the command that closes netboot by hand, unless nothing can be open.
    """
    run = run_id(site.clock, server.name)
    recorder = Recorder(run, server.name)
    hooks = Hooks(site.on(site.bus.scoped(run=run, server=server.name)), run, server.name, server.hardware)
    job = new_job(site, server, replace(options, confirm=hooks.before(options.confirm)), run)
    here, bus = job.site, job.site.bus
    last = LastSeen(job)
    sinks: tuple[Sink, ...] = (recorder, last, hooks)
    bus.sinks.extend(sinks)
    started = here.clock.now().mono
    error: Exception | None = None
    why: Diagnosis | None = None
    bus.emit(RunStarted("provision", options.reason))
    try:
        execute(Run(run, bus, here.clock, job, failed_as=failed_as), PHASES)
    except Interrupted as first:
        error = Interrupted(f"interrupted: {job.window.standing()}", next=first.next, signal=first.signal)
    except KeyboardInterrupt as second:
        hooks.close()
        error = _left(job, second)
        error.__cause__ = second
    except Exception as problem:  # noqa: BLE001 - an error of a run is a result, for one server as for a fleet
        error = problem
        job.stop_following()
        why = diagnosis(last, problem)
    finally:
        job.stop_following()
        seconds = here.clock.now().mono - started
        report = recorder.report(error, job.window.proof, seconds)
        hooks.over(report)
        bus.emit(RunEnded("provisioned" if error is None else "failed", report.exit_code, seconds))
        for sink in sinks:
            bus.sinks.remove(sink)
    return replace(report, before=_said(job.before), after=_said(job.after), diagnosis=why)


def _left(job: Job, second: KeyboardInterrupt) -> MetalfoundryError:
    """What is true when nobody waited until everything was taken back."""
    if job.window.at_risk:
        return job.window.unsafe("left at a second interrupt")
    number = second.signal if isinstance(second, Terminated) else 2
    step = f"fab status --server {job.server.name}"
    return Interrupted(f"interrupted a second time: {job.window.standing()}", next=step, signal=number)


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
