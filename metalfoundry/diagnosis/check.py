"""One thing that was looked at before anything is begun: passed, failed, or not looked at, which is never fine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from metalfoundry.model.errors import MetalfoundryError


class CheckState(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNSEEN = "not looked at"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the site, or of one `server` ("" for the site's): what was found, `evidence` that proves it, and the
    `next` step, often a command, that makes it pass.
    """

    check: str
    server: str
    state: CheckState
    what: str
    next: str = ""
    evidence: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-able object."""
        return {name: str(getattr(self, name)) for name in self.__slots__}


@dataclass
class Checks:
    """The checks of the site, or of one server, as they are made; each is made once."""

    server: str = ""
    made: dict[str, Check] = field(default_factory=dict)

    def passed(self, check: str, what: str) -> None:
        """It is as it should be."""
        self._make(check, CheckState.PASSED, what)

    def failed(self, check: str, what: str, next: str, evidence: str = "") -> None:
        """It is not."""
        self._make(check, CheckState.FAILED, what, next, evidence)

    def unseen(self, check: str, why: str, next: str = "") -> None:
        """Nobody knows."""
        self._make(check, CheckState.UNSEEN, why, next)

    def error(self, check: str, error: MetalfoundryError) -> None:
        """It failed, as an error of ours says."""
        self.failed(check, str(error), error.next, error.evidence)

    def ask(self, check: str, work: Callable[[], str]) -> bool:
        """Passed with what `work` says, failed with the error that it raises; whether it passed."""
        try:
            self.passed(check, work())
        except MetalfoundryError as error:
            self.error(check, error)
            return False
        return True

    def rest(self, checks: Iterable[str], why: str) -> None:
        """Nobody knows of those of `checks` that were not made."""
        for check in checks:
            if check not in self.made:
                self.unseen(check, why)

    def in_order(self, checks: Iterable[str]) -> list[Check]:
        """Those that were made, in the order of `checks`."""
        return [self.made[check] for check in checks if check in self.made]

    def _make(self, check: str, state: CheckState, what: str, next: str = "", evidence: str = "") -> None:
        self.made[check] = Check(check, self.server, state, what, next, evidence)
