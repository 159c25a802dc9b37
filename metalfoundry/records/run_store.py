"""The folder of each run: events.jsonl, report.json, logs/. A record for afterwards, never needed by a run.

A full disk or a read-only home costs the journal, and is said once; the run goes on.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOBase
from pathlib import Path
from typing import Any, TextIO

from metalfoundry.model.errors import UsageError
from metalfoundry.model.events import Record
from metalfoundry.model.foreign import from_json
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import ours
from metalfoundry.model.whole_file import replace_text
from metalfoundry.records.run_state import record_of, told

Warn = Callable[[str], object]
_log = logging.getLogger(__name__)
EVENTS, REPORT, LOGS = "events.jsonl", "report.json", "logs"
PROVISIONED = "provisioned"
RUN_ID = re.compile(r"\d{8}T\d{6}Z-(?P<server>.+)-[0-9a-f]{8}")


def home() -> Path:
    """Where runs are kept: $METALFOUNDRY_STATE, else `runs` under the user's state directory."""
    from platformdirs import user_state_path

    given = os.environ.get("METALFOUNDRY_STATE")
    return (Path(given) if given else user_state_path("metalfoundry")) / "runs"


class EventLines:
    """A sink that writes every record as one JSON line, at once; raises OSError where it cannot."""

    def __init__(self, stream: TextIOBase | TextIO) -> None:
        self._stream = stream

    def __call__(self, record: Record) -> None:
        """Write one line."""
        self._stream.write(json_text(record.to_json()) + "\n")
        self._stream.flush()


class EventFile:
    """A sink for `--events`: what cannot be written is said once, and the run goes on without it."""

    def __init__(self, name: str, stream: TextIOBase | TextIO, warn: Warn = _log.warning) -> None:
        self._name, self._stream, self._warn = name, stream, warn
        self._lines: EventLines | None = EventLines(stream)

    def __call__(self, record: Record) -> None:
        """Write one line."""
        try:
            if self._lines is not None:
                self._lines(record)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        try:
            self._stream.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self._lines is not None:
            self._warn(f"no more events are written to {self._name}: {error.strerror}")
        self._lines = None


