"""The embedded cluster: one namespace of objects in memory, with kube-apiserver's manners."""

from __future__ import annotations

import copy
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from metalfoundry.lab.kubernetes.admission import admit
from metalfoundry.lab.kubernetes.jsonpatch import apply_patch, merge_patch, same
from metalfoundry.lab.kubernetes.pod_logs import PodLogs
from metalfoundry.lab.kubernetes.resources import Kind, need
from metalfoundry.lab.kubernetes.store import AlreadyExists, NotFound, Object, Objects

Change = Callable[[Object], Object]

TICK = 0.1
"""Seconds after which a waiting watch looks whether it shall stop."""


class Watch:
    """One watcher's place in the stream of one kind: an iterator of (event, object)."""

    def __init__(self, kind: str, stop: threading.Event, changed: threading.Condition, register: list[Watch]) -> None:
        self.kind = kind
        self.queue: deque[tuple[str, Object]] = deque()
        self._stop, self._changed, self._register = stop, changed, register
        register.append(self)

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> tuple[str, Object]:
        while not self._stop.is_set():
            with self._changed:
                if self.queue:
                    event, obj = self.queue.popleft()
                    return event, copy.deepcopy(obj)
                self._changed.wait(TICK)
        raise StopIteration

    def close(self) -> None:
        """Leave the stream."""
        with self._changed:
            if self in self._register:
                self._register.remove(self)


class MemoryStore:
    """A Store (see store.py), safe to use from several threads.

    Objects of Tinkerbell's kinds are pruned, defaulted and checked by its CRDs; a write that changes nothing does
    not make a new resourceVersion. The methods of the Store protocol write status like any other field; with
    `whole=False` they do as a request to the object itself does, and leave a status subresource alone.
    """

    def __init__(self, namespace: str = "tink-system") -> None:
        self.namespace = namespace
        self.logs = PodLogs()
        self._objects: dict[str, dict[str, Object]] = {}
        self._version = 100
        self._changed = threading.Condition()
        self._watches: list[Watch] = []
        self.create("namespaces", {"metadata": {"name": namespace}, "status": {"phase": "Active"}})

    def append_log(self, pod: str, line: str, container: str = "", at: datetime | None = None) -> None:
        """Add one line to what `kubectl logs` shows for `pod`; `at` is now where it is not given."""
        self.logs.append(pod, line, container, at)

    @property
    def resource_version(self) -> str:
        """The newest version of anything, as a list carries it."""
        with self._changed:
            return str(self._version)

    def get(self, kind: str, name: str) -> Object:
        """The object; raises NotFound."""
        with self._changed:
            return copy.deepcopy(self._find(need(kind), name))

    def list(self, kind: str) -> Objects:
        """All objects of the kind, by name."""
        with self._changed:
            return self._all(need(kind))

    def create(self, kind: str, obj: Object, *, whole: bool = True) -> Object:
        """Store a new object and return it; raises AlreadyExists, Invalid."""
        known = need(kind)
        with self._changed:
            obj = copy.deepcopy(obj)
            meta = obj.setdefault("metadata", {})
            if meta.get("name") in self._objects.get(known.key, {}):
                raise AlreadyExists(f'{known.resource} "{meta["name"]}" already exists')
            meta.update(uid=str(uuid.uuid4()), creationTimestamp=_now(), generation=1)
            if known.namespaced:
                meta["namespace"] = self.namespace
            if known.status and not whole:
                obj.pop("status", None)
            obj = admit(known, {"apiVersion": known.api_version, "kind": known.kind, **obj}, str(meta.get("name")))
            return self._keep(known, "ADDED", obj)

    def replace(self, kind: str, obj: Object, *, whole: bool = True) -> Object:
        """Store a changed object; raises NotFound, Invalid, and Conflict when its resourceVersion is not the newest."""
        return self.change(kind, obj["metadata"]["name"], lambda _: copy.deepcopy(obj), whole=whole)

    def patch(self, kind: str, name: str, operations: Objects, *, whole: bool = True) -> Object:
        """Apply a JSON patch as kube-apiserver does; raises NotFound, Invalid."""
        return self.change(kind, name, lambda current: _object(apply_patch(current, operations)), whole=whole)

    def merge(self, kind: str, name: str, patch: Object, *, whole: bool = True) -> Object:
        """Apply a JSON merge patch; raises NotFound, Invalid, Conflict."""
        return self.change(kind, name, lambda current: _object(merge_patch(current, patch)), whole=whole)

    def change(self, kind: str, name: str, change: Change, *, whole: bool = True) -> Object:
        """Store what `change` makes of a copy of the object, in one step; raises NotFound, Invalid, Conflict."""
        known = need(kind)
        with self._changed:
            current = self._find(known, name)
            wanted = admit(known, change(copy.deepcopy(current)), name, current)
            if known.status and not whole:
                _move_status(current, wanted)
            if same(wanted, current):
                return copy.deepcopy(current)
            if _desired(wanted) != _desired(current):
                wanted["metadata"]["generation"] = current["metadata"].get("generation", 1) + 1
            return self._keep(known, "MODIFIED", wanted)

    def delete(self, kind: str, name: str) -> Object:
        """Remove the object and return its last form; raises NotFound."""
        known = need(kind)
        with self._changed:
            last = copy.deepcopy(self._find(known, name))
            del self._objects[known.key][name]
            return self._tell(known, "DELETED", last)

    def watch(self, kind: str, stop: threading.Event) -> Iterator[tuple[str, Object]]:
        """Yield ("ADDED", object) for all that exists, then (ADDED|MODIFIED|DELETED, object) until `stop` is set."""
        present, watch = self.list_and_watch(kind, stop)
        try:
            yield from (("ADDED", obj) for obj in present)
            yield from watch
        finally:
            watch.close()

    def list_and_watch(self, kind: str, stop: threading.Event) -> tuple[Objects, Watch]:
        """What exists now, and every event after it until `stop` is set; nothing is lost between the two.

        The caller closes the watch.
        """
        known = need(kind)
        with self._changed:
            watch = Watch(known.key, stop, self._changed, self._watches)
            return self._all(known), watch

    @property
    def watching(self) -> int:
        """How many watches are open."""
        with self._changed:
            return len(self._watches)

    def wake(self) -> None:
        """Let waiting watches look at their `stop` now instead of in a tenth of a second."""
        with self._changed:
            self._changed.notify_all()

    def _find(self, kind: Kind, name: str) -> Object:
        try:
            return self._objects[kind.key][name]
        except KeyError:
            raise NotFound(f'{kind.resource} "{name}" not found') from None

    def _all(self, kind: Kind) -> Objects:
        return [copy.deepcopy(obj) for _, obj in sorted(self._objects.get(kind.key, {}).items())]

    def _keep(self, kind: Kind, event: str, obj: Object) -> Object:
        self._objects.setdefault(kind.key, {})[obj["metadata"]["name"]] = obj
        return self._tell(kind, event, obj)

    def _tell(self, kind: Kind, event: str, obj: Object) -> Object:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        for watch in self._watches:
            if watch.kind == kind.key:
                watch.queue.append((event, obj))
        self._changed.notify_all()
        return copy.deepcopy(obj)


def _move_status(source: Object, target: Object) -> None:
    target.pop("status", None)
    if "status" in source:
        target["status"] = copy.deepcopy(source["status"])


def _desired(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
