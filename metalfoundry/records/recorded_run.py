"""A recorded run, read back: its story from its events, and its report; with the run before it that it took up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metalfoundry.model.events import CommandStarted, MachineSeen, Record
from metalfoundry.records.run_state import Story, record_of, told
from metalfoundry.records.run_store import KeptRun, find, first, kept, report_in

LONGEST_CHAIN = 20
FACTS = {
    "os_name": "system",
    "hostname": "host name",
    "boot_id": "boot id",
    "machine_id": "machine id",
    "host_key": "host key",
    "serial": "serial number",
    "macs": "MACs",
    "cmdline": "kernel command line",
}


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run's record. `report` is {} where its client was killed, or is still at work."""

    story: Story
    report: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The report's; `no end` where nobody wrote one."""
        return str(self.report.get("verdict") or self.story.verdict or "no end")

    @property
    def seconds(self) -> float:
        """How long it took, as far as it is recorded."""
        return self.story.seconds(self.story.latest) if self.story.latest else 0.0

    @property
    def error(self) -> Mapping[str, str]:
        """what, where, next, evidence; {} where it went well."""
        return self.report.get("error") or {}

    @property
    def findings(self) -> list[Mapping[str, Any]]:
        """What a diagnosis found, where one was made."""
        return list((self.report.get("diagnosis") or {}).get("findings", ()))

    @property
    def witnesses(self) -> list[str]:
        """What Tinkerbell and the machine said, and what follows from both."""
        said = (self.report.get("diagnosis") or {}).get("witnesses") or {}
        return [str(value) for value in said.values() if value]

    def facts(self) -> list[tuple[str, str, str]]:
        """Rows of (fact, before, after); from what was seen in passing where there is no report."""
        machine = self.report.get("machine") or {}
        before, after = machine.get("before") or {}, machine.get("after") or {}
        if not before and not after:
            before, after = self._seen("Preflight"), self._seen("Verify")
        rows = [(words, _text(before.get(key)), _text(after.get(key))) for key, words in FACTS.items()]
        return [row for row in rows if row[1] or row[2]]

    def commands(self) -> Iterator[tuple[Record, CommandStarted]]:
        """What was sent, in order; watches and looks at a machine that is awaited only when they were first sent."""
        waiting: set[tuple[str, str]] = set()
        for record in self.story.commands:
            event = record.event
            assert isinstance(event, CommandStarted)
            if event.waiting and (event.host, event.text) in waiting:
                continue
            if event.waiting:
                waiting.add((event.host, event.text))
            yield record, event

    def _seen(self, phase: str) -> dict[str, str]:
        for record in self.story.machines:
            if record.phase == phase and isinstance(record.event, MachineSeen):
                return {"os_name": record.event.system, "boot_id": record.event.boot_id}
        return {}


def recorded(base: Path, wanted: str) -> list[RecordedRun]:
    """The run `wanted` (an id, or a server's name for its newest), after those that it took up, the first one first.

    Raises UsageError when there is none.
    """
    run = find(base, wanted)
    parts = [_part(run)]
    known = {one.run: one for one in kept(base)}
    while len(parts) < LONGEST_CHAIN and (earlier := known.pop(parts[0].story.earlier, None)) is not None:
        parts.insert(0, _part(earlier))
    return parts


def of_fleet(base: Path, fleet: KeptRun) -> dict[str, RecordedRun]:
    """The run of each server that has begun in a fleet, by name; of one without an end its first since then."""
    begun = {str(row["server"]): str(row["run"]) for row in fleet.report["servers"]}
    lost = first(base, {name for name, run in begun.items() if not run}, fleet.run.split("-")[0])
    found = {name: KeptRun(run, base / run, report_in(base / run)) for name, run in begun.items() if run} | lost
    return {name: _part(found[name]) for name in fleet.servers if name in found}


def brief(text: str) -> str:
    """What a command is about, in one line: of a script its parts, or what its first comment says."""
    first, _, script = text.partition("\n")
    if not script:
        return first
    parts = re.findall(r"^\s*part \S+ (.+?)(?: <<'\w+'| </dev/null)?$", script, re.MULTILINE)
    action = re.search(r"^ACTION=(\w+)$", script, re.MULTILINE)
    comment = re.search(r"^# (?!shellcheck)(.+)$", script, re.MULTILINE)
    if action:
        parts.append(f"guard.sh {action[1]}")
    parts = [part for part in parts if part != "sh -s"]
    return "; ".join(parts) or (f"sh: {comment[1]}" if comment else first)


def _part(run: KeptRun) -> RecordedRun:
    records = (record_of(line) for line in run.events())
    story = told(record for record in records if record is not None)
    story.run, story.server = story.run or run.run, story.server or run.server
    return RecordedRun(story, run.report)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
