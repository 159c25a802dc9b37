"""The only door to the network, as the rest of the library sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import CommandError
from metalfoundry.model.hosts import Host, ServerKey
from metalfoundry.transport.clock import Deadline


@dataclass(frozen=True, slots=True)
class Result:
    """What a remote command left: both streams as text, its exit status, and how long it took in seconds."""

    exit_status: int
    stdout: str
    stderr: str
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ended with exit status 0."""
        return self.exit_status == 0

    def check(self, what: str, *, where: str = "", next: str = "") -> Result:
        """This result, or CommandError saying `what` failed."""
        if self.ok:
            return self
        raise CommandError(
            what, where=where, next=next, exit_status=self.exit_status, stderr=self.stderr or self.stdout
        )


class Transport(Protocol):
    """Runs commands on hosts over kept connections; safe to use from several threads.

    Every method raises a TransportError of model/errors.py and nothing foreign. A command that is killed by a
    signal there has exit status 128 + signal, or -1 where the host does not say.
    """

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """Run `command` to its end. A READ is repeated over a new connection when the link is lost before
        `deadline`; anything else raises LinkLost with `sent` saying whether it may have taken effect. Raises
        TooMuchOutput for a command that prints more than `command.most` bytes.
        """

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        """Yield stdout line by line as it comes, without newline; None after each `tick` seconds of silence.

        Ends when the remote command ends well or the deadline passes; raises CommandError, with its last words, when it
        ends with another exit status than 0, and LinkLost when the line is dead. A line longer than LINE_BYTES is cut,
        and says so. Closing the iterator ends the remote command, and so does the end of the link.
        """

    def server_key(self, host: Host) -> ServerKey | None:
        """The key with which the kept connection to `host` was opened; None without a connection."""

    def disconnect(self, host: Host) -> None:
        """Drop the kept connection to `host`, if any: after a reboot it is a corpse."""

    def close(self) -> None:
        """Drop every connection."""


class Wrapped:
    """A Transport around `inner`: what is not overridden is handed on to it."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        """As Transport.run."""
        return self._inner.run(host, command, deadline)

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        """As Transport.follow."""
        return self._inner.follow(host, command, deadline, tick)

    def server_key(self, host: Host) -> ServerKey | None:
        """As Transport.server_key."""
        return self._inner.server_key(host)

    def disconnect(self, host: Host) -> None:
        """As Transport.disconnect."""
        self._inner.disconnect(host)

    def close(self) -> None:
        """As Transport.close."""
        self._inner.close()
