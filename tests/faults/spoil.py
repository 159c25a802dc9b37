"""A Transport that spoils one command of a run, and a clock that does not make anybody wait for it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from pathlib import Path

from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.happenings import EVENT
from metalfoundry.model.errors import ConnectError, DeadlineExceeded, LinkLost, TransportError
from metalfoundry.model.hosts import Host, HostKeyPolicy
from metalfoundry.transport.base import Result, Transport, Wrapped
from metalfoundry.transport.clock import Cancel, Deadline, Instant, SystemClock
from tests.waiting import until


class Fault(Enum):
    """What happens to the command; each once, but for CUT, after which nothing is reached any more."""

    BEFORE = "before"  # it never leaves: the link is cut before it is sent
    AFTER = "after"  # it takes effect, and the reply is lost
    HANG = "hang"  # it has no effect, and no answer before its deadline
    CUT = "cut"  # it takes effect, and the link is down from then on
    INTERRUPT = "interrupt"  # it takes effect, and Ctrl-C comes before the reply
    KILL = "kill"  # it takes effect, and the client is killed by SIGKILL
    DOWN = "down"  # it takes effect, and the jump host goes down with all that runs on it
    API = "api"  # from it on the API server is away for the client, for AWAY_SECONDS of the client's clock
    LATE = "late"  # Ctrl-C comes as it is sent, and it takes effect LATE_SECONDS after that
    CLAIM = "claim"  # it takes effect, and somebody removes the claim


AWAY_SECONDS = 30.0
LATE_SECONDS = 2
REFUSED = "echo 'The connection to the server 127.0.0.1:6443 was refused' >&2; false"


class Hasty:
    """The computer's clock, which moves on at once through silence, hanging commands and waits."""

    def __init__(self, factor: float = 10.0) -> None:
        self._clock = SystemClock()
        self._skipped = 0.0
        self._lock = threading.Lock()
        self._factor = factor

    def now(self) -> Instant:
        real = self._clock.now()
        return Instant(real.mono + self._skipped, real.wall + timedelta(seconds=self._skipped))

    def wait(self, seconds: float, cancel: Cancel) -> None:
        self._clock.wait(seconds / self._factor, cancel)
        self.advance(seconds * (1 - 1 / self._factor))

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._skipped += max(seconds, 0.0)


