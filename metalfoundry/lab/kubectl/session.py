"""What one call of kubectl works with: the cluster, its faults on cue, and the caller's terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.errors import Forbidden
from metalfoundry.lab.kubernetes.resources import Kind
from metalfoundry.lab.kubernetes.store import StoreError

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")


class ApiUnreachable(Exception):
    """The API server does not answer."""


class Failure(Exception):
    """kubectl's own complaint: printed as it stands, exit 1."""


class Faults:
    """What the lab's owner makes go wrong; may be changed at any time, from any thread.

    `delay`: seconds before each request. `denied`: (verb, plural) pairs, such as ("patch", "hardware") or
    ("*", "hardware"). `user`: the name in a Forbidden answer.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self.denied: set[tuple[str, str]] = set()
        self.user = "lab"
        self._away = False
        self._watches: set[threading.Event] = set()
        self._lock = threading.Lock()

    @property
    def away(self) -> bool:
        """Whether the API server is down."""
        return self._away

    def api_down(self) -> None:
        """From now on nothing listens; watches end, without a word, as kubectl's do."""
        self._away = True
        self.end_watches()

    def api_up(self) -> None:
        """The API server answers again."""
        self._away = False

    def end_watches(self) -> None:
        """End every watch, as the API server does by itself after half an hour or so."""
        with self._lock:
            for stop in self._watches:
                stop.set()

    def enlist(self, stop: threading.Event) -> None:
        """A watch began that `stop` ends."""
        with self._lock:
            self._watches.add(stop)

    def dismiss(self, stop: threading.Event) -> None:
        """That watch is over."""
        with self._lock:
            self._watches.discard(stop)

    def allows(self, verb: str, kind: Kind) -> bool:
        """Whether the user may do `verb` to `kind`."""
        return not self.denied & {(verb, kind.plural), ("*", kind.plural)}


@dataclass
class Session:
    """One call: `out` and `err` print, `read` gives a file of the caller's (None: absent), `gone` ends a watch and is
    set by the caller's end once `attend` was called.
    """

    store: MemoryStore
    faults: Faults
    server: str
    out: Callable[[str], None]
    err: Callable[[str], None]
    read: Callable[[str], bytes | None]
    gone: threading.Event
    attend: Callable[[], None]

    @contextmanager
    def following(self, limit: float = 0.0) -> Iterator[threading.Event]:
        """Within it, the event is set when the caller is gone, the API goes away, or after `limit` seconds."""
        self.attend()
        self.faults.enlist(self.gone)
        timer = threading.Timer(limit, self.gone.set)
        if limit:
            timer.start()
        try:
            yield self.gone
        finally:
            timer.cancel()
            self.faults.dismiss(self.gone)

    def request(self, verb: str, kind: Kind | None = None, name: str = "", namespace: str = "") -> None:
        """One request to the API server, before its effect; raises ApiUnreachable and Forbidden."""
        if self.faults.delay:
            time.sleep(self.faults.delay)
        if self.faults.away:
            raise ApiUnreachable
        if kind is None or self.faults.allows(verb, kind):
            return
        what = f'{kind.resource} "{name}"' if name else kind.resource
        where = f' in the namespace "{namespace}"' if kind.namespaced and namespace else " at the cluster scope"
        raise Forbidden(
            f'{what} is forbidden: User "{self.faults.user}" cannot {verb} resource "{kind.plural}" '
            f'in API group "{kind.group}"{where}'
        )

    def refused(self, error: StoreError, doing: str = "") -> str:
        """A refusal as kubectl prints it; `doing` is put before the server's words, as `create -f` does."""
        text = f"{doing}: {error}" if doing else str(error)
        if error.reason == "Invalid":
            return str(error)
        if error.reason == "InternalError":
            return f"Error from server (InternalError): {text}"
        return f"Error from server ({error.reason}): {text}"
