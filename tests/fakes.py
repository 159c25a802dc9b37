"""Fakes that come in by the Transport door.

    transport = FakeTransport(clock)
    transport.on("uname", reply="Linux\n")                        # a word (or words) of the command's line or stdin
    transport.on("kubectl patch", reply=[LinkLost("cut"), "ok"])  # one after the other; the last one stays
    transport.on(lambda host, command: host.name == "anvil", reply=Result(1, "", "no"))
    transport.on("get -w", lines=["RUNNING a", None, None, LinkLost("cut")])

A command that no rule knows is an AssertionError, not an error of the tree: no code under test may swallow it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.hosts import Host, ServerKey
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline, FakeClock

Matcher = str | Callable[[Host, Command], bool]
Answer = str | Result | BaseException | Callable[[Host, Command], "str | Result | BaseException"]
Line = str | None | BaseException | Callable[[], object]


class UnknownCommand(AssertionError):
    """The code under test said something that the test did not foresee."""


@dataclass
class Rule:
    """What to answer to the commands it matches; `used` counts them."""

    matcher: Matcher
    replies: list[Answer] = field(default_factory=list)
    scripts: list[Sequence[Line]] = field(default_factory=list)
    used: int = 0

    def matches(self, host: Host, command: Command) -> bool:
        if callable(self.matcher):
            return self.matcher(host, command)
        return self.matcher in f"{command.line}\n{command.stdin}"


@dataclass(frozen=True)
class Said:
    """One command as it was said; `followed` tells run from follow."""

    host: Host
    command: Command
    followed: bool = False


class Unwatched:
    """What a Transport without connections and watches has beside `run`."""

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        raise AssertionError("nobody watches here")

    def server_key(self, host: Host) -> ServerKey | None:
        return None

    def disconnect(self, host: Host) -> None:
        return

    def close(self) -> None:
        return


class FakeTransport:
    """A Transport that answers from rules, first match wins, and remembers what was said.

    `said` has every command in order, `writes` those that are no READ, `disconnected` the hosts dropped by the code
    under test. `took` is what a command costs on the FakeClock, in seconds.
    """

    def __init__(self, clock: FakeClock | None = None, *, took: float = 0.0) -> None:
        self.clock = clock or FakeClock()
        self.took = took
        self.said: list[Said] = []
        self.disconnected: list[Host] = []
        self.closed = False
        self.keys: dict[str, ServerKey] = {}
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    @property
    def writes(self) -> list[Command]:
        return [said.command for said in self.said if said.command.effect is not Effect.READ]

    def on(
        self, matcher: Matcher, *, reply: Answer | list[Answer] | None = None, lines: Sequence[Line] | None = None
    ) -> Rule:
        """Answer `run` with `reply`: stdout, a whole Result, an exception to raise, a function that gives one of
        these, or a list of them, used up one by one until the last, which stays. Answer `follow` with `lines`: text is
        yielded, None is a tick and moves the clock by it, an exception is raised, a function is called (let the world
        change there); after the last line the command has ended. A second rule with `lines` for the same words is not
        reached: call `rule.scripts.append(...)` to script the next follow.
        """
        rule = Rule(matcher)
        if reply is not None:
            rule.replies = list(reply) if isinstance(reply, list) else [reply]
        if lines is not None:
            rule.scripts = [lines]
        if not rule.replies and not rule.scripts:
            raise ValueError("a rule needs a reply or lines")
        self._rules.append(rule)
        return rule

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        with self._lock:
            self.said.append(Said(host, command))
            rule = self._rule(host, command, followed=False)
            answer = rule.replies.pop(0) if len(rule.replies) > 1 else rule.replies[0]
        self.clock.advance(self.took)
        if callable(answer):
            answer = answer(host, command)
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Result) else Result(0, answer, "", self.took)

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        with self._lock:
            self.said.append(Said(host, command, followed=True))
            rule = self._rule(host, command, followed=True)
            script = rule.scripts.pop(0) if len(rule.scripts) > 1 else rule.scripts[0]
        for line in script:
            if deadline.expired():
                return
            if callable(line):
                line()
            elif isinstance(line, BaseException):
                raise line
            else:
                if line is None:
                    self.clock.advance(tick)
                yield line

    def server_key(self, host: Host) -> ServerKey | None:
        """What the test put into `keys` under the host's name."""
        return self.keys.get(host.name)

    def disconnect(self, host: Host) -> None:
        self.disconnected.append(host)

    def close(self) -> None:
        self.closed = True

    def _rule(self, host: Host, command: Command, *, followed: bool) -> Rule:
        for rule in self._rules:
            if (rule.scripts if followed else rule.replies) and rule.matches(host, command):
                rule.used += 1
                return rule
        verb = "follow" if followed else "run"
        raise UnknownCommand(f"no rule to {verb} on {host.name} ({command.effect.value}): {command.shown}")
