"""A guard that ends at any of its commands (before it, after it with the answer lost, or hung in it), while others
write; the next guard makes up for it: nobody else's window is closed, and none of ours is open after its lease.

What others write matters between two calls of kubectl alone, so the interleavings are tried at those.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guard.harness import RUN, Client, Cluster, client, until

OTHER = "20260102T040506Z-anvil-0badc0"
TOOLS = (
    "awk", "cat", "cut", "date", "find", "grep", "id", "kubectl", "mv", "rm", "sed", "sleep", "tail", "timeout", "tr",
    "uname",
)  # fmt: skip
WAYS = ("before", "after", "hung")
SHIM = """#!/bin/sh
# {tool}, which kills the guard that calls it, at the call whose number is in `at`; others are none of its business
read -r pid comm state parent group session rest </proc/$$/stat
if ! {grep} -qs /guard- /proc/$session/cmdline || ! read -r at 2>/dev/null <{gate}/at; then exec {real} "$@"; fi
echo {tool} >>{gate}/calls
number=0
while read -r line; do number=$((number + 1)); done <{gate}/calls
[ "$number" = "$at" ] || exec {real} "$@"
{mv} {gate}/at {gate}/taken 2>/dev/null || exec {real} "$@"
read -r way <{gate}/way
case $way,$* in after,*" -w "*) way=before ;; esac  # a watch has no end to come after
[ "$way" != after ] || {real} "$@" >/dev/null 2>&1
if [ "$way" = hung ]; then kill -STOP "$session"; else kill -KILL "$session"; fi
: >{gate}/fired
[ "$way" != hung ] || exec {sleep} 600
"""


class Gate:
    """The programs that the guard finds, with a count of its calls."""

    def __init__(self, folder: Path, kubectl: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            real = str(kubectl) if tool == "kubectl" else shutil.which(tool)
            helpers = {name: shutil.which(name) for name in ("grep", "sleep", "mv")}
            text = SHIM.format(tool=tool, gate=folder, real=real, **helpers)
            (self.bin / tool).write_text(text)
            (self.bin / tool).chmod(0o755)

    def arm(self, at: int, way: str = "") -> None:
        """From now on calls count; at that one the guard ends, with 0 at none."""
        for name in ("calls", "fired", "taken"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "way").write_text(f"{way}\n")
        (self.folder / "at").write_text(f"{at}\n")

    def disarm(self) -> None:
        """The guard falls no more; if it is about to, wait for it."""
        try:
            (self.folder / "at").unlink()
        except FileNotFoundError:
            until(lambda: self.fired)

    @property
    def fired(self) -> bool:
        return (self.folder / "fired").exists()

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []


@dataclass
class World:
    """anvil, whose installer runs and whose window is to be closed; bolt, another run's, which waits for its server;
    cog, opened by nobody known.
    """

    folder: Path
    cluster: Cluster
    guard: Client
    gate: Gate
    elapsed: float = 1000.0

    @classmethod
    def new(cls, folder: Path) -> World:
        cluster = Cluster(folder / "programs")
        gate = Gate(folder / "gate", cluster.kubectl)
        env = {"PATH": f"{gate.bin}:{os.environ['PATH']}"}
        guard = client("sh", folder, "kubectl", env)
        guard.values |= {"UPTIME": str(folder / "uptime"), "PACE": "1"}
        world = cls(folder, cluster, guard, gate)
        world.later(0)
        cluster.workflow("RUNNING")
        cluster.workflow("PENDING", name="bolt")
        cluster.hardware()
        cluster.hardware("bolt", run="20260102T030405Z-bolt-5eed00", lease="900")
        cluster.hardware("cog", run=None)
        return world

    def later(self, seconds: float) -> None:
        self.elapsed += seconds
        new = self.folder / "uptime.new"
        new.write_text(f"{self.elapsed} 1\n")
        new.replace(self.folder / "uptime")

    def start(self) -> None:
        """As the client does."""
        self.guard.send("start")

    def closed(self) -> bool:
        return any(line.startswith("closed hardware=anvil") for line in self.guard.log())

    def fall(self, at: int, way: str) -> bool:
        """Start a guard that falls at that call, with its client; whether there was such a call."""
        self.gate.arm(at, way)
        with self.guard.begin("start") as starting:
            until(lambda: self.gate.fired or self.closed())
            starting.kill()
        self.gate.disarm()
        if self.gate.fired and way == "hung":
            (self.guard.folder / "pass").touch()
            os.utime(self.guard.folder / "pass", (0, 0))
        elif self.gate.fired:  # a killed process is there until the kernel has come to it
            until(lambda: not self.guard.guards(), what="the guard that fell has ended")
        return self.gate.fired

    def make_up(self, mine: bool) -> None:
        """The next guard; `mine`: whether anvil's window is still of the run that the installer belongs to."""
        self.start()
        self.cluster.note("renewal", "2", "bolt")
        self.later(2)
        until(lambda: " 2 holds" in self.cluster.notes("bolt").get("guard", ""), what="the next guard has seen all")
        if mine:
            until(lambda: not self.cluster.open(), what="the window of a run whose installer runs is closed")
        assert self.cluster.open("bolt")
        self.later(650)  # anvil's lease, whoever has claimed it
        until(lambda: not self.cluster.open(), what="nothing is open after its lease")
        assert self.cluster.open("bolt")
        self.later(350)
        until(lambda: not self.cluster.open("bolt"))
        assert self.cluster.open("cog")

    def end(self) -> None:
        for pid in self.guard.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.cluster.door.stop()


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Callable[[], World]]:
    made: list[World] = []

    def new() -> World:
        while made:
            made.pop().end()
        made.append(World.new(tmp_path / f"world-{os.urandom(4).hex()}"))
        return made[-1]

    yield new
    while made:
        made.pop().end()


