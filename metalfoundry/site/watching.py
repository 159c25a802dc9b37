"""One watch for each kind of a namespace, shared by all who follow one object in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

from metalfoundry.commands.bmc import JOBS
from metalfoundry.commands.kubectl import HARDWARE, WORKFLOWS, read_list, read_only
from metalfoundry.commands.script import read_script
from metalfoundry.model.errors import TransportError
from metalfoundry.site.site import Site
from metalfoundry.site.stream import AGAIN, READ_SECONDS, TICK_SECONDS, Seen, Told, settled
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.threads import Threads

LONGEST_SECONDS = 365 * 24 * 3600.0
LINGER_SECONDS = 60.0  # a run reads twice: the guard's word, and later its Workflow
KINDS = {HARDWARE: "Hardware", WORKFLOWS: "Workflow", JOBS: "Job"}

Box = SimpleQueue[Told | BaseException]


@dataclass
class _Feed:
    """One kind: who wants which name of it, and the last that was seen of each."""

    boxes: list[tuple[str, Box]] = field(default_factory=list)
    last: dict[str, Seen] = field(default_factory=dict)


class Hub:
    """A Watching of site.py for many runs at once. A watch begins with the first who asks for its kind, and ends soon
    after the last has left; who comes later is told at once what was seen last, which may be older than what he knows.

    What breaks a watch is raised to all who read from it. It knows no run: `site` is the Foundry's own.
    """

    def __init__(self, site: Site, threads: Threads) -> None:
        self._site, self._threads = site, threads
        self._lock = threading.Lock()
        self._feeds: dict[str, _Feed] = {}

    def __call__(self, site: Site, wanted: Mapping[str, str], deadline: Deadline) -> Iterator[Told | None]:
        """See Watching. Raises Cancelled when the run of `site` is cancelled, and as stream.watched."""
        box: Box = SimpleQueue()
        try:
            for kind, name in wanted.items():
                self._join(kind, name, box)
            while not deadline.expired():
                site.cancel.check()
                try:
                    told = box.get(timeout=TICK_SECONDS)
                except Empty:
                    yield None
                    continue
                if isinstance(told, BaseException):
                    raise copy(told) from told
                yield told
        finally:
            with self._lock:
                for feed in self._feeds.values():
                    feed.boxes[:] = [entry for entry in feed.boxes if entry[1] is not box]

    def _join(self, kind: str, name: str, box: Box) -> None:
        with self._lock:
            feed = self._feeds.get(kind)
            if feed is None:
                feed = _Feed()
                self._threads.start(partial(self._pump, kind, feed), f"watch-{KINDS[kind]}")
                self._feeds[kind] = feed  # not before: others would wait at one that nobody fills
            feed.boxes.append((name, box))
            if name in feed.last:
                box.put((kind, *feed.last[name]))

    def close(self) -> None:
        """End the watches that nobody reads from any more at once, even where they wait for a link."""
        self._site.cancel.set("closed")

    def _pump(self, kind: str, feed: _Feed) -> None:
        """Hand over what comes, until nobody wants it any more."""
        deadline = Deadline.after(self._site.clock, LONGEST_SECONDS)
        wanted = self._site.clock.now().mono
        try:
            for seen in settled(self._site, kind, deadline):
                if seen is not None and seen[0] == AGAIN:
                    self._drop_deleted(kind, feed)
                elif seen is not None:
                    self._hand_over(kind, feed, seen)
                with self._lock:
                    now = self._site.clock.now().mono
                    wanted = now if feed.boxes else wanted
                    if now - wanted >= LINGER_SECONDS or (not feed.boxes and self._site.cancel.is_set()):
                        del self._feeds[kind]
                        return
        except BaseException as error:  # noqa: BLE001 - it belongs to those who read, who raise it
            with self._lock:
                del self._feeds[kind]
                for _, box in feed.boxes:
                    box.put(error)

    def _hand_over(self, kind: str, feed: _Feed, seen: Seen) -> None:
        name = str(seen[1].get("metadata", {}).get("name", ""))
        with self._lock:
            feed.last.pop(name, None)
            if seen[0] != "DELETED":
                feed.last[name] = seen
            for wanted, box in feed.boxes:
                if wanted == name:
                    box.put((kind, *seen))

    def _drop_deleted(self, kind: str, feed: _Feed) -> None:
        """Ask what is there: a new watch is silent on what was deleted before it. Who joins meanwhile knows better."""
        with self._lock:
            asking = list(feed.boxes)
        command = read_only(self._site.kubectl.every(kind))
        try:
            deadline = Deadline.after(self._site.clock, READ_SECONDS)
            outcome = read_script(self._site.transport.run(self._site.jump, command, deadline).stdout).get("objects")
            listed = read_list(outcome) if outcome and outcome.ok else None
        except (TransportError, ValueError):
            return
        if listed is None:
            return
        there = {item["metadata"]["name"] for item in listed if item.get("kind") == KINDS[kind]}
        with self._lock:
            feed.last = {name: seen for name, seen in feed.last.items() if name in there}
            for name, box in asking:
                if name not in there:
                    box.put((kind, "DELETED", {}))
