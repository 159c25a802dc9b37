"""What the phases share: the watch after a Workflow is gone, the exit code of a phase, who may be waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace

import pytest

from metalfoundry.commands.claims import RUN, WindowNote
from metalfoundry.commands.rights import Right
from metalfoundry.model.documents import workflow_for
from metalfoundry.model.errors import (
    ApiAway,
    ClaimedError,
    GateClosed,
    LinkLost,
    MetalfoundryError,
    NeverInstalled,
    PreflightError,
    WorkflowFailed,
)
from metalfoundry.model.events import Notice, WindowChanged
from metalfoundry.model.inventory_fields import Rung
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.options import Options
from metalfoundry.runs.phases.apply import _await_render
from metalfoundry.runs.phases.preflight import refuse_silent, refuse_without_rung
from metalfoundry.runs.phases.release import Release
from metalfoundry.runs.provision import PHASES
from metalfoundry.site.cluster import Gone
from metalfoundry.site.machine import Machine
from metalfoundry.transport.base import Result
from tests.runs.scene import Scene, script_reply

NOTE = WindowNote("kevin@laptop", "", "", "2030-01-01T00:00:00Z")
WORKFLOW = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata: {name: anvil-ubuntu}
spec: {hardwareRef: anvil, templateRef: ubuntu, bootOptions: {toggleAllowNetboot: true}}
"""


def hardware(opened: bool, version: int) -> Hardware:
    meta = {"name": "anvil", "resourceVersion": str(version), "annotations": {RUN: "run-1"}}
    interface = {"dhcp": {"mac": "00:00:5e:00:53:c0"}, "netboot": {"allowPXE": opened}}
    return Hardware.of({"kind": "Hardware", "metadata": meta, "spec": {"interfaces": [interface]}})


def claimed(scene: Scene) -> None:
    claim = scene.run.window.claim
    claim.note, claim.taken, claim.hardware = NOTE, True, hardware(False, 5)
    scene.target(document=workflow_for(WORKFLOW, "w.yaml", "anvil", namespace="tink-system"))


def test_a_watch_goes_on_after_the_workflow_is_deleted() -> None:
    scene = Scene()
    claimed(scene)
    run = scene.run
    run.closed = True
    closes: list[str] = []
    beats: list[int] = []
    scene.transport.on(lambda host, command: True, reply=LinkLost("cut", where="jump"))
    run.close = closes.append  # type: ignore[assignment, method-assign]
    run.window.beat = lambda force=False: beats.append(1)  # type: ignore[method-assign]
    run._watch = iter([Gone("anvil-ubuntu"), hardware(True, 6), None, Gone("anvil-ubuntu")])
    with pytest.raises(WorkflowFailed, match="deleted"):
        run.step()
    for _ in range(3):
        run.step()
    assert closes == ["somebody else opened it"]
    assert len(beats) == 4
    assert WindowChanged("opened by somebody else", why="it is closed again") in scene.events


@pytest.mark.parametrize(
    ("title", "code"),
    [("Claim", 30), ("Clean up", 30), ("Apply", 30), ("Open", 30), ("Boot", 30), ("Close", 32), ("Install", 32),
     ("Verify", 33), ("Release", 33)],
)  # fmt: skip
def test_once_the_claim_is_taken_no_phase_says_that_nothing_was_changed(title: str, code: int) -> None:
    scene = Scene()
    kind = next(phase.failure for phase in PHASES if phase.title == title)
    for error in (ApiAway("away"), PreflightError("refused"), MetalfoundryError("odd")):
        assert scene.run.failed_as(kind, error) is error
    claimed(scene)
    for error in (ApiAway("away"), PreflightError("refused"), MetalfoundryError("odd")):
        named = scene.run.failed_as(kind, error)
        assert (named.exit_code, named.what) == (code, error.what)
    for kept in (ClaimedError("theirs"), NeverInstalled("dead"), GateClosed("cancelled")):
        assert scene.run.failed_as(kind, kept) is kept


