"""A file that is written whole or not at all: on a full disk, or when we are killed amid, what stood there stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Put `text` in the place of what stands at `path`. A link stays one, and the file keeps its mode.

    Raises OSError, also for what is there and is not a regular file, such as a device.
    """
    file = path.resolve()
    mode = file.stat().st_mode & 0o777 if file.exists() else None
    if mode is not None and not file.is_file():  # /dev/null is a favourite
        raise OSError(errno.EINVAL, "not a regular file")
    new = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
