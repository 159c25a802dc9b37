"""What ssh_config says for one host: told by OpenSSH's own `ssh -G` where there is an ssh(1), else read here.

Only OpenSSH knows every word of its files. Our own reader is for computers without it: it knows Host, Match and
Include, but no Host inside of an Include that stands in another one's block.
"""

from __future__ import annotations

import io
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import paramiko

from metalfoundry.model.hosts import Host

MAX_INCLUDES = 16
SSH_SECONDS = 10.0
_FILES = ("userknownhostsfile", "globalknownhostsfile")
_NEXT_FILE = re.compile(r"\s+(?=[/~%$]|none$)")  # ssh -G does not quote: a blank in a name looks as one between names
_DEFAULT_KEY = re.compile(r"~/\.ssh/id_[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class UserFiles:
    """What SSH looks at on this computer.

    `agent` is the agent's socket; None is no agent. `ssh` are the words that start an ssh(1) which reads the same
    files; none: they are read here.
    """

    home: Path
    ssh_config: tuple[Path, ...]
    system_known_hosts: tuple[Path, ...] = ()
    agent: str | None = None
    ssh: tuple[str, ...] = ()

    @classmethod
    def of_this_user(cls) -> UserFiles:
        """The files that OpenSSH would read for the one who runs this."""
        home, program = Path.home(), shutil.which("ssh")
        same = home == Path(pwd.getpwuid(os.getuid()).pw_dir)  # OpenSSH heeds no $HOME
        return cls(
            home=home,
            ssh_config=(home / ".ssh/config", Path("/etc/ssh/ssh_config")),
            system_known_hosts=(Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2")),
            agent=os.environ.get("SSH_AUTH_SOCK"),
            ssh=(program,) if program and same else (),
        )


def path(word: str, files: UserFiles) -> Path:
    """The path that a word of ssh_config means."""
    return files.home / word[2:] if word.startswith("~/") else Path(word)


def options_of(host: Host, files: UserFiles) -> dict[str, Any]:
    """Values by keyword in lower case, as text; of IdentityFile and the known_hosts files a list of texts, where said.

    Raises ValueError or OSError where the files cannot be used, paramiko's errors included.
    """
    return _told(host, files) if files.ssh else _read(host, files)


def _told(host: Host, files: UserFiles) -> dict[str, Any]:
    words = ["-l", host.user] if host.user else []
    words += ["-p", str(host.port)] if host.port else []
    options: dict[str, Any] = {}
    for line in _ask((*files.ssh, "-G", *words, "--", host.address)).splitlines():
        key, _, value = line.partition(" ")
        if key == "identityfile":
            options.setdefault(key, []).append(value)
        else:
            options[key] = _NEXT_FILE.split(value) if key in _FILES else value
    keys = options.get("identityfile", [])
    if len(keys) > 2 and all(map(_DEFAULT_KEY.fullmatch, keys)):  # its defaults, which nobody has asked for
        del options["identityfile"]
    return options


@lru_cache(256)
def _ask(words: tuple[str, ...]) -> str:
    """Once for each host: a process takes longer than a look at a machine that is awaited may."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SSH_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"ssh -G does not answer within {SSH_SECONDS:.0f} s") from error
    if done.returncode:
        raise ValueError(" ".join(done.stderr.split()) or f"ssh -G ends with exit status {done.returncode}")
    return done.stdout


class _Config(paramiko.SSHConfig):
    """As paramiko's, with the tokens of paths left in: its own table of them lacks some, and %%."""

    TOKENS_BY_CONFIG_KEY = {  # noqa: RUF012 - as it is there
        key: tokens
        for key, tokens in paramiko.SSHConfig.TOKENS_BY_CONFIG_KEY.items()
        if key in ("hostname", "proxyjump", "match-exec")
    }


def _read(host: Host, files: UserFiles) -> dict[str, Any]:
    config = _Config()
    for file in files.ssh_config:
        if file.is_file():
            config.parse(io.StringIO("\n".join(_lines(file, files, 0)) + "\nHost *\n"))
    options: dict[str, Any] = dict(config.lookup(host.address))
    return options | {key: shlex.split(options[key]) for key in _FILES if key in options}


def _lines(file: Path, files: UserFiles, depth: int) -> Iterator[str]:
    """The file with its Includes written out: paramiko knows none."""
    block = "Host *"
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.replace("=", " ", 1).split(None, 1)
        keyword = words[0].lower() if words else ""
        if keyword != "include":
            block = line if keyword in {"host", "match"} else block
            yield line
        elif depth < MAX_INCLUDES:
            for pattern in shlex.split(words[1]) if len(words) > 1 else ():
                for found in _found(pattern, file, files):
                    yield from _within(block, _lines(found, files, depth + 1))
            yield block  # what follows belongs to the block around the Include again


def _within(block: str, lines: Iterator[str]) -> Iterator[str]:
    """Included lines under the condition of the block around them: for other hosts OpenSSH does not read the file.

    paramiko knows no block in a block: under a condition, a `Host` line in the file other than `Host *` hides what
    follows it.
    """
    yield block
    everywhere, hidden = _condition(block) == ["host", "*"], False
    for line in lines:
        condition = _condition(line)
        if everywhere or condition[:1] not in (["host"], ["match"]):
            if not hidden:
                yield line
        else:
            hidden = condition != ["host", "*"] and line != block
            yield from () if hidden else (block,)


def _condition(line: str) -> list[str]:
    first, *rest = line.replace("=", " ", 1).split() or [""]
    return [first.lower(), *rest]


def _found(pattern: str, file: Path, files: UserFiles) -> list[Path]:
    base = files.home / ".ssh" if files.home in file.parents else file.parent
    relative = (base / path(pattern.replace("%d", str(files.home)), files)).relative_to("/")
    return sorted(found for found in Path("/").glob(str(relative)) if found.is_file())
