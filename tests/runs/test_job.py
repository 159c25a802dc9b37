"""What the phases share: the watch after a Workflow is gone, the exit code of a phase, who may be waited for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.commands.netboot import RUN, WindowNote
from metalfoundry.commands.script import MARK
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
from metalfoundry.model.hosts import Host
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.engine import Run
from metalfoundry.runs.job import Options, failed_as
from metalfoundry.runs.phases.apply import _await_render
from metalfoundry.runs.phases.preflight import refuse_silent
from metalfoundry.runs.phases.release import Release
from metalfoundry.runs.provision import PHASES
from metalfoundry.site.cluster import Gone
from metalfoundry.site.machine import Machine
from metalfoundry.transport.base import Result
from tests.runs.scene import Scene

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
    claim = scene.job.window.claim
    claim.note, claim.taken, claim.hardware = NOTE, True, hardware(False, 5)
    scene.job.document = workflow_for(WORKFLOW, "w.yaml", "anvil", namespace="tink-system")


def script_reply(parts: Mapping[str, str]) -> Callable[[Host, Command], str]:
    """The output of a script whose parts print this."""

    def reply(host: Host, command: Command) -> str:
        mark = f"{MARK} {command.stdin.splitlines()[0].removeprefix('mark=')}"
        return "".join(
            f"{mark} {name} out\n{text}\n{mark} {name} err\n\n{mark} {name} exit 0\n" for name, text in parts.items()
        )

    return reply


def test_a_watch_goes_on_after_the_workflow_is_deleted() -> None:
    scene = Scene()
    claimed(scene)
    job = scene.job
    job.closed = True
    closes: list[str] = []
    beats: list[int] = []
    scene.transport.on(lambda host, command: True, reply=LinkLost("cut", where="jump"))
    job.close = closes.append  # type: ignore[assignment, method-assign]
    job.window.beat = lambda: beats.append(1)  # type: ignore[method-assign]
    job._watch = iter([Gone("anvil-ubuntu"), hardware(True, 6), None, Gone("anvil-ubuntu")])
    with pytest.raises(WorkflowFailed, match="deleted"):
        job.step()
    for _ in range(3):
        job.step()
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
        assert failed_as(scene.job, kind, error) is error
    claimed(scene)
    for error in (ApiAway("away"), PreflightError("refused"), MetalfoundryError("odd")):
        named = failed_as(scene.job, kind, error)
        assert (named.exit_code, named.what) == (code, error.what)
    for kept in (ClaimedError("theirs"), NeverInstalled("dead"), GateClosed("cancelled")):
        assert failed_as(scene.job, kind, kept) is kept


def test_a_verified_server_whose_claim_cannot_be_given_back_is_provisioned() -> None:
    scene = Scene()
    claimed(scene)
    scene.transport.on(lambda host, command: True, reply=LinkLost("cut", where="jump"))
    run = Run("run-1", scene.job.site.bus, scene.clock, scene.job, failed_as=failed_as)
    Release().act(run)
    said = [event.text for event in scene.events if isinstance(event, Notice)]
    assert any("fab netboot.break anvil --run run-1" in text for text in said)
    assert "the claim stays until" in run.said


@pytest.mark.parametrize(
    ("answer", "refused"),
    [("ssh: connect to host anvil port 22: Connection refused", False),
     ("ssh: connect to host anvil port 22: No route to host", True),
     ("sh: ssh: not found", True)],
)  # fmt: skip
def test_only_who_answers_nothing_is_refused_before_a_workflow_that_toggles(answer: str, refused: bool) -> None:
    scene = Scene()
    claimed(scene)
    job = scene.job
    job.now = None
    job.machine = Machine(job.site, job.server, job.server.address)
    scene.transport.on(lambda host, command: True, reply=Result(255, "", answer))
    if refused:
        with pytest.raises(PreflightError, match="its Workflow opens netboot at once"):
            refuse_silent(job)
    else:
        refuse_silent(job)
    job.options = replace(Options(), reboot=False)
    refuse_silent(job)  # a person reboots it: it may be waited for


def test_a_workflow_that_a_hanging_watch_does_not_show_is_read() -> None:
    scene = Scene()
    claimed(scene)
    job = scene.job

    def silence() -> Iterator[None]:
        while True:
            scene.clock.advance(1.0)
            yield None

    job._watch = silence()
    touched = {"kind": "Workflow", "metadata": {"name": "anvil-ubuntu"}, "status": {"state": "PENDING"}}
    scene.transport.on("kubectl patch", reply=LinkLost("cut", where="jump"))
    scene.transport.on("workflows.", reply=script_reply({"object": json.dumps(touched)}))
    _await_render(job)
    assert job.state == "PENDING"
