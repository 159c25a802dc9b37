"""What a host prints is bounded: memory is ours, and a host that floods us is an error with a name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import TooMuchOutput
from metalfoundry.transport.follow import CUT, LINE_BYTES, Lines
from metalfoundry.transport.merge import WAITING, Threaded
from metalfoundry.transport.ssh import SshTransport
from tests.transport.servers import World, soon

Connect = Callable[..., SshTransport]
FLOOD = "head -c 1200000 /dev/zero"  # within the window of one channel, so that the test's server can end it


@pytest.mark.parametrize("script", [FLOOD, f"({FLOOD}) >&2"])
def test_a_flood_is_cut_off_and_the_host_is_usable_afterwards(world: World, connect: Connect, script: str) -> None:
    transport, host = connect(), world.host(world.server())
    with pytest.raises(TooMuchOutput, match="printed more than 1 MB") as caught:
        transport.run(host, Command(("sh", "-c", script), most=2**20), soon())
    assert caught.value.sent
    assert transport.run(host, Command(("echo", "on")), soon()).stdout == "on\n"


def test_as_much_as_allowed_comes_whole(world: World, connect: Connect) -> None:
    result = connect().run(
        world.host(world.server()), Command(("sh", "-c", "head -c 1000 /dev/zero"), most=1000), soon()
    )
    assert len(result.stdout) == 1000


def test_a_line_without_an_end_is_cut_with_a_mark_and_costs_no_memory() -> None:
    lines = Lines()
    piece = b"x" * 2**20
    for _ in range(40):
        assert lines.feed(piece) == []
        assert sum(map(len, lines._rest)) <= LINE_BYTES + 1
    (line,) = lines.feed(b"rest\n")
    assert line == "x" * LINE_BYTES + CUT
    assert lines.feed(b"next\n") == ["next"]
    assert lines.feed(b"x" * (LINE_BYTES + 1) + b"\ny") == ["x" * LINE_BYTES + CUT]
    assert lines.end() == ["y"]


def test_a_stream_that_is_faster_than_its_reader_waits_for_it() -> None:
    made: list[int] = []
    full = threading.Event()

    def flood() -> Iterator[int]:
        for number in range(10 * WAITING):
            made.append(number)
            if number == WAITING + 1:
                full.set()
            yield number

    merged = Threaded()([flood], 0.05)
    next(merged)
    assert full.wait(10)
    assert len(made) <= WAITING + 3
    assert [item for item in merged if item][-1] == (0, 10 * WAITING - 1)