class Journal:
    """A sink that keeps each run's records in the run's own folder (0700), under `base` or where `fab` keeps them.

    What cannot be written costs the record, not the run: `warn` is told once.
    """

    def __init__(self, base: Path | None = None, warn: Warn = _log.warning) -> None:
        self._base, self._warn = base or home(), warn
        self._streams: dict[str, TextIO] = {}
        self._given_up = False

    def __call__(self, record: Record) -> None:
        """Append the record to its run's events; a record without a run is not kept."""
        if not record.run or self._given_up:
            return
        try:
            EventLines(self._stream(record.run))(record)
        except OSError as error:
            self._give_up(error)

    def save(self, run: str, report: Mapping[str, Any]) -> Path | None:
        """Write the run's report; return its folder, or None where it could not be written."""
        if self._given_up:
            return None
        try:
            folder = self._folder(run)
            replace_text(folder / REPORT, json_text(report, indent=2) + "\n")
        except OSError as error:
            self._give_up(error)
            return None
        return folder

    def keep_log(self, run: str, name: str, text: str) -> None:
        """Keep one log that was read for the run's diagnosis."""
        if self._given_up:
            return
        try:
            folder = self._folder(run) / LOGS
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.log").write_text(text, encoding="utf-8")
        except OSError as error:
            self._give_up(error)

    def runs(self) -> list[KeptRun]:
        """All runs that are kept there, the oldest first."""
        return kept(self._base)

    def close(self) -> None:
        """Close the files."""
        for stream in self._streams.values():
            try:
                stream.close()
            except OSError as error:
                self._give_up(error)
        self._streams.clear()

    def _folder(self, run: str) -> Path:
        self._base.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self._base / run
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def _stream(self, run: str) -> TextIO:
        if run not in self._streams:
            self._streams[run] = (self._folder(run) / EVENTS).open("a", encoding="utf-8")
        return self._streams[run]

    def _give_up(self, error: OSError) -> None:
        if self._given_up:
            return
        self._given_up = True
        self._warn(f"this run is not recorded under {self._base}: {error.strerror}")


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A recorded run, in its folder. `report` is {} while the run goes on, and for ever where its client was killed."""

    run: str
    folder: Path
    report: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The server that it was for."""
        return server_of(self.run) or str(self.report.get("server", ""))

    @property
    def fleet(self) -> bool:
        """Whether it is the record of a whole fleet; its runs have records of their own."""
        return "not_begun" in self.report

    @property
    def servers(self) -> list[str]:
        """All servers that it was for."""
        if not self.fleet:
            return [self.server]
        return [*(str(row["server"]) for row in self.report["servers"]), *map(str, self.report["not_begun"])]

    @property
    def unfinished(self) -> list[str]:
        """Those of its servers that did not end well, or at all."""
        if not self.fleet:
            return [] if self.verdict == PROVISIONED else self.servers
        well = {str(row["server"]) for row in self.report["servers"] if row["verdict"] == PROVISIONED}
        return [name for name in self.servers if name not in well]

    @property
    def verdict(self) -> str:
        """The report's verdict; `no end` without a report."""
        return str(self.report.get("verdict", "no end"))

    @property
    def began(self) -> datetime | None:
        """When it began, by its id."""
        try:
            return datetime.strptime(self.run.split("-", 1)[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None

    def events(self) -> Iterator[dict[str, Any]]:
        """Its records as JSON objects; a last line that was cut short by a kill is left out."""
        try:
            lines = (self.folder / EVENTS).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            event = from_json(line)
            if isinstance(event, dict):
                yield event

    def parts(self) -> dict[str, Any]:
        """Phases and actions as far as they got, in the report's form: for a run that another one took up."""
        if self.report:
            return {key: self.report[key] for key in ("phases", "actions") if key in self.report}
        return told(filter(None, map(record_of, self.events()))).to_json()


def kept(base: Path) -> list[KeptRun]:
    """All runs kept under `base`, the oldest first; what cannot be read is left out."""
    try:
        folders = sorted(folder for folder in base.iterdir() if folder.is_dir())
    except OSError:
        return []
    return [KeptRun(folder.name, folder, report_in(folder)) for folder in folders]


def latest(base: Path, servers: Collection[str]) -> dict[str, KeptRun]:
    """The newest run of each of these servers that has one; only those reports are read."""
    return _of_each(base, servers, reversed(_names(base)))


def first(base: Path, servers: Collection[str], since: str) -> dict[str, KeptRun]:
    """As `latest`, the oldest run since a time as the ids have it."""
    return _of_each(base, servers, (name for name in _names(base) if name > since))


def _names(base: Path) -> list[str]:
    """What is kept, the oldest first."""
    try:
        return sorted(folder.name for folder in base.iterdir())
    except OSError:
        return []


def _of_each(base: Path, servers: Collection[str], names: Iterable[str]) -> dict[str, KeptRun]:
    found: dict[str, KeptRun] = {}
    for name in names:
        server = server_of(name)
        if server in servers and server not in found:
            found[server] = KeptRun(name, base / name, report_in(base / name))
    return found


def server_of(run: str) -> str:
    """The server's name in a run's id (time, server, a random end); "" for what is no run's id."""
    match = RUN_ID.fullmatch(run)
    return match["server"] if match else ""


def find(base: Path, wanted: str) -> KeptRun:
    """The run of this id, or the newest of the server of this name. Raises UsageError when there is none."""
    runs = kept(base)
    for run in reversed(runs):
        if wanted == run.run or wanted == run.server:
            return run
    raise UsageError(f"there is no run {wanted} here", next=ours("runs"), where=str(base))


def older(base: Path, seconds: float, now: datetime) -> list[KeptRun]:
    """The runs that began more than `seconds` ago."""
    return [run for run in kept(base) if run.began is not None and (now - run.began).total_seconds() > seconds]


def report_in(folder: Path) -> dict[str, Any]:
    """The report in a run's folder; {} where there is none."""
    try:
        report = from_json((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
