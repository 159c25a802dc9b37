"""The Store of store.py over HTTPS on a real kube-apiserver, with the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metalfoundry.lab.jsonpatch import apply_patch
from metalfoundry.lab.kinds import Kind, need
from metalfoundry.lab.refusals import BadRequest, Forbidden, Unreachable
from metalfoundry.lab.store import AlreadyExists, Conflict, Invalid, NotFound, Object, Objects, StoreError

_JSON = "application/json"
_JSON_PATCH = "application/json-patch+json"
_REASONS: dict[str, type[StoreError]] = {
    each.reason: each for each in (AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound)
}
_TICK = 0.2
_TIMEOUT = 30.0


class ApiClient:
    """Requests to one API server as one user; safe to use from several threads, each on a kept connection.

    `ca` is the file to verify the server by; `token` a bearer token, or `certificate` (a client certificate and its
    key as two files).
    """

    def __init__(self, server: str, *, ca: Path, token: str = "", certificate: tuple[Path, Path] | None = None) -> None:
        self.server = server
        address = urlsplit(server)
        self._host, self._port = address.hostname or "", address.port or 443
        self._tls = ssl.create_default_context(cafile=str(ca))
        if certificate:
            self._tls.load_cert_chain(*map(str, certificate))
        self._headers = {"Accept": _JSON} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._own = threading.local()
        self._kept: set[http.client.HTTPSConnection] = set()
        self._lock = threading.Lock()

    def request(self, method: str, path: str, body: Any = None, content: str = _JSON) -> Any:
        """The decoded answer; text that is no JSON as it is. Raises StoreError: Unreachable when nobody answers.

        A request on a kept connection that the server has closed is sent once more on a new one.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": content} if data is not None else {})
        for fresh in (False, True):
            link, reused = self._link(fresh)
            try:
                link.request(method, path, data, headers)
                answer = link.getresponse()
                text = answer.read().decode()
                break
            except (OSError, http.client.HTTPException) as error:
                link.close()
                if not reused:
                    raise Unreachable(f"{self.server}: {error}") from error
        value = _decoded(text)
        if answer.status >= 400:
            raise _refusal(answer.status, value)
        return value

    def stream(self, path: str, stop: threading.Event) -> Iterator[Object]:
        """Yield the JSON lines of a chunked answer until it ends or `stop` is set. Raises StoreError."""
        link, over = self._open(_TIMEOUT), threading.Event()
        try:
            link.request("GET", path, headers=self._headers)
            answer = link.getresponse()
            if answer.status >= 400:
                raise _refusal(answer.status, _decoded(answer.read().decode()))
            link.sock.settimeout(None)
            threading.Thread(target=_shut, args=(link.sock, stop, over), name="lab-stream-end", daemon=True).start()
            yield from _lines(answer, stop)
        except (OSError, http.client.HTTPException) as error:
            if not stop.is_set():
                raise Unreachable(f"{self.server}: {error}") from error
        finally:
            over.set()
            link.close()

    def close(self) -> None:
        """Close every kept connection."""
        with self._lock:
            for link in self._kept:
                link.close()
            self._kept.clear()

    def _link(self, fresh: bool) -> tuple[http.client.HTTPSConnection, bool]:
        link: http.client.HTTPSConnection | None = getattr(self._own, "link", None)
        if link is not None and not fresh and link.sock is not None:
            return link, True
        if link is not None:
            self._forget(link)
        link = self._open(_TIMEOUT)
        self._own.link = link
        with self._lock:
            self._kept.add(link)
        return link, False

    def _forget(self, link: http.client.HTTPSConnection) -> None:
        link.close()
        with self._lock:
            self._kept.discard(link)

    def _open(self, timeout: float) -> http.client.HTTPSConnection:
        link = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)
        try:
            link.connect()
        except OSError as error:
            link.close()
            raise Unreachable(f"{self.server}: {error}") from error
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link


class HttpStore:
    """A Store (see store.py) in one namespace of a real API server; safe to use from several threads."""

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
            return _object(self.client.request("PATCH", self._path(known, name), operations, _JSON_PATCH))
        if all(inside):
            return _object(self.client.request("PATCH", self._path(known, name) + "/status", operations, _JSON_PATCH))
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


def _shut(sock: socket.socket, stop: threading.Event, over: threading.Event) -> None:
    """End a blocking read when `stop` is set. (A file made of a socket can never be read again after a timeout.)"""
    while not over.wait(_TICK):
        if stop.is_set():
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            return


def _lines(answer: http.client.HTTPResponse, stop: threading.Event) -> Iterator[Object]:
    rest = b""
    while not stop.is_set():
        part = answer.read1(1 << 16)
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        yield from (json.loads(line) for line in whole if line.strip())


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _refusal(code: int, value: Any) -> StoreError:
    status = _object(value)
    error = _REASONS.get(str(status.get("reason")), StoreError)(str(status.get("message") or value))
    error.code = code
    return error
