"""Tinkerbell's objects through kubectl on the jump host: read, patch, apply, delete, watch.

A write whose reply is lost is not repeated blindly: the object is read and says what happened. An API server that does
not answer is a lost link: one object is waited for until the deadline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from metalfoundry.commands import smee, ssh
from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import HARDWARE, WORKFLOWS, read_list, read_only
from metalfoundry.commands.rights import FOR_BMC, NEEDED, missing_rights
from metalfoundry.commands.script import Outcome, Part, script
from metalfoundry.model.errors import ApiAway, DeadlineExceeded, LinkLost, PreflightError
from metalfoundry.model.events import Notice
from metalfoundry.model.resources import Hardware, Template, Workflow
from metalfoundry.site.refused import may_not, refused
from metalfoundry.site.scripts import run_script, settle
from metalfoundry.site.site import Site
from metalfoundry.site.stream import by_name
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Cancel, Deadline

_UNSETTLED = (LinkLost, DeadlineExceeded, ApiAway)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class Patched:
    """After a patch: whether it was applied (None: the reply was lost), the object as read afterwards, and what the
    parts beside it have left."""

    applied: bool | None
    hardware: Hardware
    smee: Mapping[str, int] | None
    stderr: str = ""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gone:
    """A watched Workflow was deleted."""

    name: str


class Cluster:
    """The verbs. Every method raises TransportError when jump host or API server are lost beyond its deadline; `survey`
    and `all_hardware`, which come before anything else, do not wait for the API server.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def survey(self, deadline: Deadline, ask_smee_for: str | None = None, rights: bool = False) -> Survey:
        """Read the whole namespace in one exec, and (`rights`) what a provision may not do there. Raises PreflightError
        where kubectl cannot do it.
        """
        parts = [self._site.kubectl.survey()]
        if rights:
            parts.append(self._site.kubectl.rights())
        asked = self._smee_parts(ask_smee_for)
        outcomes = self._read([*parts, *asked], deadline)
        answers = smee.read_answers(outcomes, ask_smee_for) if ask_smee_for and asked else None
        return self._survey_of(outcomes, answers)

    def survey_for(self, macs: Sequence[str | None], deadline: Deadline) -> list[Survey]:
        """The namespace and our rights, read once in one exec, with Smee's answers for each machine in turn. Raises as
        `survey`.
        """
        url, known = self._site.inventory.site.smee, [mac for mac in macs if mac]
        asked = [smee.ask_many(url, known)] if url and known else []
        outcomes = self._read([self._site.kubectl.survey(), self._site.kubectl.rights(), *asked], deadline)
        whole = self._survey_of(outcomes, None)
        return [replace(whole, smee=smee.read_many(outcomes, mac) if mac and asked else None) for mac in macs]

    def preflight(self, mac: str | None, deadline: Deadline) -> Survey:
        """What Preflight reads of the cluster: a survey that began after this was asked for, shared with the other runs
        that ask at the same time. Raises as `survey`.
        """
        surveys = self._site.surveys
        return surveys(self._site, mac, deadline) if surveys else self.survey(deadline, mac, rights=True)

    def all_hardware(self, deadline: Deadline) -> list[Hardware]:
        """Every Hardware of the namespace in one request."""
        return [Hardware.of(item) for item in self._objects(self._read([self._site.kubectl.every(HARDWARE)], deadline))]

    def hardware(self, name: str, deadline: Deadline, ask_smee_for: str | None = None) -> Patched:
        """Read one Hardware object (and Smee's answer). Raises PreflightError when it does not exist."""
        parts = [self._site.kubectl.get(HARDWARE, name), *self._smee_parts(ask_smee_for)]
        return self._seen(name, self._await(parts, deadline), None, ask_smee_for)

    def patch(
        self,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        deadline: Deadline,
        *,
        effect: Effect = Effect.WRITE,
        ask_smee_for: str | None = None,
        also: Sequence[Part] = (),
        then: Sequence[Part] = (),
        patient: bool = True,
        tested: bool = True,
    ) -> Patched:
        """Patch one Hardware object and read it again, in one exec; `also` is run before the patch, `then` after it,
        and last an Event is made of it, where it is one for others to know.

        A refused patch is no error here: kube-apiserver gives no reason, the object read afterwards does. Who is not
        `patient` is told at once that the API server is away. `tested`: the patch does nothing once our claim is gone.
        """
        reads = [self._site.kubectl.get(HARDWARE, name), *self._smee_parts(ask_smee_for)]
        writes = [self._site.kubectl.patch(name, operations)] if operations else []
        chronicle = self._site.chronicle
        told = chronicle.parts(self._site.kubectl, name, operations, self._site.holder, self._site.now())
        command = script([*also, *writes, *then, *reads, *told], effect=effect, functions=smee.FUNCTIONS)
        try:
            outcomes = run_script(self._site, command, deadline, tested=tested)
        except _UNSETTLED as error:
            if isinstance(error, ApiAway) and not patient:
                raise
            return self._seen(name, self._settle(reads, deadline, error), None, ask_smee_for)
        if unmade := chronicle.heard(outcomes):
            self._site.bus.emit(Notice(unmade))
        return self._seen(name, outcomes, outcomes.get("patch"), ask_smee_for)

    def apply(self, name: str, manifest: str, deadline: Deadline, secrets: tuple[str, ...] = ()) -> Workflow:
        """Apply one Workflow document and read the Workflow; `secrets` in it are shown nowhere. Raises PreflightError
        when it is refused.
        """
        reads = [self._site.kubectl.get(WORKFLOWS, name)]
        command = script([self._site.kubectl.apply(manifest), *reads], effect=Effect.WRITE, secrets=secrets)
        while True:
            try:
                outcomes = run_script(self._site, command, deadline, tested=False)
                break
            except _UNSETTLED as error:
                outcomes = self._settle(reads, deadline, error)
                if outcomes["object"].stdout.strip():
                    break
        found = read_list(outcomes["object"]) if "object" in outcomes else []
        applied = outcomes.get("apply")
        if (applied and not applied.ok) or not found:
            raise PreflightError(
                f"the Workflow {name} could not be applied",
                where=f"namespace {self._site.kubectl.namespace}",
                next="correct the document, then run again",
                evidence=applied.stderr if applied else "",
            )
        return Workflow.of(found[0])

    def delete_workflows(self, names: Sequence[str], deadline: Deadline, effect: Effect = Effect.WRITE) -> None:
        """Remove Workflows; those that are gone already are fine. Raises PreflightError when one is still there."""
        left, failed = list(names), [""]
        while left and failed:
            command = script([self._site.kubectl.delete_workflow(name) for name in left], effect=effect)
            try:
                outcomes = run_script(self._site, command, deadline, tested=False)
            except _UNSETTLED as error:
                if not error.sent and not isinstance(error, ApiAway):
                    raise
                settle(self._site, deadline)
                left = [name for name in left if self.workflow(name, deadline)]
                continue
            failed = [outcome.stderr for outcome in outcomes.values() if not outcome.ok]
            left = [name for name in left if self.workflow(name, deadline)] if failed else []
            break
        if left:
            raise PreflightError(
                f"the Workflow {', '.join(left)} could not be deleted",
                where=f"namespace {self._site.kubectl.namespace}",
                next=self._site.kubectl_hint("auth", "can-i", "delete", WORKFLOWS),
                evidence="\n".join(failed),
            )

    def workflow(self, name: str, deadline: Deadline) -> Workflow | None:
        """Read one Workflow; None when it does not exist."""
        found = self._objects(self._await([self._site.kubectl.get(WORKFLOWS, name)], deadline), "object")
        return Workflow.of(found[0]) if found else None

    def watch(
        self, workflow: str, hardware: str, deadline: Deadline, since: str = ""
    ) -> Iterator[Workflow | Gone | Hardware | None]:
        """Follow one Workflow (none for "") and one Hardware from their present state on; None in silence.

        A link that is down only makes it silent; see stream.py. What was true of the Workflow before its version
        `since` is left out: a shared watch may tell of an earlier one of that name.
        """
        wanted = {HARDWARE: hardware} | ({WORKFLOWS: workflow} if workflow else {})
        for seen in (self._site.watches or by_name)(self._site, wanted, deadline):
            kind, event, item = seen or ("", "", {})
            if kind == HARDWARE and event != "DELETED":
                yield Hardware.of(item)
            elif kind == WORKFLOWS and not _older(item, since):
                yield Gone(workflow) if event == "DELETED" else Workflow.of(item)
            elif seen is None:
                yield None

    def _survey_of(self, outcomes: Mapping[str, Outcome], answers: Mapping[str, int] | None) -> Survey:
        missing = tuple(missing_rights(outcomes["rights"], NEEDED["provision"])) if "rights" in outcomes else ()
        if missing and "objects" in outcomes and not outcomes["objects"].ok:
            raise may_not(self._site, missing)
        by_kind: dict[str, list[dict[str, Any]]] = {"Hardware": [], "Template": [], "Workflow": []}
        for item in self._objects(outcomes):
            by_kind.setdefault(str(item.get("kind")), []).append(item)
        hardware = [Hardware.of(item) for item in by_kind["Hardware"]]
        for one in hardware:
            self._site.chronicle.saw(one)
        return Survey(
            {one.name: one for one in hardware},
            {item["metadata"]["name"]: Template.of(item) for item in by_kind["Template"]},
            {item["metadata"]["name"]: Workflow.of(item) for item in by_kind["Workflow"]},
            missing,
            answers,
            tuple(missing_rights(outcomes["rights"], FOR_BMC)) if "rights" in outcomes else (),
        )

    def _read(self, parts: Sequence[Part], deadline: Deadline) -> dict[str, Outcome]:
        return run_script(self._site, read_only(*parts, functions=smee.FUNCTIONS), deadline)

    def _await(self, parts: Sequence[Part], deadline: Deadline) -> dict[str, Outcome]:
        """Read, and wait for an API server that is away, until `deadline` or a cancellation."""
        cancel, pause = self._site.cancel, _FIRST_PAUSE
        while True:
            try:
                return self._read(parts, deadline)
            except ApiAway as error:
                cancelled = cancel.is_set()
                if pause == _FIRST_PAUSE:
                    self._site.bus.emit(Notice(f"{error}; waiting for it", "warning"))
                self._site.clock.wait(min(pause, deadline.remaining()), Cancel() if cancelled else cancel)
                if deadline.expired() or (cancel.is_set() and not cancelled):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _settle(
        self, reads: Sequence[Part], deadline: Deadline, unsettled: LinkLost | DeadlineExceeded | ApiAway
    ) -> dict[str, Outcome]:
        """What stands there after a write of which nobody knows whether it took effect; raises `unsettled` where that
        cannot be read, or where the write never left.
        """
        if deadline.expired() or (not unsettled.sent and not isinstance(unsettled, ApiAway)):
            raise unsettled
        try:
            settle(self._site, deadline)
            return self._await(reads, deadline)
        except PreflightError as error:
            raise unsettled from error

    def _smee_parts(self, mac: str | None) -> list[Part]:
        url = self._site.inventory.site.smee
        return smee.ask(url, mac) if url and mac else []

    def _seen(self, name: str, outcomes: dict[str, Outcome], patch: Outcome | None, mac: str | None) -> Patched:
        found = self._objects(outcomes, "object")
        if not found:
            raise PreflightError(
                f"there is no Hardware {name}",
                where=f"namespace {self._site.kubectl.namespace}",
                next=self._site.kubectl_hint("get", HARDWARE),
            )
        answers = smee.read_answers(outcomes, mac) if mac and self._site.inventory.site.smee else None
        stderr, hardware = patch.stderr if patch else "", Hardware.of(found[0])
        self._site.chronicle.saw(hardware)
        return Patched(patch.ok if patch else None, hardware, answers, stderr, outcomes)

    def _objects(self, outcomes: Mapping[str, Outcome], part: str = "objects") -> list[dict[str, Any]]:
        outcome = outcomes.get(part, Outcome(1, "", "the reply was cut short"))
        if not outcome.ok:
            raise refused(self._site, outcome)
        try:
            return read_list(outcome)
        except ValueError as error:
            raise PreflightError(
                "kubectl answered with something that is not JSON",
                where=self._site.jump.name,
                next=ssh.remotely(self._site.jump, (*self._site.kubectl.words, "version")),
                evidence=outcome.stdout[:500],
            ) from error


def _older(item: Mapping[str, Any], since: str) -> bool:
    version = str(item.get("metadata", {}).get("resourceVersion", ""))
    return version.isdigit() and since.isdigit() and int(version) < int(since)
