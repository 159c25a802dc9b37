"""The operator's own commands at the turns of a run."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from metalfoundry import Foundry, load
from metalfoundry.lab.lab import Lab
from metalfoundry.model.errors import DeadlineExceeded, PreflightError
from metalfoundry.model.events import ClaimChanged, CommandStarted, HookEnded, HookStarted, Notice, RunEnded
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Cancel, Deadline, SystemClock
from metalfoundry.transport.local import Shell
from tests.lab.bench import NAME, SPEED, Ran, clean, hardware, start

ALL = {name: f"tell {name}" for name in ("before", "opened", "installed", "verified", "failed")}
Answer = Callable[[Deadline, Cancel], Result]


def ok(deadline: Deadline, cancel: Cancel) -> Result:
    return Result(0, "fine\n", "")


def hangs(deadline: Deadline, cancel: Cancel) -> Result:
    while not cancel.wait(0.01) and not deadline.expired():
        pass
    raise DeadlineExceeded("it did not end in time", evidence="still thinking\n")


@dataclass
class FakeLocal:
    """A Local that answers by hook, and remembers what it was given."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    said: list[tuple[str, dict[str, str], Path]] = field(default_factory=list)

    def run(self, line: str, added: Mapping[str, str], folder: Path, deadline: Deadline, cancel: Cancel) -> Result:
        self.said.append((line, dict(added), folder))
        return self.answers.get(added["METALFOUNDRY_HOOK"], ok)(deadline, cancel)

    @property
    def hooks(self) -> list[str]:
        return [line for line, _, _ in self.said]


def hooked(lab: Lab, hooks: Mapping[str, Any]) -> None:
    known = yaml.safe_load(lab.inventory.read_text())
    lab.inventory.write_text(yaml.safe_dump(known | {"hooks": dict(hooks)}))


def provision(lab: Lab, local: FakeLocal) -> Ran:
    ran = Ran()
    with Foundry(load(lab.inventory), sinks=[ran], local=local) as foundry:
        ran.report = foundry.provision(NAME)
    assert len(ran.each(HookStarted)) == len(ran.each(HookEnded)) == len(local.said)
    assert isinstance(ran.events[-1], RunEnded) or ran.each(RunEnded)
    return ran


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", speed=SPEED) as one:
        yield one


def test_each_turn_of_a_good_run_is_told_in_order_with_what_is_known(lab: Lab) -> None:
    hooked(lab, ALL)
    local = FakeLocal()
    ran = provision(lab, local)
    assert ran.json["exit_code"] == 0, ran.json["error"]
    assert local.hooks == ["tell before", "tell opened", "tell installed", "tell verified"]
    assert {folder for _, _, folder in local.said} == {lab.folder}
    for _, words, _ in local.said:
        assert words["METALFOUNDRY_RUN"] == ran.json["run"]
        assert words["METALFOUNDRY_SERVER"] == words["METALFOUNDRY_HARDWARE"] == NAME
        assert words["METALFOUNDRY_ADDRESS"] == "127.0.0.1"
        assert words["METALFOUNDRY_WORKFLOW"] == f"{NAME}-ubuntu"
    told = [(words["METALFOUNDRY_VERDICT"], words["METALFOUNDRY_EXIT_CODE"]) for _, words, _ in local.said]
    assert told == [("", ""), ("", ""), ("", ""), ("provisioned", "0")]
    assert {key for key in local.said[-1][1] if not key.startswith("METALFOUNDRY_")} == set()


def test_before_comes_before_anything_is_written_and_can_stop_it(lab: Lab) -> None:
    hooked(lab, ALL)
    before = hardware(lab)
    local = FakeLocal({"before": lambda *_: Result(3, "no ticket\nfor today\n\n", "")})
    ran = provision(lab, local)
    assert isinstance(ran.report and ran.report.error, PreflightError)
    error = ran.json["error"]
    assert (ran.json["exit_code"], error["what"]) == (10, "the hook before ended with status 3")
    assert error["evidence"] == "for today"
    assert "hooks.before" in error["where"]
    assert hardware(lab) == before
    assert {event.effect for event in ran.each(CommandStarted)} == {"read"}  # type: ignore[attr-defined]
    assert ran.each(ClaimChanged) == []
    assert local.hooks == ["tell before", "tell failed"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *_: Result(7, "no route\n", ""), "the hook opened ended with status 7: no route"),
        (hangs, "the hook opened was ended after 1 s: still thinking"),
    ],
)
def test_any_other_that_fails_is_a_warning(lab: Lab, answer: Answer, words: str) -> None:
    hooked(lab, ALL | {"timeout": 1})
    ran = provision(lab, FakeLocal({"opened": answer}))
    assert ran.json["exit_code"] == 0, ran.json["error"]
    assert [event.text for event in ran.each(Notice) if event.level == "warning"] == [words]  # type: ignore[attr-defined]


