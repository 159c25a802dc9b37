"""One run of each story for every remote command and every fault, all in one lab, and what was left of each.

`python -m tests.faults.table` prints the table and writes it into docs/faults.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import yaml

from metalfoundry import Foundry, Options, Report
from metalfoundry.commands.claims import GUARD, RUN, WINDOW
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BmcFault, scenario
from metalfoundry.model.errors import MetalfoundryError
from metalfoundry.model.events import Event, PhaseStarted, Record
from metalfoundry.model.inventory_reader import load
from metalfoundry.transport.ssh import SshTransport
from tests.faults.spoil import Fault, Hasty, Spoiled
from tests.processes import session_of
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
DOC = REPOSITORY / "docs" / "faults.md"
BESIDE = {Spoiled.FACTS: "Preflight: facts", Spoiled.LOOK: "Boot: look", Spoiled.VERIFY: "Verify: verify",
          Spoiled.WATCH_WORKFLOW: "Boot: watch-workflow", Spoiled.WATCH_HARDWARE: "Boot: watch-hardware"}  # fmt: skip
"""What a provision says beside its numbered commands: by another thread, or while it waits."""
OPENS = "Open: patch+object+smee"
"""There the client of a run that is to be resumed is killed."""
TIMEOUTS = {"netboot": "150s", "install": "300s", "boot": "300s", "verify": "150s"}
SPEED, WORKERS, LEASE = 60.0, 4, 600.0
GUARD_SCRIPT = REPOSITORY / "metalfoundry" / "commands" / "guard.sh"
OF_GUARD = "/metalfoundry/guard/"
"""In the command line of a guard on the jump host."""


class Story(Enum):
    """What is done to a server; the value is the first word of its name."""

    PROVISION = "run"
    UNTIL_END = "end"  # netboot_until: end
    RESUME = "resume"  # of a run whose client was killed when it had opened netboot
    BY_HAND = "hand"  # netboot.open, then netboot.close
    BMC = "bmc"  # reboot: [bmc]; but for the making of the Job it is PROVISION


ONCE = (Fault.BEFORE, Fault.AFTER, Fault.HANG)
FATAL = (Fault.CUT, Fault.INTERRUPT, Fault.KILL)
FAULTS: Mapping[Story, tuple[Fault, ...]] = {
    Story.PROVISION: tuple(Fault),
    Story.UNTIL_END: (*FATAL, Fault.DOWN),
    Story.RESUME: (*FATAL, Fault.DOWN),
    Story.BY_HAND: (*ONCE, Fault.CUT, Fault.KILL, Fault.DOWN),
    Story.BMC: tuple(Fault),
}
BESIDE_FAULTS = (*ONCE, Fault.CUT, Fault.KILL)
NEEDS_CLAIM = (Fault.CLAIM, Fault.DOWN, Fault.API)  # before there is a claim they are the others' case


@dataclass(frozen=True)
class Case:
    """One row: a fault of None is the clean run. `command`: the phase, and what it says; `at`: as which of the clean
    run, or as in Spoiled where it is said beside them."""

    story: Story
    at: int | str
    fault: Fault | None
    command: str = "-"

    @property
    def strikes_at(self) -> str:
        """As Spoiled knows it."""
        return self.command if isinstance(self.at, int) else self.at

    @property
    def name(self) -> str:
        """The server it happens to."""
        place = f"{self.at:02}" if isinstance(self.at, int) else self.at
        return f"{self.story.value}-{self.fault.value}-{place}" if self.fault else f"{self.story.value}-clean"

    @property
    def window(self) -> bool:
        """Whether netboot may be open when the fault comes: from the arming of the guard to the proven close."""
        return not self.command.startswith(("Preflight", "Claim", "Clean up"))


@dataclass
class State:
    """What the cluster and the jump host hold for one server at one moment. `guards`: the word of the guard that has
    acknowledged the claim, while it lives."""

    opened: bool
    claim: str
    guards: list[str]
    processes: list[str]

    @property
    def guarded(self) -> bool:
        return bool(self.guards)

    @property
    def words(self) -> str:
        return ("open, guarded" if self.guarded else "open") if self.opened else "closed"


@dataclass
class Row:
    """What came of one case: `after` at the client's end, `settled` with every lease over and a guard in the cluster.

    `closer`: who closed it (client, guard, cluster), "nobody" where it is open still, "-" where it never was.
    """

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
    closer: str = ""

    @property
    def events(self) -> list[Event]:
        """All so far: a look may outlive its run."""
        return [record.event for record in self.records]

    def cells(self) -> list[str]:
        """As in the table."""
        assert self.after is not None and self.settled is not None
        claim = "expires" if self.after.claim else "given back"
        later = "closed" if not self.settled.opened and not self.settled.claim else "NOT CLOSED"
        code = "SIGKILL" if self.code == -9 else str(self.code)
        return [str(self.case.at), self.case.command, self.case.fault.value if self.case.fault else "none", code,
                self.after.words, claim, self.closer, later]  # fmt: skip


def cases(said: Mapping[Story, Sequence[str]]) -> list[Case]:
    """Every command of a clean run of each story, and every fault. Ctrl-C comes to the run's own thread alone."""
    found = []
    for story in Story:
        found.append(Case(story, 0, None))
        for number, command in enumerate(said[story], 1):
            if story is Story.BMC and not command.startswith("Boot"):
                continue
            each = [Case(story, number, fault, command) for fault in FAULTS[story]]
            found += [case for case in each if case.fault not in NEEDS_CLAIM or case.window]
        if story is Story.PROVISION:
            found += [Case(story, place, fault, BESIDE[place]) for place in BESIDE for fault in BESIDE_FAULTS]
    return found


