"""One object as it changes, for as long as it takes: watches end, fall silent and lose their link, and say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from metalfoundry.commands.kubectl import read_event, read_only
from metalfoundry.commands.script import read_script
from metalfoundry.model.errors import AuthError, HostKeyError, TransportError
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

TICK_SECONDS = 0.25
SILENCE_SECONDS = 60.0
READ_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


def stream(site: Site, kind: str, name: str, deadline: Deadline) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """(event, object) from the present state on, until `deadline`; None in each TICK_SECONDS of silence.

    A watch that ended, or lost its link, or was silent for a minute (it may hang) is taken up anew, and shows the
    present state again. Raises AuthError or HostKeyError when the jump host does not let us in any more.
    """
    pause = FIRST_PAUSE
    while not deadline.expired():
        try:
            for event in _one_watch(site, kind, name, deadline):
                pause = FIRST_PAUSE if event else pause
                yield event
        except (AuthError, HostKeyError):
            raise
        except TransportError:
            yield None
        site.clock.wait(pause, site.cancel)
        pause = min(pause * 2, LONGEST_PAUSE)
        if _deleted(site, kind, name, deadline):
            yield "DELETED", {}


def _one_watch(site: Site, kind: str, name: str, deadline: Deadline) -> Iterator[tuple[str, dict[str, Any]] | None]:
    heard = site.clock.now().mono
    command = site.kubectl.watch(kind, name)
    with closing(site.transport.follow(site.jump, command, deadline, TICK_SECONDS)) as lines:  # type: ignore[type-var]
        for line in lines:
            event = read_event(line) if line else None
            if event or line is None:
                yield event
            now = site.clock.now().mono
            if event:
                heard = now
            elif now - heard >= SILENCE_SECONDS:
                return


def _deleted(site: Site, kind: str, name: str, deadline: Deadline) -> bool:
    """A new watch of a deleted object is silent, so its absence is asked for."""
    command = read_only(site.kubectl.get(kind, name))
    try:
        result = site.transport.run(site.jump, command, deadline.within(READ_SECONDS))
    except TransportError:
        return False
    outcome = read_script(result.stdout).get("object")
    return outcome is not None and outcome.ok and not outcome.stdout.strip()
