"""Where the kubectl stand-in comes in: a unix socket; one thread serves one call."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from metalfoundry.lab.kubectl import client_script
from metalfoundry.lab.kubectl.program import run
from metalfoundry.lab.kubectl.session import Faults, Session
from metalfoundry.lab.kubernetes.api_server import MemoryStore

SERVER = "127.0.0.1:6443"
"""What kubectl's messages call the API server."""


class KubectlServer:
    """Serves the stand-in from one store, from `start` to `stop`; usable as a context manager.

    `faults` makes things go wrong on cue; `calls` is every command line that came, in order.
    """

    def __init__(self, store: MemoryStore, faults: Faults | None = None) -> None:
        self.store = store
        self.faults = faults or Faults()
        self.calls: list[tuple[str, ...]] = []
        self._folder: Path | None = None
        self._socket: socket.socket | None = None
        self._quiet = threading.Condition()
        self._live: set[threading.Event] = set()

    @property
    def address(self) -> str:
        """The socket's path; only its owner can reach it."""
        if self._folder is None:
            raise RuntimeError("the door is not open")
        return str(self._folder / "door")

    def start(self) -> KubectlServer:
        """Begin to listen."""
        self._folder = Path(tempfile.mkdtemp(prefix="mf-door-"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.address)
        self._socket.listen(128)
        threading.Thread(target=self._serve, args=(self._socket,), name="lab-door", daemon=True).start()
        return self

    def install(self, folder: Path) -> Path:
        """Write the executable `kubectl` that speaks to this door into `folder`; returns its path."""
        return client_script.install(folder, self.address)

    def stop(self) -> None:
        """Listen no more; calls under way end."""
        if self._socket is None or self._folder is None:
            return
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._socket = None
        with self._quiet:
            for gone in self._live:
                gone.set()
        self.store.wake()
        shutil.rmtree(self._folder, ignore_errors=True)

    def idle(self, seconds: float) -> bool:
        """Wait until no call is under way, for at most `seconds`; say whether that is so."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._live, seconds)

    def __enter__(self) -> KubectlServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._call, args=(caller,), name="lab-kubectl", daemon=True).start()

    def _call(self, caller: socket.socket) -> None:
        gone = threading.Event()
        with self._quiet:
            self._live.add(gone)
        try:
            with caller:
                self._answer(caller, gone)
        except OSError:
            gone.set()
        finally:
            with self._quiet:
                self._live.discard(gone)
                self._quiet.notify_all()

    def _answer(self, caller: socket.socket, gone: threading.Event) -> None:
        line = _Line(caller)
        argv = [os.fsdecode(word) for word in line.receive().split(b"\0")]
        with self._quiet:
            self.calls.append(tuple(argv))

        def hung_up() -> None:
            gone.set()
            self.store.wake()

        session = Session(
            self.store,
            self.faults,
            SERVER,
            out=lambda text: line.send(b"o", text),
            err=lambda text: line.send(b"e", text),
            read=line.read,
            gone=gone,
            attend=lambda: line.attend(hung_up),
        )
        line.finish(run(session, argv))


class _Line:
    """The frames of one call: a letter, a length of four bytes, and as many bytes."""

    def __init__(self, caller: socket.socket) -> None:
        self._caller = caller

    def receive(self) -> bytes:
        """One message of the stand-in; raises ConnectionError when it hangs up."""
        return self._exactly(int.from_bytes(self._exactly(4), "big"))

    def send(self, letter: bytes, text: str) -> None:
        """Have `text` printed: `o` on stdout, `e` on stderr."""
        if text:
            self._frame(letter, text.encode("utf-8", "surrogateescape"))

    def read(self, path: str) -> bytes | None:
        """What a file (or stdin) of the stand-in's holds; None where there is none."""
        self._frame(b"r", os.fsencode(path))
        answer = self.receive()
        return answer[1:] if answer[:1] == b"+" else None

    def attend(self, hung_up: Callable[[], None]) -> None:
        """Call `hung_up` as soon as the stand-in is gone, or the call is over."""
        threading.Thread(target=self._attend, args=(hung_up,), name="lab-hangup", daemon=True).start()

    def finish(self, status: int) -> None:
        """Give the exit status; the call is over."""
        self._frame(b"x", bytes((status,)))
        self._caller.shutdown(socket.SHUT_RDWR)

    def _attend(self, hung_up: Callable[[], None]) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed on this side: as good as a hang-up
            select.select([self._caller], [], [])
        hung_up()

    def _frame(self, letter: bytes, data: bytes) -> None:
        self._caller.sendall(letter + len(data).to_bytes(4, "big") + data)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._caller.recv(size)
            if not part:
                raise ConnectionError("the stand-in hung up")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