class Spoiled(Wrapped):
    """`inner`, with `fault` at the command `at`: what a run says, as in `said`, or the first of those that it says
    beside that: FACTS; LOOK and VERIFY, at a machine that is awaited; WATCH_WORKFLOW and WATCH_HARDWARE, from their
    first event on.

    `said` has what the run says one after the other, with the phase before it, the nth of the same with its number;
    `struck` says whether the fault has come. `meddle` does what DOWN and CLAIM do beside the client; `phase` tells
    where the run is.
    """

    FACTS, LOOK, VERIFY, WATCH_WORKFLOW, WATCH_HARDWARE = "facts", "look", "verify", "watch-workflow", "watch-hardware"

    def __init__(
        self,
        inner: Transport,
        clock: Hasty,
        fault: Fault | None,
        at: str,
        meddle: Callable[[], None] = lambda: None,
        phase: Callable[[], str] = lambda: "",
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._meddle, self._phase = meddle, phase
        self._away_until = 0.0
        self._fault, self._at = fault, at
        self._down = False
        self._late = Path(tempfile.gettempdir()) / f"metalfoundry-late-{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._struck = threading.Event()
        self._times = Counter[str]()
        self.said: list[str] = []

    @property
    def struck(self) -> bool:
        return self._struck.is_set()

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        if self._down:
            raise self._unreachable(deadline)
        if not self._strikes(self._beside(host, command) or self._next(command)):
            return self._inner.run(host, self._as_sent(host, command), deadline)
        if self._fault is Fault.API:
            self._away_until = self._clock.now().mono + AWAY_SECONDS
            return self._inner.run(host, self._as_sent(host, command), deadline)
        if self._fault is Fault.LATE:
            threading.Thread(target=self._send_late, args=(host, command)).start()
            until(lambda: bool(self._late_pid()) or not command.stdin, what="the late command has begun")
            raise KeyboardInterrupt
        if self._fault is Fault.BEFORE:
            raise LinkLost("the link is cut, says the test", where=host.name, sent=False)
        if self._fault is Fault.HANG:
            self._clock.advance(deadline.remaining())
            raise DeadlineExceeded("no answer, says the test", where=host.name, sent=True)
        if self._fault is Fault.CLAIM:
            try:
                return self._inner.run(host, command, deadline)
            finally:
                self._meddle()
        with suppress(TransportError):  # as of a machine that is down
            self._inner.run(host, command, deadline)
        raise self._after(host)

    def _as_sent(self, host: Host, command: Command) -> Command:
        """While the API server is away, with a kubectl that says so; it is away for the jump host alone."""
        if host.via or self._clock.now().mono >= self._away_until:
            return command
        if command.stdin:
            return replace(command, stdin=f"kubectl() {{ {REFUSED}; }}\n{command.stdin}")
        return Command(("sh", "-c", REFUSED))

    def wait_for_late(self) -> None:
        """Until what was sent late has ended on the host."""
        until(lambda: not self._late_pid() or not Path(f"/proc/{self._late_pid()}").exists())
        self._late.unlink(missing_ok=True)

    def _send_late(self, host: Host, command: Command) -> None:
        """By a clock that nobody hurries."""
        late = f'echo $$ >{self._late}; kubectl() {{ sleep {LATE_SECONDS}; command kubectl "$@"; }}\n'
        slow = replace(command, stdin=late + command.stdin) if command.stdin else command
        with suppress(TransportError):  # the run is over, and its connections with it
            self._inner.run(host, slow, Deadline.after(SystemClock(), 60.0))

    def _late_pid(self) -> str:
        return self._late.read_text().strip() if self._late.exists() else ""

    def _after(self, host: Host) -> LinkLost:
        if self._fault is Fault.INTERRUPT:
            raise KeyboardInterrupt
        if self._fault is Fault.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault is Fault.DOWN:
            self._meddle()
        if self._fault in (Fault.CUT, Fault.DOWN):
            self._cut()
        return LinkLost("the reply is lost, says the test", where=host.name, sent=True)

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        if self._down:
            raise self._unreachable(deadline)
        strikes = self._strikes(self.WATCH_WORKFLOW if "workflows." in command.line else self.WATCH_HARDWARE)
        if strikes and self._fault is Fault.BEFORE:
            raise LinkLost("the link is cut, says the test", where=host.name, sent=False)
        for line in self._inner.follow(host, self._as_sent(host, command), deadline, tick / 2):
            if line is None:
                self._clock.advance(2 * tick)  # nothing happens: let the hours pass
            if self._down:
                raise LinkLost("the link is cut, says the test", where=host.name, sent=True)
            if self._at == self.LOOK and line and '"RUNNING"' in line:
                self._struck.wait(10)  # a machine may be quicker than the first look at it
            if strikes and self._fault is Fault.HANG:
                yield None
                continue
            yield line
            if strikes and line is not None:
                raise self._after(host)

    def _beside(self, host: Host, command: Command) -> str:
        """The name of a question to a machine; "" for what the run says one after the other."""
        if not host.via or command.effect is not Effect.READ:
            return ""
        if host.host_key is HostKeyPolicy.LEARN:
            return self.VERIFY if host.user == "ubuntu" else self.LOOK
        return self.FACTS

    def _next(self, command: Command) -> str:
        """Note what the run says now."""
        words = f"{self._phase()}: {label(command)}".removeprefix(": ")
        with self._lock:
            self._times[words] += 1
            self.said.append(words if self._times[words] == 1 else f"{words} ({self._times[words]})")
            return self.said[-1]

    def _strikes(self, here: str) -> bool:
        with self._lock:
            if here != self._at or self._fault is None or self.struck:
                return False
            self._struck.set()
            return True

    def _cut(self) -> None:
        self._down = True
        self._inner.close()

    def _unreachable(self, deadline: Deadline) -> ConnectError:
        self._clock.advance(min(10.0, deadline.remaining()))
        return ConnectError("does not answer, says the test", where="the link", sent=False)


def label(command: Command) -> str:
    """What a command does, in a word or two: the parts of a script but for Events, or the guard's sub-command."""
    found = re.search(r"^ACTION=(\w+)$", command.stdin, re.MULTILINE)
    parts = [part for part in re.findall(r"^part (\w+) ", command.stdin, re.MULTILINE) if part != EVENT]
    if parts:
        return "+".join(dict.fromkeys("smee" if part.startswith("smee") else part for part in parts))
    if found:
        return f"guard {found[1]}"
    return command.line
