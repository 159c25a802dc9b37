"""How long earlier runs took, for the time that is left. Without history there is no estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from metalfoundry.records.run_state import RUNNING, Story
from metalfoundry.records.run_store import KeptRun, kept

ENOUGH, LOOKED_AT = 10, 100


@dataclass(frozen=True, slots=True)
class PastRun:
    """One earlier run that ended provisioned: seconds by a phase's title and by an action's name."""

    phases: Mapping[str, float]
    actions: Mapping[str, float]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> PastRun | None:
        """From a report's JSON; None for a run that did not go through from start to end by itself."""
        if report.get("verdict") != "provisioned" or report.get("resumes"):
            return None
        phases = {str(one["title"]): float(one["seconds"]) for one in report.get("phases", ())}
        actions = {str(one["name"]): float(one["seconds"] or 0.0) for one in report.get("actions", ())}
        return cls(phases, actions)


class History(Protocol):
    """Earlier runs."""

    def runs(self, server: str, template: str) -> Sequence[PastRun]:
        """Those of this server with this Template; where there are none, those of this Template elsewhere."""


class NoHistory:
    """Nothing is known."""

    def runs(self, server: str, template: str) -> Sequence[PastRun]:
        """None."""
        return ()


class KeptHistory:
    """What the journal under `base` holds; only the newest folders are looked at."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def runs(self, server: str, template: str) -> Sequence[PastRun]:
        """As History says; [] where the journal cannot be read."""
        own: list[PastRun] = []
        other: list[PastRun] = []
        for run in reversed(kept(self._base)[-LOOKED_AT:]):
            found = PastRun.of(run.report)
            if found is not None and _template(run) == template:
                (own if run.server == server else other).append(found)
        return (own or other)[:ENOUGH]


def seconds_left(story: Story, past: Sequence[PastRun], now: datetime) -> float | None:
    """What is left of a run by the medians of earlier ones; None where they cannot say."""
    if not past or story.phase is None or story.end is not None:
        return None
    order = list(past[0].phases)
    current = story.phase.title
    if current not in order:
        return None
    usual = {title: median(run.phases.get(title, 0.0) for run in past) for title in order}
    here = max(0.0, usual[current] - story.phase.seconds(now))
    if current == "Install":
        here = _of_actions(story, past, now) or here
    return here + sum(usual[title] for title in order[order.index(current) + 1 :])


def _of_actions(story: Story, past: Sequence[PastRun], now: datetime) -> float | None:
    """What is left of the actions; None where the one that runs was not in the earlier runs."""
    action, names = story.action, list(past[0].actions)
    if action is None or action.outcome != RUNNING or action.title not in names:
        return None
    first, *later = [median(run.actions.get(name, 0.0) for run in past) for name in names[names.index(action.title) :]]
    return max(0.0, first - action.seconds(now)) + sum(later)


def _template(run: KeptRun) -> str:
    found = (event["template"] for event in run.events() if event.get("template"))
    return str(next(found, ""))
