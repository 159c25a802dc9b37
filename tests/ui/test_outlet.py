"""A reader who stays and does not read: what a task writes then waits for him, and the task does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from threading import Thread
from typing import TextIO

import pytest

from metalfoundry.ui.output.outlet import ROOM, Aside, Outlet, outlets

LINE = "x" * 999 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        yield reading, stream
    os.close(reading)


def fill(outlet: Outlet, lines: int) -> None:
    for _ in range(lines):
        outlet.write(LINE)


def read(reading: int, size: int) -> str:
    text = ""
    while len(text) < size:
        text += os.read(reading, 65536).decode()
    return text


def test_nobody_waits_for_him_and_nothing_is_lost(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    outlet = Outlet("stdout", stream, waits=False)
    fill(outlet, 500)  # a pipe takes 64 KB
    outlet.write("the end\n")
    assert read(reading, 500 * 1000 + 8) == LINE * 500 + "the end\n"
    outlet.finish()
    outlet.write("quick again\n")
    assert read(reading, 12) == "quick again\n"


def test_what_is_too_much_is_left_out_by_whole_lines_and_said(
    pipe: tuple[int, TextIO], capsys: pytest.CaptureFixture[str]
) -> None:
    reading, stream = pipe
    outlet = Outlet("stdout", stream, waits=False)
    lines = 2 * ROOM // 1000
    fill(outlet, lines)
    arrived: list[str] = []
    reader = Thread(target=lambda: arrived.extend(iter(lambda: os.read(reading, 65536).decode(), "")))
    reader.start()
    outlet.finish()
    stream.close()
    reader.join()
    text = "".join(arrived)
    assert text == LINE * (len(text) // 1000)
    assert ROOM - 1000 < len(text) < 1.2 * ROOM
    assert f"warning: {lines * 1000 - len(text)} characters of stdout were left out" in capsys.readouterr().err


def test_one_great_text_is_never_left_out(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    outlet = Outlet("stdout", stream, waits=False)
    outlet.write("y" * 2 * ROOM)
    assert read(reading, 2 * ROOM) == "y" * 2 * ROOM


def test_the_end_waits_for_him_and_not_for_long_where_it_is_hurried(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    late = Thread(target=read, args=(reading, 500_000))
    with redirect_stdout(stream):
        with outlets(waits=False, hurried=lambda: True):
            sys.stdout.write(LINE * 250)
        with outlets(waits=False):
            sys.stdout.write(LINE * 250)
            late.start()
    late.join()


def test_a_reader_who_leaves_meanwhile_costs_the_output_alone(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    outlet = Outlet("stdout", stream, waits=False)
    fill(outlet, 100)
    os.close(reading)
    outlet.finish()
    assert outlet.lost
    fill(outlet, 100)
    os.dup2(os.open(os.devnull, os.O_RDONLY), reading)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[int, Aside]]:
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    yield reading, Aside(str(tmp_path / "fifo"))
    os.close(reading)


def test_a_file_gets_all_of_it_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before\n")
    aside = Aside(str(tmp_path / "file"))
    aside.write("ä\n")
    aside.flush()
    assert (tmp_path / "file").read_text() == "before\nä\n"
    aside.close()
    aside.close()


def test_a_fifo_that_nobody_reads_holds_nobody_up_and_is_said(fifo: tuple[int, Aside]) -> None:
    _, aside = fifo
    for _ in range(500):
        aside.write(LINE)
    with pytest.raises(TimeoutError, match="not read in time"):
        aside.close()


def test_a_slow_reader_of_a_fifo_gets_all_of_it(fifo: tuple[int, Aside]) -> None:
    reading, aside = fifo
    arrived: list[str] = []
    for _ in range(500):
        aside.write(LINE)
    reader = Thread(target=lambda: arrived.extend(iter(lambda: os.read(reading, 4096).decode(), "")))
    reader.start()
    aside.close()
    reader.join()
    assert "".join(arrived) == LINE * 500


def test_a_reader_of_a_fifo_who_leaves_is_an_error_of_the_next_line(fifo: tuple[int, Aside]) -> None:
    reading, aside = fifo
    aside.write(LINE)
    os.dup2(os.open(os.devnull, os.O_RDONLY), reading)
    with pytest.raises(BrokenPipeError):
        for _ in range(2):
            aside.write(LINE)
    with pytest.raises(BrokenPipeError):
        aside.close()
