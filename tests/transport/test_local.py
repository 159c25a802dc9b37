"""The door to this computer's own programs, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from metalfoundry.model.errors import DeadlineExceeded
from metalfoundry.transport.clock import Cancel, Deadline, SystemClock
from metalfoundry.transport.local import Shell
from tests.transport.servers import ends_when


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_line_runs_in_its_folder_with_its_environment_and_no_terminal(tmp_path: Path) -> None:
    line = 'pwd; printf "%s\\n" "$WORD"; echo err >&2; cat; test -t 0 || echo none; exit 3'
    seen = Shell().run(line, {"WORD": "a $b"}, tmp_path, soon(), Cancel())
    assert (seen.exit_status, seen.stdout) == (3, f"{tmp_path}\na $b\nerr\nnone\n")


def test_what_is_left_in_the_background_holds_nobody_up(tmp_path: Path) -> None:
    seen = Shell().run("sleep 30 & echo $!", {}, tmp_path, soon(), Cancel())
    assert seen.ok
    assert seen.seconds < 10
    os.kill(int(seen.stdout), 9)


def test_a_signal_is_told_as_a_shell_tells_it(tmp_path: Path) -> None:
    assert Shell().run("kill -TERM $$", {}, tmp_path, soon(), Cancel()).exit_status == 143


def test_only_the_end_of_much_is_kept(tmp_path: Path) -> None:
    seen = Shell().run("head -c 1000000 /dev/zero | tr '\\0' x; echo end", {}, tmp_path, soon(), Cancel())
    assert seen.stdout.endswith("xend\n")
    assert len(seen.stdout) == 64 * 1024


def test_a_deadline_ends_it_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match="in time") as caught:
        line = "echo $$; sleep 60 & echo $!; touch said; wait"
        Shell().run(line, {}, tmp_path, ends_when((tmp_path / "said").exists), Cancel())
    pids = [int(word) for word in caught.value.evidence.split()]
    assert len(pids) == 2
    assert gone(pids[0])
    for _ in range(200):
        if gone(pids[1]):
            break
        threading.Event().wait(0.01)
    assert gone(pids[1])


def test_a_wish_to_stop_ends_it(tmp_path: Path) -> None:
    cancel = Cancel()
    threading.Timer(0.2, cancel.set, ["enough"]).start()
    with pytest.raises(DeadlineExceeded, match="it was ended: enough"):
        Shell().run("sleep 60", {}, tmp_path, soon(), cancel)


def test_a_folder_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Shell().run("true", {}, tmp_path / "away", soon(), Cancel())


def test_an_interrupt_while_it_is_started_does_not_lose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            began.append(self.pid)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Shell().run("exec sleep 600", {}, tmp_path, soon(), Cancel())
    assert [gone(pid) for pid in began] == [True]
