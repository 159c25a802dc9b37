"""Logs as they grow: of the agent over SSH and of the control plane's pods, each taken up again when it ends.

A stream says where it reads by a line of its own, whose source is `metalfoundry`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from metalfoundry.commands import gather, log_commands
from metalfoundry.commands.command import Command
from metalfoundry.commands.kubectl import read_only
from metalfoundry.commands.log_parser import AGENT, LogLine, read_line, read_log
from metalfoundry.commands.script import read_script
from metalfoundry.model.errors import CommandError, PreflightError, TransportError
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.site.site import Site
from metalfoundry.site.stream import TICK_SECONDS
from metalfoundry.transport.clock import Deadline

TELLER = "metalfoundry"
AGAIN_SECONDS = 1.0
ANSWER_SECONDS = 3.0
FOLLOW_SECONDS = 7 * 86400.0
REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the control plane."""

    namespace: str
    name: str


def hook_log(site: Site, host: Host, tail: int, deadline: Deadline) -> tuple[LogLine, ...]:
    """The agent's log as the mission's own command gives it, else by the other ways into HookOS.

    Raises TransportError where the machine does not answer, PreflightError where it has no such log.
    """
    bounded = deadline.within(ANSWER_SECONDS)
    first = site.transport.run(host, log_commands.hook_agent_log(tail), bounded)
    if first.ok:
        return read_log(AGENT, first.stdout + first.stderr)
    result = site.transport.run(host, gather.agent_log(tail), deadline.within(ANSWER_SECONDS))
    outcome = read_script(result.stdout).get("agent")
    if reason := gather.why_not(outcome):
        raise PreflightError(reason, where=host.name, next=ours("troubleshoot", host.name))
    return read_log(AGENT, outcome.stdout if outcome else "")


def machine_host(site: Site, server: Server, address: str | None) -> Host:
    """The machine whoever it is: HookOS makes a new host key at each boot."""
    return server.host(site.inventory.site, address).anybody


def pods(site: Site, name: str, deadline: Deadline) -> list[Pod]:
    """The control plane's pods. Raises PreflightError, with another way to the logs of `name`, where none is seen."""
    command = read_only(gather.pods(), functions=gather.cluster_functions(site.kubectl))
    outcome = read_script(site.transport.run(site.jump, command, deadline).stdout).get("pods")
    if reason := gather.why_not(outcome):
        raise PreflightError(
            reason, where=f"namespace {site.kubectl.namespace}", next=ours("logs", name, "--source", "hook")
        )
    rows = [line.split(" ") for line in (outcome.stdout if outcome else "").splitlines()]
    return [Pod(row[0], row[1]) for row in rows if len(row) > 1]


def follow_hook(site: Site, host: Host, tail: int) -> Iterator[LogLine | None]:
    """The agent's log through every reboot of the machine; None in silence. Never ends by itself."""
    told = _Told()
    while not site.cancel.is_set():
        try:
            for line in _lines(site, host, gather.follow_agent(tail)):
                if line is None:
                    yield None
                    continue
                yield from told.once(f"reading the agent's log on {host.name} over SSH")
                yield read_line(AGENT, line)
            yield from told.once(f"{host.name} has no agent's log now; waiting for the installer")
        except TransportError as error:
            yield from told.once(f"{host.name} is not heard over SSH ({type(error).__name__}); trying again")
        yield None
        site.clock.wait(AGAIN_SECONDS, site.cancel)


def follow_pod(site: Site, pod: Pod, since: float, ours: Callable[[LogLine], bool]) -> Iterator[LogLine | None]:
    """One pod's log, as far as it is `ours`, through every end of the stream; None in silence."""
    told = _Told()
    begun = site.clock.now()
    last = None
    while not site.cancel.is_set():
        back = since + site.clock.now().mono - begun.mono
        try:
            yield from told.once(f"reading {pod.name} by kubectl logs")
            for text in _lines(site, site.jump, log_commands.follow_pod(site.kubectl, pod.namespace, pod.name, back)):
                line = log_commands.read_pod_line(text) if text else None
                if line is None or (last and line.time and line.time <= last):
                    yield None
                    continue
                last = line.time or last
                if ours(line):
                    yield line
        except TransportError as error:
            yield from told.once(f"{pod.name} is not heard ({type(error).__name__}); trying again")
        yield None
        site.clock.wait(AGAIN_SECONDS, site.cancel)


def together(site: Site, streams: Sequence[Callable[[], Iterator[LogLine | None]]]) -> Iterator[LogLine | None]:
    """All streams in the order in which their lines come.

    A line that comes again, by another way or after a stream was taken up anew, is left out: its time tells it.
    """
    said: deque[tuple[str, datetime, str]] = deque(maxlen=REMEMBERED)
    for arrived in site.merge(streams, TICK_SECONDS):
        line = arrived[1] if arrived else None
        if line is not None and line.time is not None:
            key = (line.source, line.time, line.text)
            if key in said:
                continue
            said.append(key)
        yield line


class _Told:
    """Says something once, until something else is to be said."""

    def __init__(self) -> None:
        self._last = ""

    def once(self, text: str) -> Iterator[LogLine]:
        if text != self._last:
            self._last = text
            yield LogLine(None, TELLER, text, raw=text)


def _lines(site: Site, host: Host, command: Command) -> Iterator[str | None]:
    deadline = Deadline.after(site.clock, FOLLOW_SECONDS)
    with suppress(CommandError):  # the container is gone, or never was there: as good as an end
        yield from site.lookout.follow(host, command, deadline, TICK_SECONDS)
