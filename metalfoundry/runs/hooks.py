"""The operator's own commands at certain points of a run; docs/hooks.md.

`before` runs first and can abort the run. The others run in the background, one after the other; a failure of theirs is
a warning.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from metalfoundry.model.errors import DeadlineExceeded, PreflightError
from metalfoundry.model.events import HookEnded, HookStarted, Notice, PhaseEnded, Record, WindowChanged
from metalfoundry.model.states import WindowState
from metalfoundry.runs.options import Identity
from metalfoundry.runs.report import Report
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Cancel, Deadline

WAIT_SECONDS = 0.2


@dataclass
class Hooks:
    """The hooks of one run, and a sink of its records. `close` ends what still runs."""

    site: Site
    run: str
    server: str
    hardware: str
    known: dict[str, str] = field(default_factory=dict)
    _cancel: Cancel = field(default_factory=Cancel)
    _left: queue.SimpleQueue[tuple[str, dict[str, str]] | None] = field(default_factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None

    def __call__(self, record: Record) -> None:
        """Hear `opened` and `installed` in this run's records."""
        if record.run != self.run:
            return
        match record.event:
            case WindowChanged(state=WindowState.OPEN):
                self._beside("opened", {})
            case PhaseEnded(title="Install", error=""):
                self._beside("installed", {})

    def before(self, confirm: Callable[[Identity], None] | None) -> Callable[[Identity], None]:
        """`confirm`, and then the hook `before`: raises PreflightError when that fails."""

        def both(identity: Identity) -> None:
            self.known |= {"ADDRESS": identity.address, "WORKFLOW": identity.workflow, "SYSTEM": identity.system}
            if confirm is not None:
                confirm(identity)
            problem, said = self._carry("before", {}, self.site.cancel)
            self.site.cancel.check()
            if problem:
                raise PreflightError(
                    f"the hook before {problem}",
                    where=f"hooks.before in {self.site.inventory.source}",
                    next="do what it asks for, or take it out of the inventory; nothing was changed",
                    evidence=said,
                )

        return both

    def over(self, report: Report) -> None:
        """Tell `verified` or `failed`, and wait until all have ended, each at most its own time.

        The run is over already; an interrupt ends those that still run, and comes out.
        """
        words = {"VERDICT": report.verdict, "EXIT_CODE": str(report.exit_code)}
        if report.error is not None:
            words |= {"ERROR": _line(str(report.error)), "NEXT": _line(getattr(report.error, "next", ""))}
        self._beside("failed" if report.error else "verified", words)
        self._left.put(None)
        try:
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(WAIT_SECONDS)  # in pieces: a wait without an end does not hear Ctrl-C everywhere
        except KeyboardInterrupt:
            self.close()
            raise

    def close(self) -> None:
        """End what still runs, and begin nothing more."""
        self._cancel.set("the run is over")
        self._left.put(None)

    def _beside(self, name: str, words: dict[str, str]) -> None:
        if self._cancel.is_set() or not getattr(self.site.inventory.hooks, name):
            return
        self._left.put((name, words))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"hooks-{self.server}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (todo := self._left.get()) is not None and not self._cancel.is_set():
            name, words = todo
            problem, said = self._carry(name, words, self._cancel)
            if problem:
                last = f": {said}" if said else ""
                self.site.bus.emit(Notice(f"the hook {name} {problem}{last}", "warning"))

    def _carry(self, name: str, words: dict[str, str], cancel: Cancel) -> tuple[str, str]:
        """What went wrong with it ("" for nothing), and the last line that it said."""
        hooks = self.site.inventory.hooks
        line = getattr(hooks, name)
        if not line:
            return "", ""
        clock, bus = self.site.clock, self.site.bus
        known = {"HOOK": name, "RUN": self.run, "SERVER": self.server, "HARDWARE": self.hardware}
        known |= {"VERDICT": "", "EXIT_CODE": "", "ERROR": "", "NEXT": ""} | self.known | words
        environment = {f"METALFOUNDRY_{word}": value for word, value in known.items()}
        begun, status, problem, said = clock.now().mono, None, "", ""
        bus.emit(HookStarted(name))
        try:
            deadline = Deadline.after(clock, hooks.timeout)
            result = self.site.local.run(line, environment, self.site.inventory.folder, deadline, cancel)
            status, said = result.exit_status, _last(result.stdout)
            problem = "" if result.ok else f"ended with status {status}"
        except DeadlineExceeded as error:
            problem, said = f"was ended after {clock.now().mono - begun:.0f} s", _last(error.evidence)
        except OSError as error:
            problem = f"could not be started: {error.strerror or error}"
        except BaseException:
            problem = "was interrupted"
            raise
        finally:
            bus.emit(HookEnded(name, status, clock.now().mono - begun, problem))
        return problem, said


def _line(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())[:2000]


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""