def closed_by(opened: bool, left_open: bool, guard_log: str, elsewhere: bool, open_still: bool) -> str:
    """Who closed a window, from what was seen of it: whether it ever stood open, and still when its client had ended,
    what its guard wrote, whether the guard in the cluster did, and whether it is open at the end of all.

    A guard whose patch was done but not answered finds it closed, and does not know by whom.
    """
    if open_still:
        return "nobody"
    if not opened:
        return "-"
    if elsewhere:
        return "cluster"
    guards = left_open or any(line.split(" ")[1:2] == ["closed"] for line in guard_log.splitlines())
    return "guard" if guards else "client"


class Bench:
    """A lab with a server for each case. `run` gives all rows, settled."""

    def __init__(self, lab: Lab, wanted: Sequence[Case]) -> None:
        self.lab, self.cases = lab, wanted
        known = yaml.safe_load(lab.inventory.read_text())
        known["timeouts"] = TIMEOUTS
        for case in wanted:
            own = {Story.UNTIL_END: {"netboot_until": "end"}, Story.BMC: {"reboot": ["bmc"]}}
            known["servers"][case.name] |= own.get(case.story, {})
            if case.story is not Story.BMC:
                assert isinstance(lab.store, MemoryStore)
                lab.store.merge("hardware", case.name, {"spec": {"bmcRef": None}})
        lab.inventory.write_text(yaml.safe_dump(known))
        self._ever_open: set[str] = set()

    def run(self) -> list[Row]:
        """Those of DOWN come last and one by one: with the jump host goes the guard of all."""
        with self._watching(), ThreadPoolExecutor(WORKERS) as pool:
            rows = list(pool.map(self._row, (case for case in self.cases if case.fault is not Fault.DOWN)))
            self._rest()
            self._let_leases_end()
            rows += [self._row(case) for case in self.cases if case.fault is Fault.DOWN]
            self._rest()
            self._power_off("")
            opened = self._opened()
            elsewhere = opened & self._guard_in_the_cluster(opened)
            for row in rows:
                row.settled = self.state(row.case.name)
                machine = self.lab.machine(row.case.name)
                row.wiped, row.boots = machine.wiped, [boot.what for boot in machine.boots]
                name = row.case.name
                left_open = row.after is not None and row.after.opened
                row.closer = closed_by(
                    name in self._ever_open, left_open, self._log(name), name in elsewhere, row.settled.opened
                )
        return rows

    def _row(self, case: Case) -> Row:
        if case.story is Story.RESUME:
            first = Case(case.story, 0, Fault.KILL, OPENS)
            killed = victim(self.lab.inventory, case.name, first, resume=False)
            assert killed.returncode == -9, killed.stderr
        if case.fault is Fault.KILL:
            done = victim(self.lab.inventory, case.name, case, resume=case.story is Story.RESUME)
            row = Row(case, done.returncode, struck=done.returncode == -9, said=done.stderr.splitlines())
        else:
            row = play(self.lab.inventory, case, case.name, lambda: self._meddle(case))
        row.after = self.state(case.name)
        return row

    def _meddle(self, case: Case) -> None:
        """What a fault does beside the client."""
        if case.fault is Fault.DOWN:
            self._power_off(case.name)
        else:

            def robbed(obj: Object) -> Object:
                for key in (RUN, WINDOW):
                    obj["metadata"].get("annotations", {}).pop(key, None)
                return obj

            assert isinstance(self.lab.store, MemoryStore)
            self.lab.store.change("hardware", case.name, robbed)

    def _power_off(self, name: str) -> None:
        """End the guard and whatever runs on the jump host for this server, all at once."""
        alive = [*self.lab.processes.alive(OF_GUARD), *(self.lab.processes.alive(name) if name else [])]
        sessions = {session_of(process.pid) for process in alive} - {0}
        ending = [process.pid for process in self.lab.processes.alive() if session_of(process.pid) in sessions]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in ending:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        until(lambda: not self.lab.processes.alive(OF_GUARD) and not (name and self.lab.processes.alive(name)))

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Note whose netboot stands open at any moment."""
        stop = threading.Event()

        def watch() -> None:
            for _, obj in self.lab.store.watch("hardware", stop):
                if is_open(obj):
                    self._ever_open.add(obj["metadata"]["name"])

        thread = threading.Thread(target=watch)
        thread.start()
        yield
        stop.set()
        thread.join()

    def _rest(self) -> None:
        """An installation that was begun goes on; wait until every machine has come to rest."""
        machines = [self.lab.machine(case.name) for case in self.cases]
        until(lambda: all(machine.state in ("old", "new", "hook") for machine in machines))
        begun = [machine for machine in machines if machine.state == "hook"]
        until(lambda: all(machine.state == "new" for machine in begun))

    def _let_leases_end(self) -> None:
        """The guard has to close now what is open, and to take away what is claimed."""
        assert isinstance(self.lab.store, MemoryStore)
        for obj in self.lab.store.list("hardware"):
            if RUN in obj["metadata"].get("annotations", {}):
                lease = {"metadata": {"annotations": {"metalfoundry.dev/lease": "0"}}}
                self.lab.store.merge("hardware", obj["metadata"]["name"], lease)
        until(lambda: not self._opened())
        until(lambda: not any(self._claim(case.name) for case in self.cases))

    def _opened(self) -> set[str]:
        return {obj["metadata"]["name"] for obj in self.lab.store.list("hardware") if is_open(obj)}

    def _guard_in_the_cluster(self, opened: set[str]) -> set[str]:
        """What a guard that lives elsewhere closes when the jump host is gone and every lease is over."""
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            (place / "uptime").write_text("1000 0\n")
            words = {"NAMESPACE": self.lab.namespace, "DIR": name, "UPTIME": f"{place}/uptime", "PACE": "1"}
            path = {"PATH": f"{self.lab.folder}/bin:{os.environ['PATH']}"}
            guard = subprocess.Popen(["sh", GUARD_SCRIPT, "run"], env=os.environ | path | words)
            try:
                until(lambda: (place / "read").exists(), what="the guard has looked")
                (place / "uptime").write_text(f"{1000 + LEASE + 1} 0\n")
                until(lambda: not any(self._claim(case.name) for case in self.cases), what="every lease is over")
                until(lambda: opened <= closes(place / "log"), what="all that was open is closed")
            finally:
                guard.terminate()
                guard.wait()
            return closes(place / "log")

    def _claim(self, name: str) -> str:
        notes: dict[str, str] = self.lab.store.get("hardware", name)["metadata"].get("annotations", {})
        return notes.get(RUN, "")

    def _log(self, name: str) -> str:
        """What the guard has written about the server."""
        logs = (self.lab.folder / "home/.local/state/metalfoundry/guard").glob("*/log")
        lines = [line for path in logs for line in path.read_text().splitlines(keepends=True)]
        return "".join(line for line in lines if f" hardware={name} " in line)

    def state(self, name: str) -> State:
        hardware = self.lab.store.get("hardware", name)
        word = hardware["metadata"].get("annotations", {}).get(GUARD)
        return State(
            is_open(hardware),
            self._claim(name),
            [word] if word and self.lab.processes.alive(OF_GUARD) else [],
            [process.command for process in self.lab.processes.alive(name) if " -p [" not in process.command],
        )


def closes(log: Path) -> set[str]:
    """The Hardware that a guard has closed."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return {words[2].removeprefix("hardware=") for words in lines if words[1] == "closed"}


