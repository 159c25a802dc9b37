"""One provision for every remote command and every fault, all in one lab, and what was left of each.

`python -m tests.faults.table` prints the table and writes it into docs/faults.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from metalfoundry import Foundry, Report
from metalfoundry.commands.guard import GuardSeen
from metalfoundry.lab.scenarios import scenario
from metalfoundry.lab.world import Lab
from metalfoundry.model.events import Event, Record
from metalfoundry.model.inventory import load
from metalfoundry.transport.ssh import SshTransport
from tests.faults.spoil import Fault, Hasty, Spoiled
from tests.sweeping import sweep

REPOSITORY = Path(__file__).resolve().parents[2]
DOC = REPOSITORY / "docs" / "faults.md"
COMMANDS = (
    ("Preflight", "objects+rights+smee"),
    ("Claim", "patch+object"),
    ("Quiet", "delete"),
    ("Declare", "guard arm"),
    ("Declare", "guard alive"),
    ("Declare", "apply+object"),
    ("Open", "patch+object+smee"),
    ("Boot", "reboot"),
    ("Close", "patch+object+smee"),
    ("Release", "disarm+reaped+delete+patch+object"),
)
"""What a run says in order; Preflight asks the machine for its facts beside it; Install and Verify only wait."""
BESIDE = (("Preflight", Spoiled.FACTS), *((phase, place) for phase, place in zip(
    ("Boot", "Verify", "Boot", "Boot"), Spoiled.WAITING, strict=True)))  # fmt: skip
TIMEOUTS = {"netboot": "150s", "install": "300s", "boot": "300s", "verify": "150s"}
SPEED, WORKERS, LEASE = 60.0, 4, 600.0
DATE = """\
#!/bin/sh
# The jump host's clock, which a test may put forward.
[ "$*" = +%s ] || exec {date} "$@"
echo $(($({date} +%s) + $(cat {folder}/forward)))
"""


@dataclass(frozen=True)
class Case:
    """One row: `at` as in Spoiled; a fault of None is the clean run."""

    at: int | str
    fault: Fault | None

    @property
    def name(self) -> str:
        """The server it happens to."""
        place = f"{self.at:02}" if isinstance(self.at, int) else self.at
        return f"{self.fault.value}-{place}" if self.fault else "clean"

    @property
    def command(self) -> str:
        """Its phase, and what it says."""
        if self.fault is None:
            return "-"
        phase, words = COMMANDS[self.at - 1] if isinstance(self.at, int) else next(
            pair for pair in BESIDE if pair[1] == self.at
        )  # fmt: skip
        return f"{phase}: {words}"


@dataclass
class State:
    """What the cluster and the jump host hold for one server at one moment."""

    opened: bool
    claim: str
    guards: list[GuardSeen]
    processes: list[str]

    @property
    def guarded(self) -> bool:
        return [guard.state for guard in self.guards] == ["guarding"]


@dataclass
class Row:
    """What came of one case: `after` its end, and `settled`, with every lease over and one pass of the sweeper."""

    case: Case
    code: int
    records: list[Record] = field(default_factory=list)
    report: Report | None = None
    said: list[str] = field(default_factory=list)
    struck: bool = True
    wiped: int = 0
    boots: list[str] = field(default_factory=list)
    after: State | None = None
    settled: State | None = None

    @property
    def events(self) -> list[Event]:
        """All so far: a look may outlive its run."""
        return [record.event for record in self.records]

    def cells(self) -> list[str]:
        """As in the table."""
        assert self.after is not None and self.settled is not None
        window = "open, guarded" if self.after.opened else "closed"
        claim = "expires" if self.after.claim else "given back"
        later = "closed" if not self.settled.opened and not self.settled.claim else "NOT CLOSED"
        code = "SIGKILL" if self.code == -9 else str(self.code)
        return [str(self.case.at), self.case.command, self.case.fault.value if self.case.fault else "none", code,
                window, claim, later]  # fmt: skip


def cases() -> list[Case]:
    """Every command and every fault. Ctrl-C comes to the run's own thread, so never to what is said beside it."""
    numbered = [Case(number, fault) for number in range(1, len(COMMANDS) + 1) for fault in Fault]
    beside = [Case(place, fault) for _, place in BESIDE for fault in Fault if fault is not Fault.INTERRUPT]
    return [Case(0, None), *numbered, *beside]