def test_a_verified_server_whose_claim_cannot_be_given_back_is_provisioned() -> None:
    scene = Scene()
    claimed(scene)
    scene.transport.on(lambda host, command: True, reply=LinkLost("cut", where="jump"))
    Release().act(scene.run)
    said = [event.text for event in scene.events if isinstance(event, Notice)]
    assert any("fab netboot.break anvil --run run-1" in text for text in said)
    assert "the claim stays until" in scene.run.said


@pytest.mark.parametrize(
    ("answer", "refused"),
    [("ssh: connect to host anvil port 22: Connection refused", False),
     ("ssh: connect to host anvil port 22: No route to host", True),
     ("sh: ssh: not found", True)],
)  # fmt: skip
def test_only_who_answers_nothing_is_refused_before_a_workflow_that_toggles(answer: str, refused: bool) -> None:
    scene = Scene()
    claimed(scene)
    run = scene.run
    scene.target(facts_now=None, machine=Machine(run.site, run.server, run.server.address))
    scene.transport.on(lambda host, command: True, reply=Result(255, "", answer))
    if refused:
        with pytest.raises(PreflightError, match="its Workflow opens netboot at once"):
            refuse_silent(run)
    else:
        refuse_silent(run)
    run.options = replace(Options(), reboot=False)
    refuse_silent(run)  # a person reboots it: it may be waited for


BMC = {"bmcRef": {"kind": "Machine", "name": "bmc-anvil"}, "interfaces": []}
LACKS = (Right("bmc.tinkerbell.org", "jobs", "create"),)


@pytest.mark.parametrize(
    ("rungs", "spec", "lacks", "left", "refused"),
    [
        (("ssh", "bmc"), {}, (), ("ssh",), "does not answer, so it cannot be rebooted"),
        (("ssh", "bmc"), BMC, (), ("ssh", "bmc"), ""),
        (("ssh", "bmc"), BMC, LACKS, ("ssh",), "does not answer, so it cannot be rebooted"),
        (("ssh", "bmc"), {}, LACKS, ("ssh",), "does not answer, so it cannot be rebooted"),
        (("bmc",), {}, (), (), "its Hardware names none"),
        (("bmc",), BMC, LACKS, (), "may not create jobs.bmc.tinkerbell.org"),
        (("bmc",), BMC, (), ("bmc",), ""),
        (("ssh", "person"), {}, (), ("ssh", "person"), ""),
    ],
)
def test_what_can_reboot_a_silent_machine_decides_whether_it_is_begun_with(
    rungs: tuple[Rung, ...], spec: Mapping[str, object], lacks: tuple[Right, ...], left: tuple[Rung, ...], refused: str
) -> None:
    scene = Scene()
    claimed(scene)
    run = scene.run
    run.server = run.server.model_copy(update={"reboot": rungs})
    hardware = Hardware.of({"metadata": {"name": "anvil"}, "spec": spec})
    machine = Machine(run.site, run.server, run.server.address)
    scene.target(facts_now=None, machine=machine, hardware=hardware, lacks=lacks)
    scene.transport.on(lambda host, command: True, reply=Result(255, "", "No route to host"))
    assert run.rungs == left
    with pytest.raises(PreflightError, match=refused) if refused else nullcontext() as caught:
        refuse_without_rung(run)
        refuse_silent(run)
    said = [event.text for event in scene.events if isinstance(event, Notice)]
    assert sum("is not rebooted by its BMC" in text for text in said) == (bool(lacks) and bool(spec) and bool(left))
    assert caught is None or caught.value.exit_code == 10


def test_a_workflow_that_a_hanging_watch_does_not_show_is_read() -> None:
    scene = Scene()
    claimed(scene)
    run = scene.run

    def silence() -> Iterator[None]:
        while True:
            scene.clock.advance(1.0)
            yield None

    run._watch = silence()
    touched = {"kind": "Workflow", "metadata": {"name": "anvil-ubuntu"}, "status": {"state": "PENDING"}}
    scene.transport.on("kubectl patch", reply=LinkLost("cut", where="jump"))
    scene.transport.on("workflows.", reply=script_reply({"object": json.dumps(touched)}))
    _await_render(run)
    assert run.state == "PENDING"