def is_open(hardware: Object) -> bool:
    """Whether the server would be installed at its next boot."""
    return any(interface.get("netboot", {}).get("allowPXE") for interface in hardware["spec"]["interfaces"])


def victim(inventory: Path, name: str, case: Case, resume: bool) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, which kills itself."""
    words = [str(inventory), name, case.story.value, case.strikes_at, "resume" if resume else ""]
    return subprocess.run([sys.executable, "-m", "tests.faults.victim", *words], cwd=REPOSITORY, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=300)  # fmt: skip


def play(inventory: Path, case: Case, name: str, meddle: object = None, resume: bool = True) -> Row:
    """Run the case's story in this process, with its fault; `resume`: whether RESUME means the second client."""
    clock, records = Hasty(), list[Record]()

    def phase() -> str:
        started = [record.event.title for record in records if isinstance(record.event, PhaseStarted)]
        return started[-1] if started else ""

    assert meddle is None or callable(meddle)
    transport = Spoiled(SshTransport(clock), clock, case.fault, case.strikes_at, meddle or (lambda: None), phase)
    sinks = [lambda record: records.append(record)]
    report, code = None, 0
    with Foundry(load(inventory), sinks=sinks, clock=clock, transport=transport) as foundry:
        if case.story is Story.BY_HAND:
            try:
                foundry.open_netboot(name, "a test", LEASE)
                foundry.close_netboot(name)
            except MetalfoundryError as error:
                code = error.exit_code
        else:
            report = foundry.provision(name, Options(resume=case.story is Story.RESUME and resume))
            code = report.exit_code
    transport.wait_for_late()
    return Row(case, code, records, report, transport.said, transport.struck)