class Bench:
    """A lab with a server for each case. `run` gives all rows, settled."""

    def __init__(self, lab: Lab, wanted: Sequence[Case]) -> None:
        self.lab, self.cases = lab, wanted
        (lab.folder / "forward").write_text("0\n")
        known = yaml.safe_load(lab.inventory.read_text())
        known["timeouts"] = TIMEOUTS
        lab.inventory.write_text(yaml.safe_dump(known))

    def run(self) -> list[Row]:
        with ThreadPoolExecutor(WORKERS) as pool:
            rows = list(pool.map(self._row, self.cases))
        self._settle_after_kill(rows)
        guards = self.guards()
        for row in rows:
            row.after = self.state(row.case.name, guards)
        self._let_leases_end(rows)
        self._sweep()
        self._until(lambda: not any(guard.state == "guarding" for guard in self.guards()), 15)
        guards = self.guards()
        for row in rows:
            row.settled = self.state(row.case.name, guards)
            machine = self.lab.machine(row.case.name)
            row.wiped, row.boots = machine.wiped, [boot.what for boot in machine.boots]
        return rows

    def _row(self, case: Case) -> Row:
        return self._killed(case) if case.fault is Fault.KILL else provision(self.lab.inventory, case)

    def _killed(self, case: Case) -> Row:
        words = [sys.executable, "-m", "tests.faults.victim", str(self.lab.inventory), str(case.at)]
        done = subprocess.run(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, timeout=90)
        return Row(case, done.returncode, struck=done.returncode == -9, said=done.stderr.decode().splitlines())

    def _settle_after_kill(self, rows: list[Row]) -> None:
        """An installation that was begun goes on; wait until every machine has come to rest."""
        resting = ("old", "new", "hook")
        machines = [self.lab.machine(row.case.name) for row in rows]
        self._until(lambda: all(machine.state in resting for machine in machines), 15)
        begun = [machine for machine in machines if machine.state == "hook"]
        self._until(lambda: all(machine.state == "new" for machine in begun), 20)

    def _let_leases_end(self, rows: list[Row]) -> None:
        (self.lab.folder / "forward").write_text(f"{LEASE + 1:.0f}\n")
        self._until(lambda: not any(self.opened(row.case.name) for row in rows), 15)

    def _sweep(self) -> None:
        sweep(self.lab.store, datetime.now(UTC) + timedelta(days=1))  # later than any hasty client's clock

    def guards(self) -> list[GuardSeen]:
        with Foundry(load(self.lab.inventory)) as foundry:
            return foundry.guards()

    def opened(self, name: str) -> bool:
        interfaces = self.lab.store.get("hardware", name)["spec"]["interfaces"]
        return any(interface.get("netboot", {}).get("allowPXE") for interface in interfaces)

    def state(self, name: str, guards: list[GuardSeen]) -> State:
        notes = self.lab.store.get("hardware", name)["metadata"].get("annotations", {})
        return State(
            self.opened(name),
            notes.get("metalfoundry.dev/run", ""),
            [guard for guard in guards if guard.hardware == name],
            [process.command for process in self.lab.processes.alive(name)],
        )

    @staticmethod
    def _until(holds: object, seconds: float) -> None:
        assert callable(holds)
        end = time.monotonic() + seconds
        while not holds() and time.monotonic() < end:
            time.sleep(0.1)


def provision(inventory: Path, case: Case) -> Row:
    """Provision in this process, with the case's fault."""
    clock = Hasty()
    transport = Spoiled(SshTransport(clock), clock, case.fault, case.at)
    records: list[Record] = []
    with Foundry(
        load(inventory), sinks=[lambda record: records.append(record)], clock=clock, transport=transport
    ) as foundry:
        report = foundry.provision(case.name)
    return Row(case, report.exit_code, records, report, transport.said, transport.struck)


@contextmanager
def bench(folder: Path, wanted: Sequence[Case]) -> Iterator[Bench]:
    """A running lab for `wanted`."""
    story = scenario("shadowed", shadow=0.0)
    lab = Lab(folder, story, SPEED, servers=[case.name for case in wanted])
    with lab:
        date = folder / "bin" / "date"
        date.write_text(DATE.format(date="/bin/date", folder=lab.folder))
        date.chmod(0o755)
        yield Bench(lab, wanted)


HEAD = ["n", "command", "fault", "exit", "netboot at its end", "claim", "a lease and a sweep later"]


def markdown(rows: Sequence[Row]) -> str:
    """The table of docs/faults.md."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="metalfoundry-faults-") as folder, bench(Path(folder), cases()) as one:
        rows = one.run()
    text = markdown(rows)
    print(text, end="")
    head, _, _ = DOC.read_text().partition("| n |")
    DOC.write_text(head + text)


if __name__ == "__main__":
    main()
