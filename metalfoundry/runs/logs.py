"""The lines that say something about one machine, from wherever they can be read, merged by time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from metalfoundry.commands.gather import Wanted
from metalfoundry.commands.log_commands import merged, without_secrets
from metalfoundry.commands.log_parser import ACTION, AGENT, BOOTKIT, CONSOLE, CONTROLLER, SERVER, SMEE, WEB, LogLine
from metalfoundry.diagnosis.facts import NotSeen, Seen, about, seen
from metalfoundry.model.errors import MetalfoundryError, UsageError
from metalfoundry.model.inventory import Server
from metalfoundry.runs.build_facts import address_of, concerned, names_of
from metalfoundry.runs.troubleshoot import gathered, known_server
from metalfoundry.site import logs
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import snapshot_cluster
from metalfoundry.transport.clock import Deadline

SOURCES: Mapping[str, tuple[str, ...]] = {
    "auto": (AGENT, BOOTKIT, ACTION, CONSOLE, SMEE, WEB, SERVER, CONTROLLER),
    "hook": (AGENT, BOOTKIT, ACTION, CONSOLE),
    "smee": (SMEE, WEB, ACTION, CONSOLE),
    "server": (SERVER,),
    "controller": (CONTROLLER,),
}
READ_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Which lines: of which source, at most `tail` of them, not older than `since` seconds (None: any)."""

    source: str = "auto"
    since: float | None = None
    tail: int = 200

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UsageError(f"there is no source {self.source!r}", next=f"one of: {', '.join(SOURCES)}")
        if self.tail < 1 or (self.since is not None and self.since <= 0):
            raise UsageError("--tail and --since must be above 0", next="--tail 50 --since 10m")

    @property
    def parts(self) -> tuple[str, ...]:
        """The sources of lines that it means."""
        return SOURCES[self.source]


@dataclass(frozen=True, slots=True)
class Log:
    """What was read. `read` says where from, by source; `unseen` what could not be read, and why."""

    lines: tuple[LogLine, ...]
    read: Mapping[str, str] = field(default_factory=dict, hash=False)
    unseen: Mapping[str, str] = field(default_factory=dict, hash=False)


def fetch(site: Site, name: str, ask: Ask) -> Log:
    """The lines about the server, Hardware or Workflow of this name. Raises as `troubleshoot`.

    Where only the installer is asked for and its sshd answers, that is one command on the machine and nothing else.
    """
    server = known_server(site, name)
    if ask.source == "hook" and server and server.address:
        try:
            host = logs.machine_host(site, server, None)
            lines = logs.hook_log(site, host, ask.tail, Deadline.after(site.clock, READ_SECONDS))
            return Log(_bounded(site, lines, ask), {AGENT: f"ssh {server.name}: docker logs tink-worker"})
        except MetalfoundryError as error:
            reason = error.what
    else:
        reason = ""
    facts = gathered(site, name, READ_SECONDS)
    found = {source: fact for source, fact in facts.logs.items() if source in ask.parts}
    read = {source: fact.source for source, fact in found.items() if seen(fact)}
    unseen = {source: fact.reason for source, fact in found.items() if isinstance(fact, NotSeen)}
    if reason and AGENT in unseen:
        unseen[AGENT] = reason
    known = [fact.value for fact in found.values() if isinstance(fact, Seen)]
    return Log(_bounded(site, merged(known), ask), read, unseen)


def follow(site: Site, name: str, ask: Ask) -> Iterator[LogLine | None]:
    """The same lines as they come, None in silence, until the caller stops; survives reboots and lost links."""
    deadline = Deadline.after(site.clock, READ_SECONDS)
    server = known_server(site, name)
    wanted = Wanted(hardware=server.hardware) if server else Wanted(workflow=name)
    survey = snapshot_cluster(site, replace(wanted, names=(name,)), deadline).survey
    if server is None:
        workflow = survey.workflows.get(name)
        hardware = workflow.hardware_ref if workflow else name
        server = known_server(site, hardware) or Server(name=hardware, hardware=hardware)
    here = survey.hardware.get(server.hardware)
    names = names_of(server.name, server.hardware, here, concerned(survey.workflows.values(), here, server.hardware))

    def ours(line: LogLine) -> bool:
        return line.source in ask.parts and bool(about((line,), [word for word in names if word], agent_speaks=False))

    streams: list[Callable[[], Iterator[LogLine | None]]] = []
    if AGENT in ask.parts:
        host = logs.machine_host(site, server, address_of(here))
        streams.append(partial(logs.follow_hook, site, host, min(ask.tail, 50)))
    if ask.source != "hook" or not streams:
        streams += [
            partial(logs.follow_pod, site, pod, ask.since or 60.0, ours) for pod in logs.pods(site, name, deadline)
        ]
    yield from without_secrets(logs.together(site, streams))


def _bounded(site: Site, lines: tuple[LogLine, ...] | list[LogLine], ask: Ask) -> tuple[LogLine, ...]:
    if ask.since is not None:
        first = site.clock.now().wall - timedelta(seconds=ask.since)
        lines = [line for line in lines if line.time is None or line.time >= first]
    return tuple(line for line in without_secrets(lines[-ask.tail :]) if line)
