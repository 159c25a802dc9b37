"""Log commands: of the control plane's pods, and of the agent in the installer; and the readers of what they print.

The ladder to the agent's log, best first: docker inside HookOS over its own sshd (installer_probe.sh has the rungs),
what the machine sent to Smee's syslog, tink-server and controller, and the Workflow's status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from metalfoundry.commands.command import Command
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.commands.log_parser import SMEE, WEB, LogLine, read_line, source_of_workload
from metalfoundry.model import redact

AGENT_LOG = ("nerdctl", "-n", "services.linuxkit", "exec", "hook-docker", "docker", "logs", "tink-worker")
_PREFIX = re.compile(r"^\[pod/(?P<pod>[^/\]]+)/(?P<container>[^\]]*)\] (?P<rest>.*)$", re.DOTALL)


def hook_agent_log(tail: int = 50) -> Command:
    """The first rung alone, as a person types it."""
    return Command((*AGENT_LOG, f"--tail={tail}"))


def follow_pod(kubectl: Kubectl, namespace: str, pod: str, since: float) -> Command:
    """Follow one pod's log, from `since` seconds ago on."""
    words = ("-f", "--all-containers", "--prefix", "--timestamps", f"--since={max(1, int(since))}s", "-n", namespace)
    return Command((*kubectl.words, "logs", f"pods/{pod}", *words))


def read_pods(text: str) -> tuple[LogLine, ...]:
    """Lines of `kubectl logs --prefix --timestamps`, in their order; a line without a prefix belongs to none."""
    return tuple(line for line in map(read_pod_line, text.splitlines()) if line is not None)


def read_pod_line(line: str) -> LogLine | None:
    """One of them; None for an empty one."""
    found = _PREFIX.match(line)
    if found is None:
        return read_line(SMEE, line) if line.strip() else None
    name = f"{found['pod']} {found['container']}"
    source = source_of_workload(name, WEB if "hook" in name or "nginx" in name else SMEE)
    read = read_line(source, found["rest"])
    return read if read.text.strip() else None


def without_secrets(lines: Iterable[LogLine | None]) -> Iterator[LogLine | None]:
    """The lines without secrets, as they come; also without one that goes over several lines of one source."""
    readers: dict[tuple[str, str], redact.Reader] = {}
    for line in lines:
        if line is None:
            yield None
            continue
        shown = readers.setdefault((line.source, line.host), redact.Reader()).read(line.text)
        raw = line.raw
        if shown != line.text:
            raw = raw.replace(line.text, shown) if line.text in raw else shown
        yield replace(line, text=shown, raw=redact.text(raw), fields=redact.data(line.fields))


def merged(logs: Iterable[Iterable[LogLine]]) -> list[LogLine]:
    """All lines by time; one that has none stays behind the line before it."""
    keyed = []
    for number, log in enumerate(logs):
        last = ""
        for place, line in enumerate(log):
            last = line.time.isoformat() if line.time else last
            keyed.append((last, number, place, line))
    return [line for _, _, _, line in sorted(keyed, key=lambda item: item[:3])]
