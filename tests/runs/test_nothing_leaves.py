"""A secret that stands in the cluster, on the machine, in a log or in an error does not leave by any door."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from metalfoundry import Foundry
from metalfoundry.lab.fixtures import finished_workflow, hardware, template
from metalfoundry.model.errors import MetalfoundryError
from metalfoundry.model.events import CommandEnded, Notice, PhaseEnded, Record, Retried, WindowChanged
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.states import WindowState
from metalfoundry.records.run_state import Story
from metalfoundry.records.run_store import EVENTS, Journal
from metalfoundry.runs.bundle import write_bundle
from metalfoundry.runs.report import Netboot, report_of
from metalfoundry.transport.clock import FakeClock
from metalfoundry.ui.tasks.errors import described
from metalfoundry.ui.tasks.troubleshoot import diagnosis_text, kept_logs
from tests.diagnosis.planted import Planted, any_planted, left
from tests.fuzz.place import INVENTORY, METAL, NAME, STORY, Answers, World


def world(text: str) -> World:
    """A site in which `text` stands wherever somebody may have written it."""
    metal: dict[str, Any] = hardware(METAL, STORY, allow_workflow=True)
    metal["spec"]["userData"] = text
    metal["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json_text({"spec": text})}
    recipe: dict[str, Any] = template(STORY)
    recipe["spec"]["data"] += "\n" + text
    workflow: dict[str, Any] = finished_workflow(METAL, STORY)
    workflow["status"]["state"] = "FAILED"
    parts = {
        "facts": (0, f"boot_id=b-1\nos.ID=hookos\ncmdline=quiet {text.splitlines()[0]}\n", ""),
        "agent": (0, f"it begins\n{text}\n" + json_text({"level": "error", "msg": text}) + "\n", ""),
        "bootkit": (0, text, text),
        "containers": (1, "", text),
    }
    return World([metal, recipe, workflow], parts)


def unpacked(path: Path) -> str:
    with tarfile.open(path) as tar:
        files = [tar.extractfile(member) for member in tar.getmembers()]
        return "\n".join(file.read().decode() for file in files if file)


@settings(
    max_examples=200,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(any_planted)
def leave_by_every_door(there: Planted) -> None:
    clock = FakeClock()
    with Foundry(INVENTORY, clock=clock, transport=Answers(world(there.text))) as foundry:
        found = foundry.troubleshoot(NAME, all=True)
        log = foundry.logs(NAME)
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle.tar.gz", [found])
        assert not left(unpacked(Path(folder) / "bundle.tar.gz"), there.words), "bundle"
        run = f"20260102T030405Z-{NAME}-00c0ffee"
        said = there.text
        events = (
            Notice(said, "warning"),
            Retried("jump", said, 1.0),
            CommandEnded("jump", 1, 0.1, said),
            WindowChanged(WindowState.CLOSED, why=said),
            PhaseEnded("Install", 1.0, said, said),
        )
        story, journal = Story(run, NAME), Journal(Path(folder))
        for event in events:
            record = Record(clock.now().wall, event, run, NAME, "Install")
            story(record)
            journal(record)
        error = MetalfoundryError(said, where=said, next=said, evidence=said)
        report = report_of(story, error, Netboot(), 1.0)
        journal.close()
        assert not left((Path(folder) / run / EVENTS).read_text(encoding="utf-8"), there.words), "events"
    assert not left(json_text(report.to_json()), there.words), "report"
    assert not left(json_text(found.to_json()), there.words), "diagnosis"
    assert log.lines
    assert not left("\n".join(f"{line.text}\n{line.raw}\n{line.fields}" for line in log.lines), there.words), "log"
    assert not left("\n".join(kept_logs(found).values()), there.words), "the logs that a run keeps"
    shown = f"{diagnosis_text(found)}\n{described(error)}"
    assert not left(shown, there.words), "terminal"


def test_no_planted_secret_leaves_by_any_door() -> None:
    leave_by_every_door()
