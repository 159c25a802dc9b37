"""The program that lies as `kubectl` on the lab's jump host: it hands its words to the door and prints the answer.

It knows nothing of kubectl itself; what is known is in `metalfoundry.lab.kubectl`, on the other side of the door.
It is written to start fast: no site, no imports but os, sys and the bare socket.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

UNKNOWN_FORM = 64
"""Exit status for a form of kubectl that the stand-in does not know."""

_PROGRAM = r"""#!/bin/sh
''':'
exec @PYTHON@ -S -E -s "$0" "$@"
'''
import os
import sys
from _signal import SIG_DFL, SIGINT, SIGPIPE, signal
from _socket import AF_UNIX, SOCK_STREAM, socket

ADDRESS = @ADDRESS@
REFUSED = "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?\n"


def receive(door, size):
    parts = []
    while size:
        part = door.recv(min(size, 1 << 20))
        if not part:
            raise OSError("the door closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def contents(path):
    chunks = []
    try:
        number = 0 if path in (b"/dev/stdin", b"-") else os.open(path, os.O_RDONLY)
        while True:
            chunk = os.read(number, 1 << 20)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
    except OSError:
        return None


def send(door, data):
    door.sendall(len(data).to_bytes(4, "big") + data)


def write(number, data):
    while data:
        data = data[os.write(number, data):]


def main():
    door = socket(AF_UNIX, SOCK_STREAM)
    try:
        door.connect(ADDRESS)
        send(door, b"\0".join(os.fsencode(word) for word in sys.argv[1:]))
        while True:
            head = receive(door, 5)
            data = receive(door, int.from_bytes(head[1:], "big"))
            if head[:1] == b"x":
                return data[0]
            if head[:1] == b"r":
                text = contents(data)
                send(door, b"-" if text is None else b"+" + text)
            else:
                write(1 if head[:1] == b"o" else 2, data)
    except OSError:
        os.write(2, REFUSED.encode())
        return 1


signal(SIGPIPE, SIG_DFL)
signal(SIGINT, SIG_DFL)
os._exit(main())
"""


def program(address: str, python: str = sys.executable) -> str:
    """The text of a `kubectl` that speaks to the door at `address` (a unix socket's path)."""
    return _PROGRAM.replace("@PYTHON@", shlex.quote(python)).replace("@ADDRESS@", repr(address))


def install(folder: Path, address: str) -> Path:
    """Write an executable `kubectl` into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "kubectl"
    path.write_text(program(address))
    path.chmod(0o755)
    return path
