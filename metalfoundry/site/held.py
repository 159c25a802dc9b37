"""The refusals of a server that is another run's: one that holds it, or one that waits for it and is next."""

from __future__ import annotations

from metalfoundry.commands import claims, queue
from metalfoundry.commands.claims import ClaimSeen
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.program import ours


def claimed(server: str, seen: ClaimSeen, own: bool) -> ClaimedError:
    """The refusal that shows who holds `server`, since when, why and until when; `own`: the holder is this user. No run
    can be followed or resumed where netboot was opened by hand."""
    note = seen.note
    if note.phase == claims.BY_HAND:
        return ClaimedError(
            f"netboot of {server} was opened by hand by {note.holder or 'somebody'} at {note.opened or '?'} "
            f"({note.reason or 'no reason given'}), until {note.expires or '?'}; run {seen.run}",
            where=f"annotation {claims.RUN}",
            next=ours("netboot.close", server),
        )
    step = f"{ours('attach', server)}; if that run is dead: {ours('provision', server, '--resume')}"
    return ClaimedError(
        f"{server} is held by {note.holder or 'somebody'} since {note.opened or '?'} "
        f"({note.reason or 'no reason given'}), until {note.expires or '?'}; run {seen.run}",
        where=f"annotation {claims.RUN}",
        next=step if own else f"{_wait(server)}; or: {ours('netboot.break', server, '--run', seen.run)}",
    )


def awaited(server: str, place: queue.Waiting) -> ClaimedError:
    """The refusal where nobody holds `server`, and another run that waited for it is next."""
    return ClaimedError(
        f"{server} is free, and {place.holder}, who waits for it since {place.since}, is next",
        where=f"annotation {queue.QUEUE}",
        next=_wait(server),
    )


def _wait(server: str) -> str:
    return f"wait for it: {ours('provision', server, '--wait', '30m')}"
