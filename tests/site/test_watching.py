"""One watch for many: who is told what, who ends it, and what is known again when it was taken up anew."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from metalfoundry.commands.kubectl import HARDWARE, WORKFLOWS
from metalfoundry.model.errors import Cancelled, CommandError, WatchBroken
from metalfoundry.model.resources import Workflow
from metalfoundry.site.cluster import Cluster, Gone
from metalfoundry.site.site import Site
from metalfoundry.site.stream import QUICK_ENDS, TICK_SECONDS, Told
from metalfoundry.site.watching import LINGER_SECONDS, Hub
from metalfoundry.transport.clock import Cancel, Deadline
from metalfoundry.transport.threads import Threads
from tests.fakes import FakeTransport, Line
from tests.site.test_stream import site

SILENCE = [None] * (2 + round(LINGER_SECONDS / TICK_SECONDS))
BROKEN = CommandError("a followed command ended", exit_status=1, stderr="odd")


def event(name: str, version: int, what: str = "MODIFIED") -> str:
    metadata = {"name": name, "resourceVersion": str(version)}
    return json.dumps({"type": what, "object": {"kind": "Workflow", "metadata": metadata}})


def listed(*names: str) -> str:
    items = [{"kind": "Workflow", "metadata": {"name": name}} for name in names]
    whole = json.dumps({"kind": "List", "items": items})
    return f"@@metalfoundry m objects out\n{whole}\n\n@@metalfoundry m objects err\n\n@@metalfoundry m objects exit 0\n"


class Place:
    """A hub on a scripted transport; the last script waits at its end until the test is over."""

    def __init__(self, *scripts: list[Line], there: tuple[str, ...] = ("a", "b")) -> None:
        self.transport, self.over, self.threads = FakeTransport(), threading.Event(), Threads()
        last = [*scripts[-1], lambda: self.over.wait(10), *SILENCE]
        rule = self.transport.on("-w --output-watch-events", lines=[])
        rule.scripts = [*scripts[:-1], last]
        self.asked = self.transport.on("sh -s", reply=listed(*there))
        self.site = site(self.transport)
        self.hub = Hub(self.site, self.threads)
        self.readers = ExitStack()

    def follow(self, name: str, *kinds: str, cancel: Cancel | None = None) -> Iterator[Told | None]:
        here = replace(self.site, cancel=cancel or Cancel())
        wanted = dict.fromkeys(kinds or (WORKFLOWS,), name)
        told = self.hub(here, wanted, Deadline.after(self.transport.clock, 10**6))
        return self.readers.enter_context(closing(told))  # type: ignore[type-var]

    @property
    def watches(self) -> list[str]:
        return [said.command.argv[2] for said in self.transport.said if said.followed]

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *error: object) -> None:
        self.readers.close()
        self.over.set()
        assert self.threads.join(5)


def heard(told: Iterator[Told | None]) -> tuple[str, str]:
    """What comes next: the event, and the version."""
    _, what, item = next(filter(None, told))
    return what, item.get("metadata", {}).get("resourceVersion", "")


def test_one_watch_tells_each_of_his_own() -> None:
    with Place([event("a", 1), event("b", 2), event("a", 3)]) as place:
        a, b = place.follow("a"), place.follow("b")
        assert [heard(a), heard(b), heard(a)] == [("MODIFIED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3")]
        assert place.watches == [WORKFLOWS]


def test_who_comes_late_is_told_what_was_seen_last() -> None:
    with Place([event("a", 1), event("b", 2), event("b", 3)]) as place:
        first = place.follow("b")
        assert [heard(first), heard(first)] == [("MODIFIED", "2"), ("MODIFIED", "3")]
        assert heard(place.follow("b")) == ("MODIFIED", "3")
        assert heard(place.follow("a")) == ("MODIFIED", "1")
        assert place.watches == [WORKFLOWS]


def test_each_kind_has_a_watch_of_its_own() -> None:
    with Place([event("a", 1)], [event("a", 1)]) as place:
        place.transport._rules[0].scripts = [place.transport._rules[0].scripts[-1]]
        both = place.follow("a", HARDWARE, WORKFLOWS)
        kinds = {told[0] for told in (next(filter(None, both)), next(filter(None, both))) if told}
        assert kinds == {HARDWARE, WORKFLOWS}
        assert sorted(place.watches) == [HARDWARE, WORKFLOWS]


def test_what_was_deleted_between_two_watches_is_told_and_forgotten() -> None:
    with Place([event("a", 1), event("b", 2)], [lambda: joined(place, 2), event("b", 3), None], there=("b",)) as place:
        a, b = place.follow("a"), place.follow("b")
        assert [heard(a), heard(b), heard(b)] == [("MODIFIED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3")]
        assert heard(a) == ("DELETED", "")
        late = place.follow("a")
        assert next(late) is None


def test_who_joins_while_it_is_asked_what_is_there_knows_better() -> None:
    with Place([event("a", 1), None]) as place:
        first, late = place.follow("a"), place.follow("a")

        def answer(*_: object) -> str:
            assert heard(late) == ("MODIFIED", "1")
            return listed("b")

        place.asked.replies = [answer]
        assert [heard(first), heard(first)] == [("MODIFIED", "1"), ("DELETED", "")]
        assert next(late) is None


def test_what_breaks_the_watch_is_raised_to_all_and_the_next_begins_anew() -> None:
    with Place([BROKEN], [BROKEN], [BROKEN], [event("a", 1)]) as place:
        waiting = threading.Barrier(2, timeout=10)
        caught: list[WatchBroken] = []

        def read(name: str) -> None:
            told = place.follow(name)
            waiting.wait()
            with pytest.raises(WatchBroken) as error:
                heard(told)
            caught.append(error.value)

        place.transport._rules[0].scripts[0] = [lambda: joined(place, 2), BROKEN]
        both = [threading.Thread(target=read, args=(name,)) for name in "ab"]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(10)
        assert [error.what for error in caught] == ["workflows cannot be watched: odd"] * 2
        assert caught[0] is not caught[1]
        assert len(place.watches) == QUICK_ENDS
        assert heard(place.follow("a")) == ("MODIFIED", "1")


def joined(place: Place, count: int) -> None:
    while sum(len(feed.boxes) for feed in place.hub._feeds.values()) < count:
        threading.Event().wait(0.001)


def test_a_run_that_is_cancelled_leaves_and_the_others_go_on() -> None:
    with Place([event("a", 1), event("b", 2)]) as place:
        cancel = Cancel()
        a, b = place.follow("a", cancel=cancel), place.follow("b")
        assert heard(a) == ("MODIFIED", "1")
        cancel.set("enough")
        with pytest.raises(Cancelled):
            next(a)
        assert heard(b) == ("MODIFIED", "2")


def test_it_ends_soon_after_the_last_has_left_and_another_begins_with_the_next() -> None:
    left = threading.Event()
    with Place([event("a", 1), lambda: left.wait(10), *SILENCE], [event("a", 2)]) as place:
        a, b = place.follow("a"), place.follow("a")
        assert heard(a) == heard(b) == ("MODIFIED", "1")
        place.readers.close()
        left.set()
        assert place.threads.join(5)
        assert heard(place.follow("a")) == ("MODIFIED", "2")
        assert len(place.watches) == 2


def test_who_comes_back_soon_finds_the_same_watch() -> None:
    left = threading.Event()
    with Place([event("a", 1), lambda: left.wait(10), None, None, event("a", 2)]) as place:
        first = place.follow("a")
        assert heard(first) == ("MODIFIED", "1")
        place.readers.close()
        again = place.follow("a")
        left.set()
        assert [heard(again), heard(again)] == [("MODIFIED", "1"), ("MODIFIED", "2")]
        assert place.watches == [WORKFLOWS]


@pytest.mark.parametrize("since", ["", "5"])
def test_what_was_true_of_an_earlier_workflow_of_that_name_is_left_out(since: str) -> None:
    def told(version: str, what: str = "MODIFIED") -> Told:
        return WORKFLOWS, what, {"metadata": {"name": "w", "resourceVersion": version}}

    def watches(here: Site, wanted: Mapping[str, str], deadline: Deadline) -> Iterator[tuple[str, str, Any] | None]:
        yield from (told("3"), told("4", "DELETED"), None, told("5"), told("6"), (WORKFLOWS, "DELETED", {}))

    here = replace(site(FakeTransport()), watches=watches)
    seen = list(Cluster(here).watch("w", "anvil", Deadline.after(here.clock, 60), since))
    kinds = [type(each) for each in seen]
    assert kinds == [*([] if since else [Workflow, Gone]), type(None), Workflow, Workflow, Gone]


def test_where_there_was_no_thread_for_a_watch_the_next_one_begins_it() -> None:
    class Short(Threads):
        def start(self, work: Callable[[], object], name: str) -> None:
            raise RuntimeError("can't start new thread")

    with Place([event("a", 1)]) as place:
        place.hub._threads = Short()
        with pytest.raises(RuntimeError):
            next(place.follow("a"))
        place.hub._threads = place.threads
        assert heard(place.follow("a")) == ("MODIFIED", "1")
