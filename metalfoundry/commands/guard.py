"""What is said to the guard (guard.sh) on the jump host, and the reader of what it answers.

Every sub-command is the whole script on the stdin of `sh -s`, with assignments in front: nothing of it stands in
argv, and nothing has to be installed on the jump host. docs/guard.md says what each one promises.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.commands.reading import whole
from metalfoundry.commands.script import Part

_END = "METALFOUNDRY_GUARD"
REFUSED_BY_LOGIND = 6


def ask(kubectl: Kubectl, hardware: str, run: str, renewal: int, wait: int) -> Part:
    """See that a guard of this version is there, and wait up to `wait` seconds until one acknowledges that renewal of
    the claim.
    """
    words = {"HARDWARE": hardware, "RUN": run, "RENEWAL": str(renewal), "WAIT": str(wait)}
    return Part("guard", ("sh", "-s"), _text("start", kubectl, words))


def ring(kubectl: Kubectl) -> Part:
    """See that a guard of this version is there, and have it look at once; nothing waits for what it says."""
    return Part("guard", ("sh", "-s"), _text("start", kubectl, {}))


def status(kubectl: Kubectl) -> Part:
    """What the guard on the jump host is, and does."""
    return Part("guards", ("sh", "-s"), _text("status", kubectl, {}))


def log(kubectl: Kubectl) -> Part:
    """The last lines of its log."""
    return Part("log", ("sh", "-s"), _text("log", kubectl, {}))


def stop(kubectl: Kubectl, force: bool) -> Part:
    """End it; where it has claims only by `force`, and then their windows are closed."""
    return Part("stop", ("sh", "-s"), _text("stop", kubectl, {"FORCE": "yes"} if force else {}))


@dataclass(frozen=True, slots=True)
class GuardSeen:
    """The guard on the jump host. `state`: guarding, stuck (there, but silent for two minutes) or none.

    `since`: seconds since it began; `claims` that it has; `closed`: the last line of its log about a close; `log`: its
    last line.
    """

    state: str
    guard: str = ""
    pid: str = ""
    version: str = ""
    since: int | None = None
    claims: int | None = None
    closed: str = ""
    log: str = ""


def read_status(stdout: str) -> GuardSeen:
    """The reader of `status`."""
    words = read_words(stdout)
    there = words.get("state") in ("guarding", "stuck")
    return GuardSeen(
        state=words["state"] if there else "none",
        guard=words.get("guard", ""),
        pid=words.get("pid", "") if there else "",
        version=words.get("version", "") if there else "",
        since=whole(words.get("since", "")) if there else None,
        claims=whole(words.get("claims", "")) if there else None,
        closed=words.get("closed", ""),
        log=words.get("log", ""),
    )


def read_words(stdout: str) -> Mapping[str, str]:
    """The `key=value` lines of the sub-commands; a value goes to the end of its line."""
    pairs = (line.partition("=") for line in stdout.splitlines())
    return {key: value for key, equals, value in pairs if equals}


def script() -> str:
    """The guard itself."""
    return files("metalfoundry.commands").joinpath("guard.sh").read_text(encoding="utf-8")


def version() -> str:
    """Which script it is: another one takes its place."""
    return _hash(script())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(action: str, kubectl: Kubectl, more: Mapping[str, str]) -> str:
    spelt = shlex.join(kubectl.words)  # another spelling may be another cluster
    place = kubectl.namespace if spelt == "kubectl" else f"{kubectl.namespace}-{_hash(spelt)}"
    words = {"NAMESPACE": kubectl.namespace, "PLACE": place, "KUBECTL": spelt, "VERSION": version()}
    lines = [f"{name}={shlex.quote(value)}" for name, value in ({**words, **more, "ACTION": action}).items()]
    return "\n".join(
        [*lines, f"guard_text() {{ cat <<'{_END}'\n{script().rstrip()}\n{_END}\n}}", 'eval "$(guard_text)"', ""]
    )
