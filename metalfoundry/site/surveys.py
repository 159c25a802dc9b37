"""One survey of a site for all runs that want one at the same time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from metalfoundry.model.errors import DeadlineExceeded, PreflightError
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.threads import LIMITS, Threads

READ_SECONDS = 60.0
PIECE_SECONDS = 0.25


@dataclass
class _Asked:
    """One run that waits, for the machine with that MAC."""

    mac: str | None
    bell: threading.Event = field(default_factory=threading.Event)
    answer: Survey | BaseException | None = None


class Surveys:
    """A Surveying of site.py. One survey is read at a time, and whoever asks meanwhile gets the next: what he is told
    was read after he had asked. It knows no run: `site` is the Foundry's own.
    """

    def __init__(self, site: Site, threads: Threads) -> None:
        self._site, self._threads = site, threads
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._reading = False

    def __call__(self, site: Site, mac: str | None, deadline: Deadline) -> Survey:
        """See Surveying. Raises Cancelled when the run of `site` is cancelled, DeadlineExceeded, PreflightError where
        this computer has no thread for it, and as Cluster.survey_for.
        """
        asked = _Asked(mac)
        with self._lock:
            if not self._reading:
                self._start()
                self._reading = True  # not before: nobody would ever read for those that come later
            self._waiting.append(asked)
        while not asked.bell.wait(PIECE_SECONDS):
            site.cancel.check()
            if deadline.expired():
                raise DeadlineExceeded(f"{site.jump.name}: the survey did not end in time", where=site.jump.address)
        if isinstance(asked.answer, BaseException):
            raise copy(asked.answer) from asked.answer
        assert asked.answer is not None
        return asked.answer

    def _start(self) -> None:
        try:
            self._threads.start(self._read, "survey")
        except RuntimeError as error:
            what = f"the cluster could not be looked at: {error}"
            raise PreflightError(what, where="this computer", next=LIMITS) from error

    def _read(self) -> None:
        """Survey for those that wait, until nobody waits any more."""
        while True:
            with self._lock:
                asking, self._waiting = self._waiting, []
                if not asking:
                    self._reading = False
                    return
            answers: Sequence[Survey | BaseException]
            try:
                deadline = Deadline.after(self._site.clock, READ_SECONDS)
                answers = Cluster(self._site).survey_for([asked.mac for asked in asking], deadline)
            except BaseException as error:  # noqa: BLE001 - it belongs to those who asked, who raise it
                answers = [error] * len(asking)
            for asked, answer in zip(asking, answers, strict=True):
                asked.answer = answer
                asked.bell.set()
