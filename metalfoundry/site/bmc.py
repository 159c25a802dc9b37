"""The BMC of one machine, through Rufio: Jobs are created, followed and told of, and its power is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metalfoundry.commands import bmc
from metalfoundry.commands.bmc import BmcMachine, Task
from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import Refusal, one, read_list, read_only, refusal
from metalfoundry.commands.kubernetes import BmcJob
from metalfoundry.commands.script import Outcome, script
from metalfoundry.model import redact
from metalfoundry.model.errors import ApiAway, DeadlineExceeded, LinkLost, PreflightError
from metalfoundry.model.resources import Hardware
from metalfoundry.model.states import BmcState
from metalfoundry.site.refused import refused
from metalfoundry.site.scripts import run_script, settle
from metalfoundry.site.site import Site
from metalfoundry.site.stream import by_name
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 30.0
_CUT = Outcome(1, "", "the reply was cut short")


@dataclass(frozen=True, slots=True)
class Bmc:
    """The BMC that a Hardware names in `spec.bmcRef`: a Machine of Rufio in the same namespace. Every method raises
    PreflightError, and TransportError where jump host or API server are lost.
    """

    site: Site
    hardware: Hardware

    @property
    def name(self) -> str:
        """The Machine's name; "" where the Hardware names none."""
        return self.hardware.bmc_ref or ""

    def look(self, deadline: Deadline) -> BmcMachine:
        """Its power, and whether Rufio reaches it, as Rufio wrote it down last."""
        asked = read_only(bmc.get_machine(self.site.kubectl, self.name))
        outcome = run_script(self.site, asked, deadline).get("machine", _CUT)
        return BmcMachine.of(self._objects(outcome)[0])

    def create(self, job: str, tasks: Sequence[Task], deadline: Deadline) -> None:
        """Create the Job that does `tasks`, where the Machine is there: without one Rufio would try for ever. Of a Job
        whose reply was lost it is looked whether it is there, for its name is nobody else's.
        """
        kubectl = self.site.kubectl
        parts = [bmc.get_machine(kubectl, self.name), bmc.create_job(kubectl, job, self.name, tasks, after="machine")]
        try:
            outcomes = run_script(self.site, script(parts, effect=Effect.WRITE), deadline, tested=False)
        except (LinkLost, DeadlineExceeded, ApiAway) as error:
            if error.sent and self._came_to_be(job, deadline):
                return
            raise
        for part in parts:
            if not (outcome := outcomes.get(part.name, _CUT)).ok:
                raise self._refused(outcome)

    def follow(self, job: str, deadline: Deadline, left: Callable[[], bool]) -> BmcJob | None:
        """The Job as it ended, Completed or Failed; None where that was not seen by `deadline`, or nobody waits for it
        any more (`left`). For a thread of its own.
        """
        for seen in (self.site.watches or by_name)(self.site, {bmc.JOBS: job}, deadline):
            if left():
                return None
            if seen is None:
                continue
            told = BmcJob.of(seen[2])
            if seen[1] == "DELETED":
                return BmcJob("Job", job, self.name, "", BmcState.FAILED, "somebody deleted it")
            if told.state in (BmcState.COMPLETED, BmcState.FAILED):
                return told
        return None

    def failure(self, job: BmcJob) -> PreflightError:
        """What a failed Job comes to: a plain sentence, Rufio's own words, and what to look at next."""
        failed = self._failed_task(job)
        words = " ".join(redact.text(failed.message or job.message).split())
        what, look = bmc.cause(words)
        steps = {
            "machine": ("get", one(bmc.MACHINES, self.name), "-o", "yaml"),
            "machines": ("get", bmc.MACHINES),
            "tasks": ("get", one(bmc.JOBS if failed is job else bmc.TASKS, failed.name), "-o", "yaml"),
        }
        return PreflightError(
            f"{what}: {words}" if words else what,
            where=f"Machine {self.name}, Job {job.name}",
            next=self.site.kubectl_hint(*steps[look]),
            evidence=words,
        )

    def _failed_task(self, job: BmcJob) -> BmcJob:
        """The Task of the Job that failed; the Job itself where no Task says so, or none can be read."""
        try:
            asked = read_only(bmc.list_tasks(self.site.kubectl))
            outcome = run_script(self.site, asked, self._soon()).get("tasks", _CUT)
            tasks = [BmcJob.of(task) for task in bmc.of_job(self._objects(outcome), job.name)]
        except PreflightError:
            return job
        return next((task for task in tasks if task.state == BmcState.FAILED), job)

    def _came_to_be(self, job: str, deadline: Deadline) -> bool:
        settle(self.site, deadline)
        asked = read_only(self.site.kubectl.get(bmc.JOBS, job))
        return bool(self._objects(run_script(self.site, asked, self._soon()).get("object", _CUT)))

    def _soon(self) -> Deadline:
        return Deadline.after(self.site.clock, READ_SECONDS)

    def _objects(self, outcome: Outcome) -> list[dict[str, object]]:
        if not outcome.ok:
            raise self._refused(outcome)
        try:
            return read_list(outcome)
        except ValueError:
            raise refused(self.site, outcome) from None

    def _refused(self, outcome: Outcome) -> PreflightError:
        kind, hint = refusal(outcome.exit_status, outcome.stderr), self.site.kubectl_hint
        where = f"namespace {self.site.kubectl.namespace}"
        if kind is Refusal.NOT_FOUND:
            what, step = f"there is no Machine {self.name} (bmc.tinkerbell.org)", hint("get", bmc.MACHINES)
        elif kind is Refusal.NO_CRD:
            what, step = "this cluster has no Rufio", hint("api-resources", "--api-group=bmc.tinkerbell.org")
        else:
            return refused(self.site, outcome)
        return PreflightError(what, where=where, next=step, evidence=outcome.stderr)
