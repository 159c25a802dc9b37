"""kubectl's few words of claim and window, straight on a store: quick enough for thousands of steps."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

from metalfoundry.commands.command import Command
from metalfoundry.commands.script import MARK
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Invalid, Object
from metalfoundry.model.errors import LinkLost
from metalfoundry.model.hosts import Host
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline
from tests.fakes import Unwatched
from tests.played_guard import asked

_PART = re.compile(
    r"^part (?P<name>\w+) (?P<line>.*?) (?:</dev/null|<<'(?P<end>\w+)'\n(?P<stdin>.*?)\n(?P=end))$",
    re.MULTILINE | re.DOTALL,
)
AWAY = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"
Wrote = Callable[[str, list[Object], Object, Object], None]


class OnStore(Unwatched):
    """A Transport of one actor. `wrote(actor, operations, before, after)` is told each patch that was applied;
    `lose` makes it lose that many replies of commands that took effect, `away` has the API server answer as many not at
    all, and `before` is called before each. `guards`: what the guards do when they are asked for.
    """

    def __init__(self, store: MemoryStore, actor: str, wrote: Wrote) -> None:
        self._store, self._actor, self._wrote = store, actor, wrote
        self.lose = self.away = 0
        self.guards: Callable[[], None] = lambda: None
        self.before: Callable[[], None] = lambda: None

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        self.before()
        self.away, away = max(self.away - 1, 0), self.away > 0
        mark = command.stdin.split("\n", 1)[0].removeprefix("mark=")
        text = command.stdin.rsplit("script() {\n", 1)[1]
        out = []
        for part in _PART.finditer(text):
            words = shlex.split(part["line"])
            stdin = part["stdin"] or ""
            if words[:2] == ["sh", "-s"]:
                status, said, error = self._guard(asked(stdin)) if not away else (8, "", "no word of a guard")
            else:
                status, said, error = self._kubectl(words, stdin) if not away else (1, "", AWAY)
            head = f"{MARK} {mark} {part['name']}"
            out.append(f"{head} out\n{said}\n{head} err\n{error}\n{head} exit {status}\n")
        if self.lose:
            self.lose -= 1
            raise LinkLost("the reply is lost", where=host.name, sent=True)
        return Result(0, "".join(out), "")

    def _guard(self, words: dict[str, str]) -> tuple[int, str, str]:
        """The guards have a pass; then it is known whether one has acknowledged the claim."""
        self.guards()
        if "HARDWARE" not in words:
            return 0, "pid=1", ""
        notes = self._store.get("hardware", words["HARDWARE"])["metadata"].get("annotations", {})
        seen = f" {words['RUN']} {words['RENEWAL']} " in notes.get("metalfoundry.dev/guard", "")
        return (0, "pid=1", "") if seen else (8, "", "no guard has acknowledged it")

    def _kubectl(self, words: list[str], stdin: str) -> tuple[int, str, str]:
        if words[1:4] == ["create", "-f", "-"] and json.loads(stdin)["kind"] == "Event":
            return 0, "event/made", ""
        verb, (kind, _, name) = words[1], words[2].partition("/")
        if verb == "delete":
            return 0, "", ""
        assert kind.startswith("hardware."), words
        if verb == "get":
            return 0, json.dumps(self._store.get("hardware", name)), ""
        assert verb == "patch", words
        operations, before = json.loads(stdin), self._store.get("hardware", name)
        try:
            after = self._store.patch("hardware", name, operations)
        except Invalid as refused:
            return 1, "", str(refused)
        self._wrote(self._actor, operations, before, after)
        return 0, f"hardware.tinkerbell.org/{name}", ""