@contextmanager
def bench(folder: Path, wanted: Sequence[Case]) -> Iterator[Bench]:
    """A running lab for `wanted`."""
    story = scenario("shadowed", shadow=0.0, bmc=BmcFault.NONE)
    lab = Lab(folder, story, SPEED, servers=[case.name for case in wanted])
    with lab:
        yield Bench(lab, wanted)


def everything(folder: Path, each: int = 1) -> list[Row]:
    """A clean run of each story tells its commands; then all rows, settled. `each`: only one of so many faults, spread
    over all commands and all faults."""
    said: dict[Story, list[str]] = {}
    for story in Story:
        with bench(folder / story.value, [Case(story, 0, None)]) as one:
            said[story] = one.run()[0].said
    wanted = [case for number, case in enumerate(cases(said)) if case.fault is None or number % each == 0]
    with bench(folder / "all", wanted) as many:
        return many.run()


HEAD = ["n", "command", "fault", "exit", "at the client's end", "claim", "closed by", "a lease later"]
TITLES = {
    Story.PROVISION: "Provision",
    Story.UNTIL_END: "Provision with `netboot_until: end`",
    Story.RESUME: "Provision `--resume`, of a run whose client was killed with netboot open",
    Story.BY_HAND: "By hand: `netboot.open`, then `netboot.close`",
    Story.BMC: "Provision of a server that its BMC power-cycles (`reboot: [bmc]`)",
}


def markdown(rows: Sequence[Row]) -> str:
    """The tables of docs/faults.md."""
    text = []
    for story in Story:
        lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows if row.case.story is story)]
        text.append(f"## {TITLES[story]}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines))
    return "\n".join(text)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="metalfoundry-faults-") as folder:
        rows = everything(Path(folder))
    text = markdown(rows)
    print(text, end="")
    head, _, _ = DOC.read_text().partition("## Provision\n")
    DOC.write_text(head + text)


if __name__ == "__main__":
    main()
