"""tink-agent in HookOS: asks for actions, runs them, reports; its log has the shapes of v0.21's."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from metalfoundry.lab.clock import MachineClock, fine_stamp, stamp
from metalfoundry.lab.scenarios import ActionFault, Scenario, Trouble
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog
from metalfoundry.lab.tinkerbell.tink_server import Assignment, NoWorkflow, Refused, TinkServer

CONTAINER = "6f1c0ffee001"
IMAGE_SECONDS, ACTION_SECONDS = 1.5, 1.0
BETWEEN = 0.5  # the server's cache lags behind a report, so the next action comes a little later
_WRITERS = ("image2disk", "oci2disk", "qemuimg2disk", "archive2disk")
_BOOTS = ("reboot", "kexec")


class AgentMachine(Protocol):
    """What an agent's actions do to the machine they run on."""

    def wipe(self) -> None:
        """The disk is being written: what was on it is lost."""

    def written(self, environment: dict[str, str]) -> None:
        """The disk now holds the new system."""

    def reboot(self, *, kexec: bool = False) -> None:
        """Go down now."""

    def power_fails(self) -> bool:
        """Go down as by a cut of power, once in a machine's life; whether it happened."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an action ended: the state to report (empty: never, the machine went down), and the agent's error."""

    state: str
    error: str = ""


class TinkAgent:
    """One run of tink-agent, from one boot of HookOS to its end."""

    def __init__(
        self,
        agent_id: str,
        ip: str,
        scenario: Scenario,
        server: TinkServer,
        pace: MachineClock,
        journal: ControlPlaneLog,
        log: Path,
    ) -> None:
        self._id = agent_id
        self._ip = ip
        self._scenario = scenario
        self._server = server
        self._pace = pace
        self._journal = journal
        self._log = log

    def run(self, body: AgentMachine, down: threading.Event) -> None:
        """Work until the machine goes `down`."""
        self._say("starting Agent", _MAIN, 87, runtime="docker", transport="grpc")
        self._say("starting gRPC transport", _AGENT, 294, server="10.77.0.2:42113", attributes=None)
        self._say("using Docker runtime", _AGENT, 337)
        why = _UNREACHED.get(self._scenario.trouble) if self._scenario.trouble else None
        while why and not down.is_set():
            text = f"error getting action: rpc error: code = Unavailable desc = connection error: desc = {why}"
            self._say("error reading/retrieving action", _AGENT, 96, error=text)
            self._say("backing off", _AGENT, 77, duration="452.958677ms")
            self._pace.wait(0.45 + 2, down)
        while not down.is_set():
            try:
                job = self._server.get_action(self._id, down)
            except NoWorkflow:
                self._say("error reading/retrieving action", _AGENT, 96, error="No workflow found")
                self._say("backing off", _AGENT, 77, duration="452.958677ms")
                self._pace.wait(0.45, down)
            except Refused:
                self._pace.wait(0.45, down)  # v0.21 logs nothing here
            else:
                if job is not None:
                    self._do(job, body, down)
                    self._pace.wait(BETWEEN, down)

    def _do(self, job: Assignment, body: AgentMachine, down: threading.Event) -> None:
        self._say("received action", _AGENT, 102, action=_shown(job))
        if not self._report(job, "RUNNING", {}):
            return
        self._say("reported action status", _AGENT, 111, action=_shown(job), state="running")
        began, clock = datetime.now(UTC), time.monotonic()
        ending = self._execute(job, body, down)
        if not ending.state or down.is_set():
            return
        took = time.monotonic() - clock
        times = {
            "executionStart": stamp(began),
            "executionStop": stamp(began + timedelta(seconds=took)),
            "executionDuration": go_duration(took),
        }
        fine = times | {
            "executionStart": fine_stamp(began),
            "executionStop": fine_stamp(began + timedelta(seconds=took)),
        }
        if ending.error:
            self._say("error executing action", _AGENT, 122, error=ending.error, maxRetries=1, currentTry=1)
        else:
            shown = _shown(job) | {"executionStart": fine["executionStart"]}
            self._say("executed action", _AGENT, 136, action=shown)
        if self._report(job, ending.state, times):
            self._say("reported action status", _AGENT, 153, action=_shown(job) | fine, state=_WORD[ending.state])

    def _report(self, job: Assignment, state: str, times: dict[str, str]) -> bool:
        try:
            self._server.report(job, state, **times)
        except NoWorkflow as error:
            text = (
                f'error reporting action: workflow_id:"tink-system/{job.workflow}"  agent_id:"{self._id}"  '
                f'action_name:"{job.action["name"]}"  action_state:{state}: rpc error: code = NotFound desc = {error}'
            )
            self._say("error writing event", _AGENT, 149, error=text)
            self._say("backing off", _AGENT, 77, duration="452.958677ms")
            return False
        return True

    def _execute(self, job: Assignment, body: AgentMachine, down: threading.Event) -> Ending:
        """Let the action's time pass and do what it does to the machine."""
        action, scenario = job.action, self._scenario
        writes = any(word in action["image"] for word in _WRITERS)
        seconds = (IMAGE_SECONDS if writes else ACTION_SECONDS) * scenario.action_factor
        limit = scenario.action_timeout or action["timeout"]
        fault = scenario.faults.get(action["name"])
        if fault in _ERRORS:
            self._pace.wait(0.3, down)
            return Ending("FAILED", _ERRORS[fault].format(image=action["image"]))
        if fault is ActionFault.POWER_CUT and body.power_fails():
            return Ending("")
        if fault in (ActionFault.TIMEOUT, ActionFault.STUCK):
            seconds = limit if fault is ActionFault.TIMEOUT else 1e6
            limit = min(limit, 3) if fault is ActionFault.TIMEOUT else seconds
        if writes:
            body.wipe()
        if self._pace.wait(min(seconds, limit), down):
            return Ending("")
        if seconds >= limit or limit <= 0:
            return Ending("TIMEOUT", "error starting container: context deadline exceeded")
        return self._finish(action, body, fault)

    def _finish(self, action: dict[str, Any], body: AgentMachine, fault: ActionFault | None) -> Ending:
        environment = action.get("environment", {})
        app = f"tinkerbell_{action['name']}"
        if fault in _COMPLAINTS:
            self._journal.syslog(self._ip, app, _COMPLAINTS[fault], "ERR")
            return Ending("FAILED", "got non 0 exit status, see the logs for more information")
        if any(word in action["image"] for word in _WRITERS):
            self._journal.syslog(self._ip, app, "IMG_URL set")
            text = (
                f"Successfully written image [{environment.get('IMG_URL')}] to device [{environment.get('DEST_DISK')}]"
            )
            self._journal.syslog(self._ip, app, text)
            body.written(environment)
        words = " ".join([action["name"], action["image"], *action.get("command", [])])
        if "waitdaemon" in action["image"]:
            self._reboot_later(float(environment.get("WAIT_SECONDS", 10)), body)
        elif any(word in words for word in _BOOTS):
            body.reboot(kexec="kexec" in words)
            return Ending("")
        self._journal.syslog(self._ip, app, "ok")
        return Ending("SUCCESS")

    def _reboot_later(self, seconds: float, body: AgentMachine) -> None:
        timer = threading.Timer(self._pace.real(seconds), body.reboot)
        timer.daemon = True
        timer.start()

    def _say(self, msg: str, file: str, line: int, **fields: Any) -> None:
        source = {"file": file, "line": line}
        entry = {"time": fine_stamp(), "level": 0, "source": source, "msg": msg, "agentID": self._id, **fields}
        text = json.dumps(entry, separators=(",", ":"))
        with self._log.open("a", encoding="utf-8") as log:
            log.write(text + "\n")
        self._journal.syslog(self._ip, CONTAINER, text)  # docker's log driver names a container by its id


