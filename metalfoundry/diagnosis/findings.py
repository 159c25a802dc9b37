"""What a diagnosis says (Finding), and what a rule is: a pure function over Facts with its number, source and range."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

from metalfoundry.commands.claims import stamp
from metalfoundry.commands.kubernetes import Version
from metalfoundry.commands.log_parser import LogLine
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.model import redact

FINE, NEVER_INSTALLED, FAILED, TIMED_OUT, BAD_MACHINE, ARMED = 0, 30, 31, 32, 33, 40

Release = tuple[int, int, int]
NOTHING_WRONG, NOTHING_WRONG_YET = "nothing wrong", "nothing wrong yet"


class Certainty(Enum):
    """How sure. CERTAIN: a line or a state proves it. LIKELY: nothing else fits as well. POSSIBLE: it fits."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Stage(Enum):
    """Where on its way a machine is stopped, in order."""

    RENDER = "render"
    PREPARE = "prepare"
    BOOT = "boot"
    AGENT = "agent"
    RUN = "run"
    FINISH = "finish"
    STRAY = "stray"
    UNKNOWN = "unknown"


_BY_CERTAINTY = {certainty: rank for rank, certainty in enumerate(Certainty)}
_BY_STAGE = {stage: rank for rank, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What proves it: the readable `line`, where it came from, when; `raw` is the line as it was printed. No secret is
    left in it, for it is shown, sent and kept."""

    source: str
    line: str
    time: datetime | None = None
    raw: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", redact.text(self.line))
        object.__setattr__(self, "raw", redact.text(self.raw))

    @staticmethod
    def of(line: LogLine) -> Evidence:
        """A log line as evidence."""
        return Evidence(f"{line.source} log", line.text, line.time, line.raw)

    def to_json(self) -> dict[str, Any]:
        """For --json and bundles."""
        at = stamp(self.time) if self.time else None
        return {"source": self.source, "time": at, "line": self.line, "raw": self.raw or self.line}


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule's check returns where it fits. `first` is what must be changed before `remedy`, a command ready to
    paste, helps; `advice` is what comes after it, or says more. `reassurance` is not empty where nothing is wrong."""

    certainty: Certainty
    what: str
    evidence: tuple[Evidence, ...]
    remedy: str
    advice: str
    first: str
    reassurance: str


def _match(
    certainty: Certainty,
    what: str,
    *,
    evidence: Iterable[LogLine | Evidence | None],
    remedy: str,
    advice: str = "",
    first: str = "",
    reassurance: str = "",
) -> Match:
    proof = tuple(Evidence.of(item) if isinstance(item, LogLine) else item for item in evidence if item is not None)
    return Match(certainty, what, proof, remedy, advice, first, reassurance)


certain = partial(_match, Certainty.CERTAIN)
likely = partial(_match, Certainty.LIKELY)
possible = partial(_match, Certainty.POSSIBLE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a diagnosis: what it is, what proves it, what to do.

    `numbers` are those of the catalogue in docs/troubleshooting.md; `explains` the ids that it hides; `first`, `remedy`
    and `advice` are what to do, in that order.

    exit_code: 0 nothing is wrong, 30 never reached the installer, 31 the Workflow failed, 32 it ran out of time, 33 the
    machine is not as asked, 40 netboot is open and nobody holds it.
    """

    id: str
    certainty: Certainty
    stage: Stage
    text: str
    evidence: tuple[Evidence, ...]
    remedy: str
    advice: str
    exit_code: int
    explains: frozenset[str] = frozenset()
    numbers: tuple[int, ...] = ()
    link: str = ""
    first: str = ""
    reassurance: str = ""
    window: bool = False
    doubts: bool = False

    @property
    def what(self) -> str:
        """The sentence that is shown."""
        return f"{self.reassurance}: {self.text}" if self.reassurance else self.text

    @property
    def reassures(self) -> bool:
        """Whether it says that nothing is wrong."""
        return bool(self.reassurance)

    @property
    def order(self) -> tuple[int, int]:
        """Certain before likely before possible; then by the stage."""
        return _BY_CERTAINTY[self.certainty], _BY_STAGE[self.stage]

    def to_json(self) -> dict[str, Any]:
        """For --json and bundles; keys are kept stable."""
        return {
            "id": self.id,
            "certainty": self.certainty.value,
            "stage": self.stage.value,
            "what": self.what,
            "evidence": [item.to_json() for item in self.evidence],
            "first": self.first,
            "remedy": self.remedy,
            "advice": self.advice,
            "exit_code": self.exit_code,
            "numbers": list(self.numbers),
            "link": self.link,
        }


@dataclass(frozen=True, slots=True)
class Range:
    """Releases of Tinkerbell, `since` included and `before` not; None is no bound.

    A version that nobody saw is in every range. A build after a release (v0.21.1-f2610bdd) may be as old as its number
    or as new as the next minor release, so it is left out only where neither is in the range.
    """

    since: Release | None = None
    before: Release | None = None

    def has(self, version: Version | None) -> bool:
        """Whether the rule may hold for this version."""
        if version is None:
            return True
        major, minor, _ = version.number
        return self._in(version.number) or (bool(version.build) and self._in((major, minor + 1, 0)))

    def _in(self, number: Release) -> bool:
        return (self.since is None or number >= self.since) and (self.before is None or number < self.before)

    def __str__(self) -> str:
        words = [f"from {_dotted(self.since)}"] if self.since else []
        words += [f"before {_dotted(self.before)}"] if self.before else []
        return ", ".join(words) or "all"


Check = Callable[[Facts], Match | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check with its id (stable), the catalogue's numbers, its source, and the findings that it makes superfluous."""

    id: str
    numbers: tuple[int, ...]
    stage: Stage
    link: str
    exit_code: int
    check: Check
    title: str
    versions: Range = Range()
    explains: frozenset[str] = frozenset()
    window: bool = False
    doubts: bool = False

    def finding(self, facts: Facts, version: Version | None) -> Finding | None:
        """What this rule finds; None also where Tinkerbell's `version` was seen and is outside its range."""
        match = self.check(facts) if self.versions.has(version) else None
        if match is None:
            return None
        return Finding(
            id=self.id,
            certainty=match.certainty,
            stage=self.stage,
            text=match.what,
            evidence=match.evidence,
            remedy=match.remedy,
            advice=match.advice,
            exit_code=FINE if match.reassurance else self.exit_code,
            explains=self.explains,
            numbers=self.numbers,
            link=self.link,
            first=match.first,
            reassurance=match.reassurance,
            window=self.window,
            doubts=self.doubts,
        )


def rule(
    stage: Stage,
    id: str,
    exit_code: int,
    *numbers: int,
    link: str,
    since: Release | None = None,
    before: Release | None = None,
    explains: Iterable[str] = (),
    window: bool = False,
    doubts: bool = False,
) -> Callable[[Check], Rule]:
    """Make a Rule of a check; its docstring's first line is the failure as the table in the manual names it.

    `explains`: findings of other stages that it makes superfluous. Those of its own stage that stand behind it are so
    anyway, see `rules/__init__.py`. `window`: it judges netboot as it is now, and says nothing of the installation.
    `doubts`: what is heard may be another machine's word, so no other finding says that all is fine.
    """

    def make(check: Check) -> Rule:
        title = (check.__doc__ or id).strip().splitlines()[0].rstrip(".")
        versions = Range(since, before)
        return Rule(id, numbers, stage, link, exit_code, check, title, versions, frozenset(explains), window, doubts)

    return make


def _dotted(number: Release | None) -> str:
    return "v" + ".".join(str(part) for part in number or ())
