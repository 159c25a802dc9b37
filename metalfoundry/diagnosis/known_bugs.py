"""What is known to go wrong in releases of Tinkerbell, as far as it touches an installation."""

from __future__ import annotations

from dataclasses import dataclass

from metalfoundry.commands.kubernetes import Version

Number = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class KnownBug:
    """`what` is true of releases from `since` on, and no longer from `mended` on (None: of the newest known one).

    `source`: where it is told, `T` for tinkerbell/tinkerbell.
    """

    since: Number
    mended: Number | None
    what: str
    source: str


BUGS = (
    KnownBug((0, 0, 0), (0, 12, 2), "a Workflow with toggleAllowNetboot stays in PREPARING", "tink PR#1055"),
    KnownBug((0, 0, 0), (0, 19, 1), "toggleAllowNetboot may fail when two write at once", "T ae4d5256"),
    KnownBug((0, 17, 0), (0, 24, 0), "a machine that reboots in the middle of an action is stuck", "T PR#700"),
    KnownBug((0, 18, 0), None, "an old Workflow of the same agent holds up a new one; a run removes it", "T PR#964"),
    KnownBug((0, 19, 0), (0, 22, 0), "an error of auto discovery keeps the agent from its work", "T PR#410"),
    KnownBug((0, 24, 0), None, "a boot action runs again while netboot is open; a run closes it before", "T PR#700"),
)


def bugs_of(version: Version) -> list[KnownBug]:
    """Those of this release."""
    number = version.number
    return [bug for bug in BUGS if bug.since <= number and (bug.mended is None or number < bug.mended)]
