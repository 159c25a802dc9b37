"""A kubelet that knows one thing: the logs of its pods. With it `kubectl logs` is real on a real kube-apiserver.

The API server finds it by the Node's address and port, and takes any certificate where it was given no authority.
"""

from __future__ import annotations

import re
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from metalfoundry.lab.podlogs import Line, PodLogs
from metalfoundry.lab.store import Object

_PATH = re.compile(r"/containerLogs/(?P<namespace>[^/]+)/(?P<pod>[^/]+)/(?P<container>[^/]+)")


class Kubelet:
    """Serves `logs` over HTTPS on loopback, from `start` to `stop`; `node` is the object that leads to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.logs = PodLogs()
        self._stop = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = _context().wrap_socket(self._server.socket, server_side=True)
        target = self._server.serve_forever
        self._thread = threading.Thread(target=target, args=(0.02,), name="lab-kubelet", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)

    @property
    def node(self) -> Object:
        """The Node object; to be made once it listens."""
        if self._server is None:
            raise RuntimeError("the kubelet has not been started")
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_port}},
            },
        }

    def lines(self, path: str) -> Iterator[bytes] | None:
        """What a request for that path is answered with; None where it asks for no log."""
        parts = urlsplit(path)
        found = _PATH.fullmatch(parts.path)
        if found is None:
            return None
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        return self._lines(found["pod"], asked)

    def _lines(self, pod: str, asked: Mapping[str, str]) -> Iterator[bytes]:
        present, since = self.logs.read(pod), _since(asked)
        wanted = [line for line in present if since is None or line.at >= since]
        if "tailLines" in asked:
            wanted = wanted[max(0, len(wanted) - int(asked["tailLines"])) :]
        for line in wanted:
            yield _text(line, asked)
        if asked.get("follow") == "true":
            for line in self.logs.follow(pod, len(present), self._stop):
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
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab-kubelet")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = serialization.Encoding.PEM
    with tempfile.NamedTemporaryFile() as file:  # ssl reads certificates from files only
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        Path(file.name).write_bytes(private + certificate.public_bytes(pem))
        context.load_cert_chain(file.name)
    return context
