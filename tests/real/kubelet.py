"""A kubelet that does one thing: it shows the log of its pod, so that `kubectl logs` is real on a real kube-apiserver.

The API server finds it by the Node's address and port, and takes any certificate where it was given no authority.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import trustme

from metalfoundry.lab import control_plane
from metalfoundry.lab.kubernetes.pod_logs import Line, PodLogs
from metalfoundry.lab.kubernetes.store import Store

_PATH = re.compile(r"/containerLogs/(?P<namespace>[^/]+)/(?P<pod>[^/]+)/(?P<container>[^/]+)")


class Kubelet:
    """Serves the log of the pod that it holds, over HTTPS on loopback; a context manager."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logs = PodLogs()
        self._pod = ""
        self._stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = _context().wrap_socket(self._server.socket, server_side=True)
        target = self._server.serve_forever
        self._thread = threading.Thread(target=target, args=(0.02,), name="lab-kubelet", daemon=True)

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def append(self, line: str) -> None:
        """Add a line to the pod's log."""
        self._logs.append(self._pod, line)

    def hold(self, store: Store, pod: str) -> None:
        """Make the Node that leads here, and the control plane's pod on it."""
        self._pod = pod
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_port}},
        }
        store.create("nodes", {"metadata": {"name": self._name}, "status": status})
        store.create("serviceaccounts", {"metadata": {"name": "default"}})
        placed = control_plane.pod(pod)
        placed["spec"] |= {"nodeName": self._name, "automountServiceAccountToken": False}
        store.create("pods", placed)
        store.create("deployments", control_plane.deployment())

    def lines(self, path: str) -> Iterator[bytes] | None:
        """What a request for that path is answered with; None where it asks for no log."""
        parts = urlsplit(path)
        found = _PATH.fullmatch(parts.path)
        if found is None:
            return None
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        return self._lines(found["pod"], asked)

    def _lines(self, pod: str, asked: Mapping[str, str]) -> Iterator[bytes]:
        present, since = self._logs.read(pod), _since(asked)
        wanted = [line for line in present if since is None or line.at >= since]
        if "tailLines" in asked:
            wanted = wanted[max(0, len(wanted) - int(asked["tailLines"])) :]
        for line in wanted:
            yield _text(line, asked)
        if asked.get("follow") == "true":
            for line in self._logs.follow(pod, len(present), self._stop):
                yield _text(line, asked)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kubelet = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = kubelet.lines(self.path)
                self.send_response(404 if lines is None else 200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                try:
                    for line in lines or ():
                        self.wfile.write(line)
                        self.wfile.flush()
                except OSError:
                    return  # the reader has gone

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        return Handler


def _since(asked: Mapping[str, str]) -> datetime | None:
    if "sinceSeconds" in asked:
        return datetime.now(UTC) - timedelta(seconds=float(asked["sinceSeconds"]))
    return datetime.fromisoformat(asked["sinceTime"]) if "sinceTime" in asked else None


def _text(line: Line, asked: Mapping[str, str]) -> bytes:
    stamped = asked.get("timestamps") == "true"
    at = line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if stamped else ""
    return f"{at}{line.text}\n".encode()


def _context() -> ssl.SSLContext:
    """TLS with a certificate made for this run."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context
