"""A cache of one kind of object, kept by a watch; and the one way to change an object."""

from __future__ import annotations

import threading
from collections.abc import Callable

from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Conflict, Object, Store, StoreError


class Informer:
    """Follows `kind` from `start` to `stop`. What it returns is shared: look, do not change."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store = store
        self._kind = kind
        self._objects: dict[str, Object] = {}
        self._changed = threading.Condition()
        self._version = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lab-watch-{kind}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for the watch to end."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if isinstance(self._store, MemoryStore):
            self._store.wake()
        if self._thread.is_alive():
            self._thread.join(5)

    def all(self) -> list[Object]:
        """The objects by name."""
        with self._changed:
            return [self._objects[name] for name in sorted(self._objects)]

    def find(self, name: str) -> Object | None:
        """The object of that name, or None."""
        with self._changed:
            return self._objects.get(name)

    def wait(self, seen: int, seconds: float) -> int:
        """Block until something has changed since `seen`, or `seconds` have passed; return the new count."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen or self._stop.is_set(), seconds)
            return self._version

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except StoreError:
                self._stop.wait(0.2)  # the API server is away: read again when it is back

    def _follow(self) -> None:
        fresh: dict[str, Object] = {}
        with self._changed:
            self._objects = fresh
        for event, obj in self._store.watch(self._kind, self._stop):
            with self._changed:
                name = obj["metadata"]["name"]
                if event == "DELETED":
                    fresh.pop(name, None)
                else:
                    fresh[name] = obj
                self._version += 1
                self._changed.notify_all()


def amend(store: Store, kind: str, name: str, change: Callable[[Object], bool], uid: str = "") -> Object | None:
    """Read, `change` (False: leave it), write; again where somebody wrote between.

    Returns what was written, or None where `change` declined or the object is now another one than `uid`.
    """
    while True:
        obj = store.get(kind, name)
        if (uid and obj["metadata"].get("uid") != uid) or not change(obj):
            return None
        try:
            return store.replace(kind, obj)
        except Conflict:
            continue
