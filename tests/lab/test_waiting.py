"""`--wait`: a server that another run holds is waited for, in turn, and then installed as any other."""

from __future__ import annotations

import threading
from pathlib import Path

from metalfoundry.commands.queue import QUEUE
from metalfoundry.lab.lab import Lab
from metalfoundry.model.events import Notice, PhaseStarted, Record
from metalfoundry.runs.options import Options
from tests.lab.bench import NAME, SPEED, Ran, call, clean, hardware, is_open, provision
from tests.lab.test_cancel import Canceller
from tests.lab.test_steering import killed_in


def notes(lab: Lab) -> dict[str, str]:
    return dict(hardware(lab)["metadata"].get("annotations", {}))


class Companion:
    """A second run that is begun as soon as the first one has claimed the server."""

    def __init__(self, lab: Lab, options: Options) -> None:
        self.ran = Ran()
        self._lab, self._options = lab, options
        self._thread = threading.Thread(target=self._run)

    def __call__(self, record: Record) -> None:
        if isinstance(record.event, PhaseStarted) and record.event.title == "Boot":
            self._thread.start()

    def _run(self) -> None:
        self.ran = provision(self._lab, options=self._options)

    def end(self) -> Ran:
        self._thread.join()
        return self.ran


def test_a_second_run_waits_for_the_first_and_installs_the_server_again(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        before = hardware(lab)
        second = Companion(lab, Options(wait=300.0))
        first = provision(lab, at=second)
        ran = second.end()
        assert [each.json["verdict"] for each in (first, ran)] == ["provisioned", "provisioned"], ran.json["error"]
        held = first.report.run if first.report else ""
        assert any(held in event.text for event in ran.each(Notice) if isinstance(event, Notice))
        assert lab.machine(NAME).wiped == 2
        assert clean(lab, before)
        assert QUEUE not in notes(lab)


def test_a_run_that_does_not_wait_is_refused_with_the_way_to_wait(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        second = Companion(lab, Options())
        first = provision(lab, at=second)
        ran = second.end().json
        assert (first.json["verdict"], ran["exit_code"]) == ("provisioned", 20)
        assert "is held by" in ran["error"]["what"]


def test_who_is_cancelled_while_it_waits_leaves_the_line(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=10) as lab:
        killed_in(lab, "Boot")
        before = notes(lab)
        canceller = Canceller(lambda record: isinstance(record.event, Notice) and "waits for" in record.event.text)
        report, foundry = canceller.run(lab, Options(wait=300.0))
        foundry.close()
        assert report.exit_code == 130
        assert QUEUE not in notes(lab)
        assert notes(lab)["metalfoundry.dev/run"] == before["metalfoundry.dev/run"]


def test_who_has_waited_in_vain_says_how_netboot_stands_now(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        killed_in(lab, "Apply")

        def at(record: Record) -> None:
            if isinstance(record.event, Notice) and "waits for" in record.event.text:
                opened = hardware(lab)
                opened["spec"]["interfaces"][0]["netboot"]["allowPXE"] = True
                lab.store.replace("hardware", opened)

        ran = provision(lab, options=Options(wait=3.0), at=at)
        assert ran.json["exit_code"] == 20
        assert is_open(lab) and ran.json["netboot"]["closed"] is False


def test_a_span_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    with Lab(tmp_path, speed=SPEED) as lab:
        ran = call(lab, "provision", NAME, "--yes", "--wait", "soon")
        assert (ran.returncode, "--wait 'soon' is not a span of time" in ran.stderr) == (2, True), ran.stderr
