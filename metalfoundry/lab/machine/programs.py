"""The programs on a machine's PATH: small sh scripts that show the machine's own files instead of this computer's.

They stand in `scripts` beside this file: `every` system has some, a system on `disk` and `hookos` have some of their
own; mapped.sh is what stands before this computer's own programs. They know from the environment: LAB_ROOT (the
running system's files), LAB_CONTROL (a pipe to the machine), LAB_USER, LAB_IP, LAB_KERNEL. @date@ and the like become
paths of this computer's programs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from metalfoundry.lab.clock import LabError
from metalfoundry.lab.machine.operating_systems import SystemKind

_SCRIPTS = Path(__file__).with_name("scripts")
_SHEBANG = "#!/bin/sh\n"
# Their arguments are mapped, whether the path exists or not; and only where it does.
_MAPPED = ("cat", "ls", "test", "readlink", "find")
_FILTERS = ("grep", "head", "tail", "wc", "sed", "awk", "cut", "sort", "md5sum", "sha256sum")
_PLAIN = (
    *("sh", "date", "sleep", "tr", "uniq", "env", "true", "false", "printf", "echo", "basename", "dirname", "expr"),
    "timeout",
)


def write_stubs(folder: Path, kind: SystemKind) -> Path:
    """Write the programs of a system of that kind into `folder`, made anew, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "inside").mkdir(parents=True)
    tools = {name: _real(name) for name in ("date", "sed", "cat", "tail", "stat")}
    mapped = _script(_SCRIPTS / "mapped.sh")
    for name in (*_MAPPED, *_FILTERS):
        if real := shutil.which(name):
            _put(folder / name, mapped, tools | {"program": real, "absent": "kept" if name in _FILTERS else "mapped"})
    for name in _PLAIN:
        if real := shutil.which(name):
            (folder / name).symlink_to(real)
    for own in ("every", "hookos" if kind is SystemKind.HOOK else "disk"):
        for file in (_SCRIPTS / own).iterdir():
            # In HookOS docker lives inside hook-docker: it is reached through nerdctl or ctr, never directly.
            name = "inside/docker" if file.stem == "docker" else file.stem
            _put(folder / name, _script(file), tools)
    return folder


def _script(file: Path) -> str:
    return file.read_text(encoding="utf-8").removeprefix(_SHEBANG)


def _real(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise LabError(f"the lab needs the program {name!r} on PATH")
    return path


def _put(path: Path, body: str, words: dict[str, str]) -> None:
    for word, meaning in words.items():
        body = body.replace(f"@{word}@", meaning)
    path.write_text(_SHEBANG + body, encoding="utf-8")
    path.chmod(0o755)
