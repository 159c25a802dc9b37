"""Site: everything that is needed to do something at one place. The composition root of all verbs."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from metalfoundry.commands import ssh
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.model.bus import Bus
from metalfoundry.model.events import Notice
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory
from metalfoundry.site.chronicle import Chronicle
from metalfoundry.site.command_events import CommandEvents
from metalfoundry.site.left import Left
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Cancel, Clock, Deadline
from metalfoundry.transport.gates import Gate, Gated
from metalfoundry.transport.local import Local, Shell
from metalfoundry.transport.merge import Merge, Threaded
from metalfoundry.transport.threads import Threads, fulfil

T = TypeVar("T")
NO_SKEW, SKEW = timedelta(seconds=3), timedelta(minutes=1)


class Executor(Protocol):
    """Starts work and gives back its future."""

    def __call__(self, work: Callable[[], T]) -> Future[T]:
        """Start `work`."""


Watching = Callable[["Site", Mapping[str, str], Deadline], Iterator[tuple[str, str, dict[str, Any]] | None]]
"""Shows the wanted objects (name by kind) as (kind, event, object), from their present state on; None in silence."""


Surveying = Callable[["Site", str | None, Deadline], Survey]
"""Reads the namespace, our rights, and what Smee answers for the machine with that MAC."""


class Background:
    """Runs a look at a machine beside the main line; a look is short and bounded, so nobody waits for it at the end.

    Its threads are no pool's: an interrupt while a pool starts a thread leaves one that the program's end waits for.
    """

    def __init__(self, threads: Threads | None = None) -> None:
        """`threads` starts them, and may be asked to wait for them."""
        self._threads = threads or Threads()

    def __call__(self, work: Callable[[], T]) -> Future[T]:
        """Start `work` in a thread."""
        future: Future[T] = Future()
        self._threads.start(partial(fulfil, future, work), "look")
        return future


def inline(work: Callable[[], T]) -> Future[T]:
    """Do `work` here and now, in the form that Background gives: for plans and tests."""
    future: Future[T] = Future()
    fulfil(future, work)
    return future


@dataclass
class JumpTime:
    """How far the jump host's clock is ahead of this computer's, by its last answer; `told`: somebody was told."""

    ahead: timedelta = timedelta(0)
    told: bool = False

    def take(self, there: int, here: datetime) -> None:
        """`there` in seconds since 1970 at the moment `here`; less than NO_SKEW is the way of an answer."""
        ahead = datetime.fromtimestamp(there, UTC) - here
        self.ahead = ahead if abs(ahead) >= NO_SKEW else timedelta(0)


@dataclass(frozen=True)
class Site:
    """One place: what is known of it, and the doors to it. `lookout` is the transport for what only waits,
    `local` the door to programs on this computer, `watches`, `surveys` and `chronicle` what several runs share,
    `jump_time` the jump host's clock, `left` what may still be under way there."""

    inventory: Inventory
    transport: Gated
    lookout: Gated
    clock: Clock
    bus: Bus
    cancel: Cancel = field(default_factory=Cancel)
    merge: Merge = field(default_factory=Threaded)
    local: Local = field(default_factory=Shell)
    background: Executor = field(default_factory=Background)
    watches: Watching | None = None
    surveys: Surveying | None = None
    chronicle: Chronicle = field(default_factory=Chronicle)
    jump_time: JumpTime = field(default_factory=JumpTime)
    left: Left = field(default_factory=Left)
    holder: str = field(default_factory=lambda: f"{_user()}@{socket.gethostname()}")

    def on(self, bus: Bus) -> Site:
        """The same place with another bus: events carry the run and server that it fills in."""
        carried = self.transport
        return replace(
            self,
            bus=bus,
            transport=carried.observed(CommandEvents(bus)),
            lookout=carried.observed(CommandEvents(bus, waiting=True)),
        )

    def now(self) -> datetime:
        """The time that counts for claims: the jump host's, as far as it was told."""
        return self.clock.now().wall + self.jump_time.ahead

    def take_time(self, there: int | None) -> None:
        """Keep the jump host's time (seconds since 1970), where it was told, and say once that this computer's is
        another.
        """
        clock = self.jump_time
        if there is not None:
            clock.take(there, self.clock.now().wall)
        if abs(clock.ahead) > SKEW and not clock.told:
            clock.told = True
            seconds, way = abs(clock.ahead).total_seconds(), "behind" if clock.ahead > timedelta(0) else "ahead of"
            text = f"this computer's clock is {seconds / 60:.0f} min {way} the jump host's, which counts for claims"
            self.bus.emit(Notice(text, "warning"))

    def gated(self, gate: Gate) -> Site:
        """The same place with one gate more before every command."""
        return replace(self, transport=self.transport.with_gate(gate), lookout=self.lookout.with_gate(gate))

    @property
    def jump(self) -> Host:
        """The jump host, where kubectl runs."""
        return self.inventory.site.jump.endpoint()

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as it is spelt here."""
        return Kubectl(self.inventory.site.kubectl, self.inventory.site.namespace)

    def kubectl_hint(self, verb: str, *words: str) -> str:
        """A kubectl call in the site's namespace, as a person pastes it here: it runs on the jump host."""
        return ssh.remotely(self.jump, self.kubectl.argv(verb, *words))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry in the password database, as in some containers
        return "unknown"