def test_a_hook_that_cannot_be_started_is_a_warning(lab: Lab) -> None:
    def away(deadline: Deadline, cancel: Cancel) -> Result:
        raise FileNotFoundError(2, "No such file or directory", "/bin/sh")

    hooked(lab, {"verified": "x"})
    ran = provision(lab, FakeLocal({"verified": away}))
    assert ran.json["exit_code"] == 0
    (warning,) = [event.text for event in ran.each(Notice) if event.level == "warning"]  # type: ignore[attr-defined]
    assert warning == "the hook verified could not be started: No such file or directory"


def test_failed_is_told_why(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "action-fails", speed=SPEED) as lab:
        hooked(lab, ALL)
        local = FakeLocal()
        ran = provision(lab, local)
        assert local.hooks == ["tell before", "tell opened", "tell failed"]
        words = local.said[-1][1]
        assert (words["METALFOUNDRY_VERDICT"], words["METALFOUNDRY_EXIT_CODE"]) == ("failed", "31")
        assert "failed at action write-netplan" in words["METALFOUNDRY_ERROR"]
        assert words["METALFOUNDRY_NEXT"] == ran.json["error"]["next"]


def test_a_slow_hook_keeps_no_window_open(lab: Lab) -> None:
    """`opened` hangs until the run is nearly over; the run does not wait for it."""
    hooked(lab, {"opened": "x", "installed": "y"})
    go_on = threading.Event()

    def slow(deadline: Deadline, cancel: Cancel) -> Result:
        assert go_on.wait(60)
        return Result(0, "", "")

    def tell(deadline: Deadline, cancel: Cancel) -> Result:
        return Result(0, "", "")

    machine = lab.machine(NAME)

    def release() -> None:
        machine.wait(lambda: machine.state == "new", 60)
        go_on.set()

    threading.Thread(target=release, daemon=True).start()
    ran = provision(lab, FakeLocal({"opened": slow, "installed": tell}))
    assert ran.json["exit_code"] == 0, ran.json["error"]
    assert [event.hook for event in ran.each(HookEnded)] == ["opened", "installed"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("hook", ["before", "opened"])
def test_ctrl_c_is_not_held_up_by_a_hook(lab: Lab, hook: str) -> None:
    before = hardware(lab)
    mark = lab.folder / "begun"
    hooked(
        lab,
        {
            hook: f"echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 600",
            "timeout": "1s" if hook == "opened" else "9m",
        },
    )
    process = start(lab, "provision", NAME, "--yes", "--json")
    ends = time.monotonic() + 60
    while not mark.exists():
        assert time.monotonic() < ends
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["verdict"] == "interrupted"
    assert not Path(f"/proc/{int(mark.read_text())}").exists()
    assert clean(lab, before)


ODD = 'it\'s "odd" $HOME'
PAGE = (Path(__file__).parents[2] / "docs/hooks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_lists_every_variable(lab: Lab) -> None:
    hooked(lab, ALL)
    local = FakeLocal()
    provision(lab, local)
    listed = re.findall(r"^\| `(METALFOUNDRY_\w+)`", PAGE, re.MULTILINE)
    for _, words, _ in local.said:
        assert sorted(words) == sorted(listed)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_examples_of_the_page_load_and_run(tmp_path: Path, block: str) -> None:
    """With stand-ins for what notifies: each is called, and with whole words."""
    (tmp_path / "inventory.yaml").write_text(f"site: {{jump: {{host: jump}}}}\nservers: {{anvil: {{}}}}\n{block}")
    (tmp_path / "bin").mkdir()
    for name in ("notify-send", "osascript", "curl", "jq", "logger"):
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >>{tmp_path}/said\n[ {name} != curl ] || cat\n')
        path.chmod(0o755)
    (tmp_path / "change-window-is-open").symlink_to("/bin/true")
    hooks = load(tmp_path / "inventory.yaml").hooks
    lines = [line for line in (hooks.before, hooks.opened, hooks.installed, hooks.verified, hooks.failed) if line]
    assert lines
    words = {"METALFOUNDRY_SERVER": "anvil", "METALFOUNDRY_VERDICT": "failed", "METALFOUNDRY_ERROR": ODD}
    words["PATH"] = f"{tmp_path}/bin:/usr/bin:/bin"
    for line in lines:
        seen = Shell().run(line, words, tmp_path, Deadline.after(SystemClock(), 20), Cancel())
        assert seen.ok, (line, seen)
    said = (tmp_path / "said").read_text()
    assert "anvil" in said
    assert ODD in said or "ERROR" not in block
