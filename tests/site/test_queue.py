"""Who waits for a server: places on the Hardware, in turn, and kept only while they are renewed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metalfoundry.commands import queue
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.model.errors import ClaimedError
from metalfoundry.model.events import Notice
from metalfoundry.model.resources import Hardware
from metalfoundry.site.claim import Claim
from metalfoundry.site.queue import RENEW_SECONDS, Queue
from metalfoundry.site.site import Background, Site
from metalfoundry.transport.clock import Deadline
from tests.site.place import SERVER, Bench
from tests.waiting import until

LONG = 3600.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


class Ticks:
    """A watch that shows the object after each `deed`, a second later, and is silent after the last until the end."""

    def __init__(self, bench: Bench, *deeds: Callable[[], object]) -> None:
        self._bench, self._deeds = bench, deeds

    def __call__(
        self, site: Site, wanted: Mapping[str, str], deadline: Deadline
    ) -> Iterator[tuple[str, str, dict[str, Any]] | None]:
        assert wanted == {HARDWARE: "anvil"}
        for deed in self._deeds:
            deed()
            self._bench.clock.advance(1.0)
            yield HARDWARE, "MODIFIED", self._bench.hardware
        while not deadline.expired():
            self._bench.clock.advance(1.0)
            yield None


def claim(bench: Bench, run: str, *deeds: Callable[[], object], holder: str = "kevin@laptop") -> Claim:
    site = replace(bench.site(holder), watches=Ticks(bench, *deeds))
    return Claim(site, SERVER, run, "", "", LONG)


def line(bench: Bench, run: str, *deeds: Callable[[], object], holder: str = "kevin@laptop") -> Queue:
    taken = claim(bench, run, *deeds, holder=holder)
    return Queue(taken._site, SERVER, taken)


def now(bench: Bench) -> Hardware:
    return Hardware.of(bench.hardware)


def waiting(bench: Bench) -> list[str]:
    return [place.run for place in queue.waiting(now(bench), bench.clock.now().wall)]


def test_who_waits_takes_the_server_when_it_is_given_back_and_leaves_the_line(bench: Bench) -> None:
    held = claim(bench, "one", holder="ann@desk")
    held.take(None)
    second = claim(bench, "two", lambda: held.release([]))
    Queue(second._site, SERVER, second).wait(now(bench), 60.0)
    assert waiting(bench) == ["two"]
    second.take(now(bench))
    assert (bench.annotations["metalfoundry.dev/run"], waiting(bench)) == ("two", [])
    told = [event.text for event in bench.events if isinstance(event, Notice)]
    assert told == ["waits for anvil: ann@desk holds it as one"]


def test_who_came_first_is_first_and_nobody_gets_in_between(bench: Bench) -> None:
    held = claim(bench, "one")
    held.take(None)
    for run in ("two", "three"):
        with pytest.raises(ClaimedError):
            line(bench, run).wait(now(bench), 2.0)
    held.release([])
    assert waiting(bench) == ["two", "three"]
    for run in ("three", "four"):
        with pytest.raises(ClaimedError, match=r"anvil is free, and kevin@laptop, who waits for it since .*, is next"):
            claim(bench, run).take(now(bench))
    claim(bench, "two").take(now(bench))
    assert waiting(bench) == ["three"]


def test_a_place_that_is_not_renewed_is_lost(bench: Bench) -> None:
    held = claim(bench, "one")
    held.take(None)
    with pytest.raises(ClaimedError):
        line(bench, "two").wait(now(bench), 2.0)
    held.release([])
    bench.clock.advance(queue.PLACE_SECONDS + 1)
    claim(bench, "three").take(now(bench))


def test_a_place_is_renewed_for_as_long_as_it_is_waited_in(bench: Bench) -> None:
    claim(bench, "one").take(None)
    with pytest.raises(ClaimedError, match="this run has waited for 500 s") as caught:
        line(bench, "two").wait(now(bench), 500.0)
    assert caught.value.exit_code == 20
    assert waiting(bench) == ["two"]
    written = [command for command in bench.shell.writes if "dev~1queue" in command.stdin]
    assert len(written) == pytest.approx(500 / RENEW_SECONDS, abs=2)


def test_a_place_is_kept_once_the_turn_has_come_for_as_long_as_somebody_is_asked(bench: Bench) -> None:
    held = claim(bench, "one")
    held.take(None)
    mine = claim(bench, "two", lambda: held.release([]))
    mine._site = replace(mine._site, background=Background())
    place = Queue(mine._site, SERVER, mine)
    place.wait(now(bench), 60.0)
    begun = bench.clock.now().mono
    with place.kept():
        until(lambda: bench.clock.now().mono > begun + 3 * queue.PLACE_SECONDS)
        assert waiting(bench) == ["two"]


def test_all_waits_of_a_run_have_one_end(bench: Bench) -> None:
    claim(bench, "one").take(None)
    place = line(bench, "two")
    with pytest.raises(ClaimedError):
        place.wait(now(bench), 100.0)
    ended = bench.clock.now().mono
    with pytest.raises(ClaimedError):
        place.wait(now(bench), 100.0)
    assert bench.clock.now().mono - ended < 5.0


def test_an_expired_claim_is_waited_for_no_longer(bench: Bench) -> None:
    claim(bench, "one").take(None)
    line(bench, "two").wait(now(bench), LONG + 60)
    assert bench.clock.now().mono >= LONG


def test_two_who_come_at_once_both_get_a_place(bench: Bench) -> None:
    claim(bench, "one").take(None)
    read = now(bench)
    for run in ("two", "three"):
        with pytest.raises(ClaimedError):
            line(bench, run).wait(read, 1.0)
    assert waiting(bench) == ["two", "three"]


def test_leaving_takes_the_own_place_alone(bench: Bench) -> None:
    claim(bench, "one").take(None)
    lines = {run: line(bench, run) for run in ("two", "three")}
    for each in lines.values():
        with pytest.raises(ClaimedError):
            each.wait(now(bench), 1.0)
    lines["two"].leave()
    assert waiting(bench) == ["three"]
    lines["three"].leave()
    assert queue.QUEUE not in bench.annotations
    lines["three"].leave()


@pytest.mark.parametrize(
    "text",
    [
        "", "no json", "{}", "[1, null, {}]", json.dumps([{"run": "x", "holder": "y", "since": "z", "until": "never"}]),
        json.dumps([{"run": "x", "holder": "y", "since": "z", "until": "9000-01-01T00:00:00Z"}]),
    ],
)  # fmt: skip
def test_what_is_no_place_of_ours_keeps_nobody_out(bench: Bench, text: str) -> None:
    path = "/metadata/annotations"
    bench.store.patch("hardware", "anvil", [{"op": "add", "path": path, "value": {queue.QUEUE: text}}])
    assert waiting(bench) == []
    claim(bench, "one").take(None)


def test_a_line_is_bounded() -> None:
    hardware = Hardware.of({"metadata": {"name": "anvil"}, "spec": {}})
    for number in range(queue.MOST + 3):
        (*_, last) = queue.stand(hardware, f"run-{number}", "ann", NOW + timedelta(seconds=number / 10)) or [{}]
        text = last.get("value", {}) if isinstance(last.get("value"), dict) else {queue.QUEUE: last.get("value")}
        if text.get(queue.QUEUE):
            hardware = Hardware.of({"metadata": {"name": "anvil", "annotations": text}, "spec": {}})
    assert [place.run for place in queue.waiting(hardware, NOW)] == [f"run-{number}" for number in range(queue.MOST)]
