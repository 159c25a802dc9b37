"""What was left on its way: scripts that write, and of which nobody knows whether they have ended on the jump host."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.script import ticketed
from metalfoundry.model.errors import TransportError


class Left:
    """The tickets of such scripts. A patch needs none: it tests the claim, and comes too late when that is gone."""

    def __init__(self) -> None:
        self._tickets: dict[str, None] = {}

    @property
    def tickets(self) -> list[str]:
        """In the order in which they were sent."""
        return list(self._tickets)

    @contextmanager
    def sending(self, command: Command) -> Iterator[Command]:
        """The script to send. Its ticket is kept unless its end is seen, or it never left; a READ has none."""
        if command.effect is Effect.READ:
            yield command
            return
        ticket = f"metalfoundry-{secrets.token_hex(8)}"
        self._tickets[ticket] = None
        try:
            yield ticketed(command, ticket)
        except TransportError as error:
            if not error.sent:
                self.forget([ticket])
            raise
        self.forget([ticket])

    def forget(self, tickets: list[str]) -> None:
        """Take these out: they have ended, or will never begin."""
        for ticket in tickets:
            self._tickets.pop(ticket, None)
