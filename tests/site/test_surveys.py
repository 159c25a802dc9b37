"""One survey for many runs: who asks together is told together, and nobody is told what was read before he asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from metalfoundry.commands.command import Command
from metalfoundry.model.errors import Cancelled, DeadlineExceeded, LinkLost, PreflightError
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory
from metalfoundry.model.site_config import JumpConfig, SiteConfig
from metalfoundry.site.survey import Survey
from metalfoundry.site.surveys import Surveys
from metalfoundry.transport.clock import Cancel, Deadline
from metalfoundry.transport.threads import Threads
from tests.fakes import FakeTransport
from tests.runs.scene import script_reply
from tests.site.test_stream import site
from tests.waiting import until

MACS = ("00:00:5e:00:53:c0", "00:00:5e:00:53:c1")
Answer = Callable[[], "str | Exception"]


class Place:
    """Surveys on a transport whose reading takes until it is let go; the names that it finds count the readings."""

    def __init__(self) -> None:
        self.transport, self.threads, self.pool = FakeTransport(), Threads(), ThreadPoolExecutor(8)
        self.go, self.fails, self.smee = threading.Semaphore(0), dict[int, Exception](), ""
        self.transport.on("kubectl get", reply=self._read)
        plain = site(self.transport)
        jump = JumpConfig(host="192.0.2.103", user="ubuntu")
        place = SiteConfig(jump=jump, smee="http://192.0.2.7:7171")
        self.site = replace(plain, inventory=Inventory(site=place, servers={}))
        self.surveys = Surveys(self.site, self.threads)

    def _read(self, host: Host, command: Command) -> str | Exception:
        count = len(self.transport.said)
        assert self.go.acquire(timeout=10)
        item = {"kind": "Hardware", "metadata": {"name": f"reading-{count}"}}
        parts = {"objects": json.dumps({"kind": "List", "items": [item]}), "rights": "{}", "smee": self.smee}
        return self.fails.get(count) or script_reply(parts)(host, command)

    def ask(self, mac: str | None = None, cancel: Cancel | None = None, seconds: float = 1e6) -> Future[Survey]:
        here = replace(self.site, cancel=cancel or Cancel())
        return self.pool.submit(self.surveys, here, mac, Deadline.after(self.transport.clock, seconds))

    def asking(self, count: int) -> None:
        until(lambda: len(self.surveys._waiting) == count)

    def reading(self, count: int) -> None:
        until(lambda: len(self.transport.said) == count)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *error: object) -> None:
        self.go.release(20)
        self.pool.shutdown()
        assert self.threads.join(5)


def reading(future: Future[Survey]) -> list[str]:
    return list(future.result(10).hardware)


def test_who_asks_while_one_is_read_shares_the_next() -> None:
    with Place() as place:
        first = place.ask()
        place.reading(1)
        others = [place.ask() for _ in range(5)]
        place.asking(5)
        place.go.release(2)
        assert reading(first) == ["reading-1"]
        assert [reading(other) for other in others] == [["reading-2"]] * 5
        assert len(place.transport.said) == 2


def test_each_is_told_what_smee_answers_for_his_own_machine() -> None:
    paths = [path for mac in MACS for path in (f"/{mac}/auto.ipxe", f"/ipxe/script/{mac}/auto.ipxe")]
    with Place() as place:
        place.smee = "\n".join(f"{path} {status}" for path, status in zip(paths, (404, 403, 200, 404), strict=True))
        place.ask()
        place.reading(1)
        asked = [place.ask(mac) for mac in (*MACS, None)]
        place.asking(3)
        place.go.release(2)
        assert [one.result(10).smee for one in asked] == [
            {paths[0]: 404, paths[1]: 403},
            {paths[2]: 200, paths[3]: 404},
            None,
        ]
        assert "http_statuses http://192.0.2.7:7171 " + " ".join(paths) in place.transport.said[1].command.stdin


def test_what_goes_wrong_is_raised_to_all_and_the_next_begins_anew() -> None:
    with Place() as place:
        place.fails = {1: LinkLost("cut", sent=False), 2: PreflightError("kubectl may not")}
        first = place.ask()
        place.reading(1)
        others = [place.ask() for _ in range(2)]
        place.asking(2)
        place.go.release(2)
        with pytest.raises(LinkLost):
            first.result(10)
        for other in others:
            with pytest.raises(PreflightError):
                other.result(10)
        place.go.release()
        assert reading(place.ask()) == ["reading-3"]


def test_a_run_that_is_cancelled_or_out_of_time_leaves_and_the_others_go_on() -> None:
    with Place() as place:
        cancel = Cancel()
        gone, late, stays = place.ask(cancel=cancel), place.ask(seconds=5), place.ask()
        cancel.set("enough")
        with pytest.raises(Cancelled):
            gone.result(10)
        place.transport.clock.advance(6)
        with pytest.raises(DeadlineExceeded):
            late.result(10)
        place.go.release(2)
        assert reading(stays)[0] in ("reading-1", "reading-2")


class Short(Threads):
    """Starts none the first time."""

    def start(self, work: Callable[[], object], name: str) -> None:
        if not hasattr(self, "asked"):
            self.asked = True
            raise RuntimeError("can't start new thread")
        super().start(work, name)


def test_where_there_was_no_thread_for_it_the_next_one_asks_anew() -> None:
    with Place() as place:
        place.surveys = Surveys(place.site, Short())
        with pytest.raises(PreflightError, match="could not be looked at: can't start new thread") as caught:
            place.ask().result(10)
        assert caught.value.next
        place.go.release()
        assert reading(place.ask()) == ["reading-1"]
