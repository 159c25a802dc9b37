"""Threads that are waited for only at the end, and the merged streams that run in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from metalfoundry.transport.merge import Threaded
from metalfoundry.transport.threads import Threads


def test_join_waits_for_what_runs_and_says_when_it_does_not_end() -> None:
    threads, go_on = Threads(), threading.Event()
    threads.start(go_on.wait, "one")
    assert threads.join(0.01) is False
    go_on.set()
    assert threads.join(10) is True
    assert threads.join(0) is True


def test_a_thread_that_raises_is_over_like_any_other() -> None:
    threads = Threads()
    said: list[str] = []

    def work() -> None:
        try:
            raise ValueError("its own affair")
        except ValueError as error:
            said.append(str(error))

    threads.start(work, "one")
    assert threads.join(10)
    assert said == ["its own affair"]


def test_leaving_a_merged_stream_ends_its_threads_at_their_next_item() -> None:
    threads, closed = Threads(), list[int]()

    def stream(number: int) -> Iterator[int]:
        try:
            while True:
                yield number
        finally:
            closed.append(number)

    merged = Threaded(threads)([lambda: stream(1), lambda: stream(2)], 0.1)
    assert next(merged) is not None
    merged.close()  # type: ignore[attr-defined]
    assert threads.join(10)
    assert sorted(closed) == [1, 2]
