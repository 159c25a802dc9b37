"""The record of a run on this computer: a help for afterwards, and never a hindrance."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import UsageError
from metalfoundry.model.events import ActionEnded, ActionStarted, Notice, PhaseEnded, PhaseSkipped, Record
from metalfoundry.records.recorded_run import of_fleet
from metalfoundry.records.run_store import EVENTS, Journal, KeptRun, find, kept, latest, older
from tests.lab.bench import NAME, PROGRAM, SPEED, call, hardware
from tests.lab.bench import clean as safe

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = "20260102T030405Z-anvil-7f3a9c01"


def record(text: str, run: str = RUN) -> Record:
    return Record(NOW, Notice(text), run, "anvil", "Boot")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "state" / "runs"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", speed=SPEED) as one:
        yield one


def begun(base: Path, *runs: str) -> None:
    for run in runs:
        (base / run).mkdir(parents=True)


def test_records_are_appended_in_a_folder_of_the_owners_alone(base: Path) -> None:
    for text in ("one", "two"):
        journal = Journal(base)
        journal(record(text))
        journal(record("of no run", run=""))
        journal.close()
    (run,) = kept(base)
    assert [event["text"] for event in run.events()] == ["one", "two"]
    assert stat.S_IMODE(run.folder.stat().st_mode) == stat.S_IMODE(base.stat().st_mode) == 0o700
    assert [path.name for path in base.iterdir()] == [RUN]


def test_each_run_has_its_own_folder_and_the_report_closes_it(base: Path) -> None:
    other = RUN.replace("anvil", "forge")
    journal = Journal(base)
    for run in (RUN, other, RUN):
        journal(record("x", run))
    assert [run.verdict for run in kept(base)] == ["no end", "no end"]
    assert journal.save(RUN, {"verdict": "provisioned", "server": "anvil"}) == base / RUN
    journal.keep_log(RUN, "smee", "a line\n")
    journal.close()
    assert [(run.server, run.verdict) for run in kept(base)] == [("anvil", "provisioned"), ("forge", "no end")]
    assert [len(list(run.events())) for run in kept(base)] == [2, 1]
    assert (base / RUN / "logs" / "smee.log").read_text() == "a line\n"


def test_a_last_line_that_was_cut_by_a_kill_is_left_out(base: Path) -> None:
    journal = Journal(base)
    journal(record("whole"))
    journal.close()
    with (base / RUN / EVENTS).open("a") as stream:
        stream.write('{"schema": 1, "text": "cu')
    (run,) = kept(base)
    assert [event["text"] for event in run.events()] == ["whole"]
    assert (run.server, run.verdict) == ("anvil", "no end")


def test_a_line_that_was_cut_in_the_middle_of_a_letter_is_left_out(base: Path) -> None:
    journal = Journal(base)
    journal(record("grün"))
    journal.close()
    with (base / RUN / EVENTS).open("ab") as stream:
        stream.write('{"text": "grün'.encode()[:-2])
    assert [event["text"] for event in kept(base)[0].events()] == ["grün"]


def test_the_part_of_a_run_without_a_report_comes_from_its_events(base: Path) -> None:
    journal = Journal(base)
    for event in (PhaseEnded("Claim", 0.25, said="held"), PhaseSkipped("Clean up", "nothing old")):
        journal(Record(NOW, event, RUN, "anvil"))
    journal(Record(NOW, PhaseEnded("Apply", 1.0, "no guard"), RUN, "anvil"))
    for action in (
        ActionStarted("a1", 1, 2, 300.0),
        ActionEnded("a1", 1, "SUCCESS", 7.5),
        ActionStarted("a2", 2, 2, 9.0),
    ):
        journal(Record(NOW, action, RUN, "anvil"))
    journal.close()
    actions = kept(base)[0].parts()["actions"]
    assert [(one["name"], one["state"], one["seconds"]) for one in actions] == [
        ("a1", "SUCCESS", 7.5), ("a2", "RUNNING", None)
    ]  # fmt: skip
    assert [(one["title"], one["outcome"], one["said"]) for one in kept(base)[0].parts()["phases"]] == [
        ("Claim", "done", "held"), ("Clean up", "skipped", "nothing old"), ("Apply", "failed", "no guard")
    ]  # fmt: skip


def test_runs_are_found_by_id_and_by_server_the_newest_first(base: Path) -> None:
    begun(base, "20260101T000000Z-anvil-00000001", RUN, "20260101T000000Z-big-anvil-00000002", "something else")
    assert find(base, RUN).run == find(base, "anvil").run == RUN
    assert find(base, "big-anvil").run == "20260101T000000Z-big-anvil-00000002"
    assert {server: run.run for server, run in latest(base, {"anvil", "forge"}).items()} == {"anvil": RUN}
    with pytest.raises(UsageError, match="no run forge") as caught:
        find(base, "forge")
    assert caught.value.next == "fab runs"


def test_a_fleet_has_the_runs_that_were_begun_in_it(base: Path) -> None:
    of, later = "20260102T030406Z-{}-0000000a", "20260103T030406Z-{}-0000000b"
    begun(base, *(id.format(name) for id in (of, later) for name in ("anvil", "forge")), later.format("bellows"))
    rows = [{"server": "anvil", "run": of.format("anvil")}, {"server": "forge", "run": ""}]
    report = {"servers": rows, "not_begun": ["bellows"]}
    found = of_fleet(base, KeptRun("20260102T030405Z-fleet.0000000c", base / "fleet", report))
    assert {name: one.story.run for name, one in found.items()} == {
        name: of.format(name) for name in ("anvil", "forge")
    }


def test_only_runs_of_a_known_age_are_old(base: Path) -> None:
    old = "20251130T000000Z-anvil-00000001"
    begun(base, old, RUN, "something else")
    assert [run.folder for run in older(base, 30 * 86400, NOW)] == [base / old]
    assert older(base.parent / "away", 0, NOW) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_costs_the_journal_and_is_said_once(base: Path) -> None:
    begun(base, RUN)
    (base / RUN / EVENTS).symlink_to("/dev/full")
    warnings: list[str] = []
    journal = Journal(base, warnings.append)
    for text in ("one", "two", "three"):
        journal(record(text))
    assert journal.save(RUN, {"verdict": "provisioned"}) is None
    journal.keep_log(RUN, "smee", "x")
    journal.close()
    assert warnings == [f"this run is not recorded under {base}: No space left on device"]


def test_a_home_that_is_no_folder_costs_the_journal(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    base.parent.write_text("a file in the place of the folder")
    journal = Journal(base)
    journal(record("one"))
    journal(record("two"))
    journal.close()
    assert caplog.text.count("is not recorded") == 1
    assert kept(base) == []


@pytest.mark.parametrize("place", ["/dev/null/state", "/proc/1/state"])
def test_a_run_goes_on_where_nothing_can_be_recorded(lab: Lab, place: str) -> None:
    """As in a read-only home: no folder can be made there, by root neither."""
    before = hardware(lab)
    environment = {**os.environ, "METALFOUNDRY_STATE": place}
    words = [str(PROGRAM), "provision", NAME, "--yes", "--json", "--inventory", str(lab.inventory)]
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: this run is not recorded") == 1
    assert json.loads(done.stdout)["verdict"] == "provisioned"
    assert safe(lab, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_events_to_a_full_disk_do_not_end_a_run(lab: Lab) -> None:
    before = hardware(lab)
    done = call(lab, "provision", NAME, "--yes", "--json", "--events", "/dev/full")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("No space left on device") == 1
    assert json.loads(done.stdout)["verdict"] == "provisioned"
    assert safe(lab, before)


def test_events_and_report_share_stdout_line_by_line(lab: Lab) -> None:
    done = call(lab, "provision", NAME, "--yes", "--events", "-")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert (lines[0]["event"], "RunEnded" in [line["event"] for line in lines]) == ("RunStarted", True)
    events = lab.folder / "state" / "runs" / lines[0]["run"] / EVENTS
    assert [json.loads(line) for line in events.read_text().splitlines()] == lines


def test_runs_lists_and_cleans(lab: Lab) -> None:
    run = json.loads(call(lab, "provision", NAME, "--yes", "--json").stdout)["run"]
    (row,) = json.loads(call(lab, "runs", "--json").stdout)["runs"]
    assert (row["run"], row["server"], row["verdict"], row["exit_code"]) == (run, NAME, "provisioned", 0)
    assert run in call(lab, "runs").stdout
    assert call(lab, "runs.clean", "--older", "1h").stdout == "removed 0 runs\n"
    assert call(lab, "runs.clean", "--older", "soon").returncode == 2
    asked = call(lab, "runs.clean", "--older", "0.001s")
    assert (asked.returncode, asked.stdout) == (12, "")
    assert "metalfoundry runs.clean --older 0.001s --yes" in asked.stderr
    unknown = lab.folder / "state" / "runs" / "of unknown age"
    unknown.mkdir()
    assert call(lab, "runs.clean", "--older", "0.001s", "--yes").stdout == "removed 1 runs\n"
    assert list(unknown.parent.iterdir()) == [unknown]
    unknown.rmdir()
    assert "no runs are recorded" in call(lab, "runs").stdout