def calls(world: World) -> list[str]:
    """What a guard calls that nothing befalls, until it has proved that anvil is closed."""
    world.gate.arm(0)
    world.start()
    until(world.closed)
    world.gate.disarm()
    return world.gate.calls()


@pytest.mark.parametrize("way", WAYS)
def test_at_every_command(worlds: Callable[[], World], way: str) -> None:
    fallen = 0
    for at in range(1, len(calls(worlds())) + 1):
        world = worlds()
        fallen += world.fall(at, way)
        world.make_up(mine=True)
    assert fallen > 10


def taken_over(world: World) -> None:
    """Another client's run, whose installer has not begun."""
    uid = world.cluster.workflow("PENDING", name="anvil-again")
    words = {"renewal": "1", "workflow": "anvil-again", "workflow-uid": uid, "run": OTHER}
    for key, value in words.items():
        world.cluster.note(key, value)
    world.cluster.netboot(True)


def toggled(world: World) -> None:
    """Tinkerbell's toggle opens late."""
    world.cluster.netboot(True)


def overwritten(world: World) -> None:
    """Flux puts the object back as the repository has it, with netboot open and without a word of ours."""
    for key in [key for key in world.cluster.notes() if "/" not in key]:
        world.cluster.note(key, None)
    world.cluster.netboot(True)


def closed_by_hand(world: World) -> None:
    """A person with kubectl."""
    world.cluster.netboot(False)


def another_guard(world: World) -> None:
    """Of another user of the jump host, on the same namespace."""
    second = client("sh", world.folder / "second", str(world.cluster.kubectl), {"TEST_MARK": str(world.guard.root)})
    second.values |= {"UPTIME": world.guard.values["UPTIME"], "PACE": "1", "GUARD": "lea@jump"}
    second.raw(second.text("start"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("writes", [taken_over, toggled, overwritten, closed_by_hand, another_guard])
def test_while_others_write(worlds: Callable[[], World], writes: Callable[[World], None], way: str) -> None:
    fallen = 0
    for at in [number for number, tool in enumerate(calls(worlds()), 1) if tool == "kubectl"]:
        world = worlds()
        fallen += world.fall(at, way)
        known = RUN in ((world.guard.folder / "memory").read_text() if (world.guard.folder / "memory").exists() else "")
        writes(world)
        if writes is taken_over:
            before = len(world.cluster.closes())
            world.guard.send("start", HARDWARE="anvil", RUN=OTHER, RENEWAL="1", WAIT="60")
            assert world.cluster.open()
            assert len(world.cluster.closes()) == before
            world.make_up(mine=False)
        elif writes is overwritten and not known:  # who has never seen the claim sees a window of nobody
            world.start()
            world.guard.logged("stray hardware=anvil")
        else:
            world.make_up(mine=True)
    assert fallen > 1
