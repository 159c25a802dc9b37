"""One object, or all of a kind, as they change, for as long as it takes: watches end, fall silent, lose their link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from metalfoundry.commands.kubectl import Refusal, read_event, read_only, refusal
from metalfoundry.commands.script import read_script
from metalfoundry.model.errors import AuthError, CommandError, HostKeyError, TransportError, WatchBroken
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

TICK_SECONDS = 0.25
SILENCE_SECONDS = 60.0
READ_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
QUICK_SECONDS, QUICK_ENDS = 2.0, 3
EMPTY_SECONDS = 2.0
ALL_SILENCE_SECONDS = 300.0  # a whole namespace may be still for long, and to take it up anew costs a survey
BEGUN, AGAIN = "BEGUN", "AGAIN"

Seen = tuple[str, dict[str, Any]]  # event, object
Told = tuple[str, str, dict[str, Any]]  # kind, event, object


def stream(site: Site, kind: str, name: str, deadline: Deadline) -> Iterator[Seen | None]:
    """(event, object) from the present state on, until `deadline`; None in each TICK_SECONDS of silence.

    A watch that was taken up anew shows the present state again. Raises as `watched`.
    """
    first = True
    for seen in watched(site, kind, name, deadline):
        if seen is None or seen[0] != BEGUN:
            yield seen
        elif not first and _deleted(site, kind, name, deadline):
            yield "DELETED", {}
        first = first and seen is None


def by_name(site: Site, wanted: Mapping[str, str], deadline: Deadline) -> Iterator[Told | None]:
    """The `wanted` objects, name by kind, each by a watch of its own; None in silence. Raises as `watched`."""
    kinds = list(wanted)
    streams = [partial(stream, site, kind, name, deadline) for kind, name in wanted.items()]
    for arrived in site.merge(streams, TICK_SECONDS):
        yield None if arrived is None or arrived[1] is None else (kinds[arrived[0]], *arrived[1])


def settled(site: Site, kind: str, deadline: Deadline) -> Iterator[Seen | None]:
    """All of a kind as `watched`, with AGAIN once a watch has told what there is, or is silent from the beginning."""
    told, silent, asked = False, 0, False
    for seen in watched(site, kind, "", deadline, ALL_SILENCE_SECONDS):
        if seen is None:
            silent += 1
            if not asked and (told or silent * TICK_SECONDS >= EMPTY_SECONDS):
                asked = True
                yield AGAIN, {}
            yield None
        elif seen[0] == BEGUN:
            told, silent, asked = False, 0, False
        else:
            told = True
            yield seen


def watched(
    site: Site, kind: str, name: str, deadline: Deadline, silence: float = SILENCE_SECONDS
) -> Iterator[Seen | None]:
    """One watch after the other until `deadline`, each with (BEGUN, {}) before it; None in silence.

    A watch that ended, or lost its link, or was silent for `silence` seconds (it may hang) is taken up anew. Raises
    AuthError or HostKeyError when the jump host does not let us in any more, and WatchBroken when watches end as soon
    as they begin, though the link stands and the API server is not said to be away.
    """
    pause, quick = FIRST_PAUSE, 0
    while not deadline.expired():
        yield BEGUN, {}
        begun, heard, said = site.clock.now().mono, False, ""
        try:
            for event in _one_watch(site, kind, name, deadline, silence):
                heard = heard or event is not None
                yield event
            ended = True
        except (AuthError, HostKeyError):
            raise
        except CommandError as error:
            said = error.stderr
            ended = refusal(error.exit_status, said) is not Refusal.API_AWAY
        except TransportError:
            ended = False
            yield None
        at_once = ended and not heard and site.clock.now().mono - begun < QUICK_SECONDS and not deadline.expired()
        quick = quick + 1 if at_once else 0
        if quick >= QUICK_ENDS:
            raise _broken(site, kind, said)
        pause = FIRST_PAUSE if heard else pause
        site.clock.wait(pause, site.cancel)
        pause = min(pause * 2, LONGEST_PAUSE)


def _broken(site: Site, kind: str, said: str) -> WatchBroken:
    lines = said.strip().splitlines()
    return WatchBroken(
        f"{kind.partition('.')[0]} cannot be watched: {lines[-1] if lines else 'the command ends without a word'}",
        where=site.jump.name,
        next=f"try it on the jump host: {site.kubectl.watch(kind).line}",
        evidence=said,
    )


def _one_watch(site: Site, kind: str, name: str, deadline: Deadline, silence: float) -> Iterator[Seen | None]:
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
            elif now - heard >= silence:
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
