"""A followed command: how it is wrapped so that it dies with its connection, and how its output becomes lines."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from typing import Protocol

from metalfoundry.commands.command import Command, Raw
from metalfoundry.model.errors import CommandError
from metalfoundry.model.hosts import Host
from metalfoundry.transport.clock import Deadline

# Without a terminal sshd does not signal a command whose connection is gone; only its stdin ends. So stdin is the
# lifeline: a watcher reads it and ends the command at its end. The command's own stdin comes first on the same
# stream, its length known. It runs in a process group of its own where there is setsid, so that a pipeline dies
# whole. `read` is a builtin: the watcher leaves no child behind.
_WRAPPER = """\
exec 3<&0
new=$(command -v setsid)
{start}
w=$!
{{ while read -r _; do :; done; {kill}; }} <&3 >/dev/null 2>&1 &
k=$!
exec 3<&-
wait $w; s=$?
kill $k 2>/dev/null
exit $s"""
LAST_WORDS = 4096  # bytes of stderr that an error quotes
LINE_BYTES = 8 * 2**20  # no object in etcd is as large
CUT = " … [cut: the line is too long]"
_PLAIN = "$new sh -c {line} </dev/null 3<&- &"
_FED = """in=$(head -c {size} <&3; echo .)
printf %s "${{in%.}}" | $new sh -c {line} 3<&- &"""
_KILL = "kill -TERM -$w || kill -TERM $w"
_KILL_SUDO = " || sudo -n kill -TERM -- -$w || sudo -n kill -TERM $w"


def wrap(command: Command) -> str:
    """The text for `sh` that runs `command`, ends with its exit status, and ends it when stdin ends.

    `command.stdin` must be sent first, whole, and stdin then kept open. Under sudo the command belongs to root and
    takes no signal from us: there it is ended through `sudo -n kill`, else by its next write to the closed output.
    """
    simple = not any(isinstance(word, Raw) for word in command.argv)
    line = shlex.quote(f"exec {command.line}" if simple else command.line)
    start = _FED.format(size=len(command.stdin.encode()), line=line) if command.stdin else _PLAIN.format(line=line)
    kill = _KILL + (_KILL_SUDO if command.argv[:1] == ("sudo",) else "")
    return _WRAPPER.format(start=start, kill=kill)


class Talk(Protocol):
    """A command under way, of which both outputs are read."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""

    def read(self, seconds: float) -> tuple[bytes, bytes]:
        """What came on stdout and stderr; waits up to `seconds`, so both may be empty."""


def read_lines(talk: Talk, deadline: Deadline, tick: float) -> Generator[str | None, None, bytes | None]:
    """Yield stdout line by line, None after each `tick` seconds of silence; return the last words of stderr, or None
    where the deadline has passed before the end.
    """
    lines, said = Lines(), b""
    while not talk.ended:
        if deadline.expired():
            return None
        out, err = talk.read(min(tick, deadline.remaining()))
        said = (said + err)[-LAST_WORDS:]
        yield from lines.feed(out)
        if not out and not err and not talk.ended:
            yield None
    yield from lines.end()
    return said


def failed(host: Host, status: int, said: bytes) -> CommandError:
    """The error for a followed command that ended with another exit status than 0; `said` are its last words."""
    what, words = f"{host.name}: a followed command ended with exit status {status}", said.decode(errors="replace")
    return CommandError(what, where=host.address, exit_status=status, stderr=words)


class Lines:
    """Bytes in, lines out, whatever the size of the pieces; a character cut in two is whole again in its line.

    What a line has beyond LINE_BYTES is dropped, and CUT stands in its place.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        first, *others = data.split(b"\n")
        self._keep(first)
        if not others:
            return []
        *whole, rest = others
        lines = [*self.end(always=True), *(_line(line) for line in whole)]
        self._keep(rest)
        return lines

    def end(self, always: bool = False) -> list[str]:
        """The last line, if it had no newline."""
        rest, self._size = b"".join(self._rest), 0
        self._rest.clear()
        return [_line(rest)] if rest or always else []

    def _keep(self, piece: bytes) -> None:
        room = LINE_BYTES + 1 - self._size
        if piece and room > 0:
            self._rest.append(piece[:room])
        self._size += len(piece)


def _line(line: bytes) -> str:
    return line[:LINE_BYTES].decode(errors="replace") + (CUT if len(line) > LINE_BYTES else "")
