from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from metalfoundry.model.errors import ClaimedError
from metalfoundry.ui.tasks.errors import boundary


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ClaimedError("anvil is held", where="Hardware anvil", next="wait"), 20, ["anvil is held", "Hardware anvil"]),
        (ZeroDivisionError("by zero"), 1, ["unexpected", "by zero", "METALFOUNDRY_DEBUG=1"]),
    ],
)
def test_an_error_is_told_without_a_traceback(
    error: Exception, code: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as caught, boundary():
        raise error
    told = capsys.readouterr().err
    assert caught.value.code == code
    assert all(word in told for word in words)
    assert "Traceback" not in told


def test_a_traceback_is_shown_to_whoever_asks() -> None:
    words = [sys.executable, "-m", "metalfoundry", "provision", "nosuch", "--inventory", "/nowhere.yaml"]
    asked = {**os.environ, "METALFOUNDRY_DEBUG": "1"}
    done = subprocess.run(words, env=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "codes"),
    [*((words, (0, 141)) for words in ("provision --help", "--list", "--help", "--version")), ("status", (2,))],
)
def test_a_reader_who_has_seen_enough_gets_no_error(
    words: str, codes: tuple[int, ...], unbuffered: str, tmp_path: Path
) -> None:
    """The other end of its stdout is closed before it begins. What fits into Python's buffer is written at the end."""
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    line = [sys.executable, "-m", "metalfoundry", *words.split()]
    done = subprocess.run(line, cwd=tmp_path, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    complaints = ("Traceback", "BrokenPipeError", "Exception ignored")
    assert not [line for line in done.stderr.splitlines() if any(word in line for word in complaints)]
    assert done.returncode in codes