_MAIN = "tinkerbell/cmd/agent/main.go"
_AGENT = "tinkerbell/tink/agent/agent.go"
_WORD = {"SUCCESS": "success", "FAILED": "failure", "TIMEOUT": "timeout"}
_UNREACHED = {
    Trouble.GRPC: '"transport: Error while dialing: dial tcp 10.77.0.2:42113: connect: connection refused"',
    Trouble.TLS: '"transport: authentication handshake failed: tls: first record does not look like a TLS handshake"',
}
_COMPLAINTS = {
    ActionFault.EXIT_CODE: "error mounting [/dev/sda1]: no such file or directory",
    ActionFault.COMPRESSION: "error writing image to disk: unknown compression suffix [.rawgz]",
    ActionFault.COMPLAINS: "chown: invalid user: 'nobody-there'",
}
_ERRORS = {
    ActionFault.PULL_DENIED: "All attempts fail:\n#1: docker: Error response from daemon: pull access denied for "
    "{image}, repository does not exist or may require 'docker login': denied: requested access to the resource is "
    "denied",
    ActionFault.NO_MANIFEST: "All attempts fail:\n#1: docker: Error response from daemon: manifest for {image} "
    "not found: manifest unknown: manifest unknown",
    ActionFault.NO_SPACE: "error creating container: Error response from daemon: No such image: {image}",
}


def _shown(job: Assignment) -> dict[str, Any]:
    return {
        "agent_id": job.agent_id,
        "task_id": job.task_id,
        "workflow_id": f"tink-system/{job.workflow}",
        "id": job.action["id"],
        "name": job.action["name"],
        "image": job.action["image"],
        "timeoutSeconds": job.action["timeout"],
    }


def go_duration(seconds: float) -> str:
    """The two largest units, as the agent prints a duration: `1m2s`, `1s2ms`."""
    left = int(seconds * 1_000_000)
    parts = []
    for unit, size in (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
