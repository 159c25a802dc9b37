"""Smee's answer to `auto.ipxe`: the gate of every netboot, over real HTTP on loopback."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from metalfoundry.lab.kubernetes.informer import Informer
from metalfoundry.lab.kubernetes.store import Store
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog

_OLD = re.compile(r"/(?P<mac>[0-9a-fA-F:]{17})/auto\.ipxe")
_NEW = re.compile(r"/ipxe/script/(?P<mac>[0-9a-fA-F:]{17})/auto\.ipxe")


class Smee:
    """Serves `/<mac>/auto.ipxe` (up to 0.21) or, with `new_paths`, `/ipxe/script/<mac>/auto.ipxe` (from 0.22).

    200 where the Hardware's interface with that MAC has allowPXE true, else 404; the other path is always 404.
    """

    def __init__(self, store: Store, journal: ControlPlaneLog, *, new_paths: bool = False) -> None:
        self._journal = journal
        self._pattern = _NEW if new_paths else _OLD
        self._new_paths = new_paths
        self._hardware = Informer(store, "hardware")
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("Smee has not been started")
        return f"http://127.0.0.1:{self._server.server_port}"

    def path(self, mac: str) -> str:
        """The path on which this Smee serves that MAC's script."""
        return f"/ipxe/script/{mac}/auto.ipxe" if self._new_paths else f"/{mac}/auto.ipxe"

    def start(self) -> None:
        """Begin to answer."""
        self._hardware.start()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        target = self._server.serve_forever
        self._thread = threading.Thread(target=target, args=(0.02,), name="lab-smee", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)
        self._hardware.stop()

    def answer(self, path: str, client: str) -> tuple[int, str]:
        """HTTP status and body for `path`."""
        match = self._pattern.fullmatch(path)
        script = self._script(match["mac"]) if match else None
        status = 404 if script is None else 200
        self._journal.smee_response(path, client, status)
        return status, script or "404 page not found\n"

    def _script(self, mac: str) -> str | None:
        for hardware in self._hardware.all():
            for interface in hardware["spec"].get("interfaces", []):
                if interface.get("dhcp", {}).get("mac") == mac and interface.get("netboot", {}).get("allowPXE"):
                    facility = hardware["spec"].get("metadata", {}).get("facility", {})
                    return auto_ipxe(mac, facility.get("facility_code", ""))
        self._journal.smee_denied(mac)
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        smee = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = smee.answer(self.path, self.headers.get("X-Lab-Client", self.client_address[0]))
                data = body.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """The journal has it."""

        return Handler


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # as Go's: many ask at once


def auto_ipxe(mac: str, facility: str = "") -> str:
    """A script that boots HookOS, with the kernel's words that Smee 0.21 gives it."""
    return f"""#!ipxe
set kernel-params facility={facility} syslog_host=10.77.0.2 grpc_authority=10.77.0.2:42113 tinkerbell_tls=false \
tinkerbell_insecure_tls=false worker_id={mac} hw_addr={mac} console=tty0 console=ttyS1,115200 \
tink_worker_image=ghcr.io/tinkerbell/tink-agent:v0.21.0
kernel http://10.77.0.2:7173/vmlinuz-x86_64 ${{kernel-params}}
initrd http://10.77.0.2:7173/initramfs-x86_64
boot
"""


def kernel_params(script: str) -> str:
    """The kernel's command line in such a script."""
    found = re.search(r"^set kernel-params (.*)$", script, re.MULTILINE)
    return found[1] if found else ""
