"""The lab's Store (lab/kubernetes/store.py) over HTTPS on a real kube-apiserver."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from metalfoundry.lab.kubernetes.errors import BadRequest, Forbidden
from metalfoundry.lab.kubernetes.jsonpatch import apply_patch
from metalfoundry.lab.kubernetes.resources import Kind, need
from metalfoundry.lab.kubernetes.store import AlreadyExists, Conflict, Invalid, NotFound, Object, Objects, StoreError

JSON_PATCH = "application/json-patch+json"
_REASONS: dict[str, type[StoreError]] = {
    each.reason: each for each in (AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound)
}
_TICK = 0.2
_TIMEOUT = 30.0


class Unreachable(StoreError):
    """The API server does not answer."""

    reason, code = "ServiceUnavailable", 503


class ApiClient:
    """Requests to one API server as the owner of a bearer token; safe to use from several threads."""

    def __init__(self, server: str, *, ca: Path, token: str) -> None:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        tls = ssl.create_default_context(cafile=str(ca))
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.Client(
            base_url=server, headers=headers, verify=tls, limits=limits, timeout=_TIMEOUT, trust_env=False
        )

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """The decoded answer; text that is no JSON as it is. Raises StoreError: Unreachable when nobody answers."""
        data = None if body is None else json.dumps(body)
        try:
            answer = self._http.request(method, path, content=data, headers={"Content-Type": content} if data else None)
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url}: {error}") from error
        return _checked(answer)

    def stream(self, path: str, stop: threading.Event) -> Iterator[Object]:
        """Yield the JSON lines of a chunked answer until it ends or `stop` is set. Raises StoreError."""
        try:
            with self._http.stream("GET", path, timeout=httpx.Timeout(_TIMEOUT, read=None)) as answer:
                if answer.is_error:
                    answer.read()
                    _checked(answer)
                with _ended_by(stop, answer.extensions["network_stream"].get_extra_info("socket")):
                    yield from (json.loads(line) for line in answer.iter_lines() if line)
        except httpx.TransportError as error:
            if not stop.is_set():
                raise Unreachable(f"{self._http.base_url}: {error}") from error

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()


class HttpStore:
    """A Store in one namespace of a real API server; safe to use from several threads."""

    def __init__(self, client: ApiClient, namespace: str = "tink-system") -> None:
        self.client = client
        self.namespace = namespace

    def get(self, kind: str, name: str) -> Object:
        """The object; raises NotFound."""
        return _object(self.client.request("GET", self._path(need(kind), name)))

    def list(self, kind: str) -> Objects:
        """All objects of the kind, by name."""
        return self._list(need(kind))[0]

    def create(self, kind: str, obj: Object) -> Object:
        """Store a new object, with its status, and return it; raises AlreadyExists, Invalid."""
        known = need(kind)
        obj = {"apiVersion": known.api_version, "kind": known.kind, **obj}
        stored = _object(self.client.request("POST", self._path(known), obj))
        return self._with_status(known, stored, obj)

    def replace(self, kind: str, obj: Object) -> Object:
        """Store a changed object; raises NotFound, Invalid, and Conflict when its resourceVersion is not the newest.

        Where status is a subresource this takes two requests, and watchers see two changes.
        """
        known = need(kind)
        path = self._path(known, str(obj["metadata"]["name"]))
        return self._with_status(known, _object(self.client.request("PUT", path, obj)), obj)

    def patch(self, kind: str, name: str, operations: Objects) -> Object:
        """Apply a JSON patch; raises NotFound, Invalid.

        One that changes status and something else is done by compare and swap.
        """
        known = need(kind)
        writes = [str(each.get("path")) for each in operations if each.get("op") != "test"]
        inside = [path == "/status" or path.startswith("/status/") for path in writes]
        if not known.status or not any(inside):
            return _object(self.client.request("PATCH", self._path(known, name), operations, JSON_PATCH))
        if all(inside):
            return _object(self.client.request("PATCH", self._path(known, name) + "/status", operations, JSON_PATCH))
        while True:
            try:
                return self.replace(kind, apply_patch(self.get(kind, name), operations))
            except Conflict:
                continue

    def delete(self, kind: str, name: str) -> Object:
        """Remove the object and return its last form; raises NotFound."""
        known = need(kind)
        last = self.get(kind, name)
        options = {"preconditions": {"uid": last["metadata"]["uid"]}, "gracePeriodSeconds": 0}
        self.client.request("DELETE", self._path(known, name), options)
        return last

    def watch(self, kind: str, stop: threading.Event) -> Iterator[tuple[str, Object]]:
        """Yield ("ADDED", object) for all that exists, then (ADDED|MODIFIED|DELETED, object) until `stop` is set.

        A watch that ends is taken up again; what happened in between is told as if it happened now. Raises
        Unreachable when the API server is away.
        """
        known, seen = need(kind), dict[str, Object]()
        while not stop.is_set():
            objects, version = self._list(known)
            yield from _differences(seen, objects)
            path = f"{self._path(known)}?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
            for line in self.client.stream(path, stop):
                event, obj = str(line.get("type")), _object(line.get("object"))
                if event == "ERROR":
                    break
                if event != "BOOKMARK":
                    _note(seen, event, obj)
                    yield event, obj

    def _list(self, kind: Kind) -> tuple[Objects, str]:
        answer = self.client.request("GET", self._path(kind))
        items = [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"]]
        return sorted(items, key=lambda item: str(item["metadata"]["name"])), answer["metadata"]["resourceVersion"]

    def _path(self, kind: Kind, name: str = "") -> str:
        return kind.path(self.namespace, name)

    def _with_status(self, kind: Kind, stored: Object, wanted: Object) -> Object:
        if not kind.status or wanted.get("status", {}) == stored.get("status", {}):
            return stored
        stored["status"] = wanted.get("status", {})
        path = self._path(kind, str(stored["metadata"]["name"])) + "/status"
        return _object(self.client.request("PUT", path, stored))


def _differences(seen: dict[str, Object], objects: Objects) -> list[tuple[str, Object]]:
    """What must be told to somebody who knows `seen` and shall know `objects`; `seen` is brought up to date."""
    now = {str(obj["metadata"]["name"]): obj for obj in objects}
    told = [("DELETED", obj) for name, obj in seen.items() if name not in now or _uid(now[name]) != _uid(obj)]
    for name, obj in now.items():
        old = seen.get(name)
        if old is None or _uid(old) != _uid(obj):
            told.append(("ADDED", obj))
        elif old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            told.append(("MODIFIED", obj))
    seen.clear()
    seen.update(now)
    return told


def _note(seen: dict[str, Object], event: str, obj: Object) -> None:
    name = str(obj["metadata"]["name"])
    if event == "DELETED":
        seen.pop(name, None)
    else:
        seen[name] = obj


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid"))


@contextmanager
def _ended_by(stop: threading.Event, sock: socket.socket) -> Iterator[None]:
    """Within it, a blocking read of `sock` ends when `stop` is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_TICK):
            if stop.is_set():
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                return

    threading.Thread(target=watch, name="watch-end", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _checked(answer: httpx.Response) -> Any:
    try:
        value = answer.json()
    except ValueError:
        value = answer.text
    if answer.is_error:
        status = _object(value)
        error = _REASONS.get(str(status.get("reason")), StoreError)(str(status.get("message") or value))
        error.code = answer.status_code
        causes = _object(status.get("details")).get("causes", ())
        error.causes = tuple(f"{each.get('field', '')}: {each.get('message', '')}" for each in causes)
        raise error
    return value


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}
