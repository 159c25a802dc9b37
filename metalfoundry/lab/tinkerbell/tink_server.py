"""tink-server's rules (v0.21): which action an agent gets, and what its reports do to the Workflow."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from metalfoundry.lab.clock import MachineClock
from metalfoundry.lab.kubernetes.informer import Informer, amend
from metalfoundry.lab.kubernetes.store import NotFound, Object, Store, StoreError
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog

LIVE = ("PENDING", "RUNNING")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One action as the agent gets it."""

    workflow: str
    uid: str
    task_id: str
    agent_id: str
    action: dict[str, Any] = field(compare=False)


class NoWorkflow(Exception):
    """gRPC NotFound: no Workflow is for this agent. The agent logs it."""


class Refused(Exception):
    """gRPC FailedPrecondition: a Workflow is there and is refused. The agent says nothing."""


class TinkServer:
    """Serves agents from a cache of Workflows; reports are written through to the store.

    `patience` is how long, in machine seconds, GetAction tries again inside before it answers (a minute in life).
    `shadow` is how long a finished Workflow holds up a new one of the same agent, by the agent's ID.
    """

    def __init__(self, store: Store, pace: MachineClock, journal: ControlPlaneLog, patience: float = 3.0) -> None:
        self.shadow: dict[str, float] = {}
        self._store = store
        self._pace = pace
        self._journal = journal
        self._patience = patience
        self._workflows = Informer(store, "workflows")
        self._refused_since: dict[tuple[str, str], float] = {}
        self._random = random.Random(0)

    def start(self) -> None:
        """Begin to follow the Workflows."""
        self._workflows.start()

    def stop(self) -> None:
        """End."""
        self._workflows.stop()

    def get_action(self, agent: str, interrupt: threading.Event) -> Assignment | None:
        """The agent's next action; None when `interrupt` is set. Raises NoWorkflow, Refused after `patience`."""
        ends = time.monotonic() + self._pace.real(self._patience)
        seen, logged = -1, ""
        while not interrupt.is_set():
            try:
                return self._serve(agent)
            except (NoWorkflow, Refused, StoreError) as why:
                if str(why) != logged:
                    logged = str(why)
                    self._journal.get_action(agent, [logged])
                if time.monotonic() >= ends:
                    if isinstance(why, StoreError):
                        raise Refused(str(why)) from why
                    raise
            seen = self._workflows.wait(seen, min(0.05, self._pace.real(0.5)))
        return None

    def _serve(self, agent: str) -> Assignment:
        workflow = self._choose(agent)
        status = workflow["status"]
        task, action = _next(status, agent)
        uid, name = workflow["metadata"]["uid"], workflow["metadata"]["name"]
        current = {
            "actionID": action["id"],
            "actionName": action["name"],
            "agentID": agent,
            "state": action["state"],
            "taskID": task["id"],
            "taskName": task["name"],
        }

        def change(obj: Object) -> bool:
            now = obj.get("status", {})
            if now.get("state") not in LIVE or now.get("currentState") != status.get("currentState"):
                return False
            now["currentState"] = current
            return True

        try:
            written = amend(self._store, "workflows", name, change, uid)
        except NotFound as error:
            raise NoWorkflow("no Workflow found") from error
        if written is None:
            raise Refused("Workflow not in pending or running state")
        job = Assignment(name, uid, task["id"], agent, action)
        self._journal.sending_action(agent, _sent(job, task))
        return job

    def _choose(self, agent: str) -> Object:
        mine = [obj for obj in self._workflows.all() if agent in _agents(obj)]
        if not mine:
            raise NoWorkflow("no Workflow found")
        live = [obj for obj in mine if obj["status"].get("state") in LIVE]
        if not live:
            raise Refused("Workflow not in pending or running state")
        chosen = self._started(live) or self._random.choice(live)
        if len(mine) > len(live):
            self._shadowed(agent, chosen["metadata"]["uid"])
        return chosen

    def _started(self, live: list[Object]) -> Object | None:
        """Between two live Workflows the choice is random, but one that an agent has begun goes on."""
        begun = [obj for obj in live if obj["status"]["state"] == "RUNNING"]
        return begun[0] if begun else None

    def _shadowed(self, agent: str, uid: str) -> None:
        """A finished Workflow of the agent is met first, for a while: the order of the cache is a map's."""
        since = self._refused_since.setdefault((agent, uid), time.monotonic())
        if time.monotonic() - since < self._pace.real(self.shadow.get(agent, 8.0)):
            raise Refused("Workflow not in pending or running state")

    def report(self, job: Assignment, state: str, **times: str) -> None:
        """The agent reports `state` of an action. Raises NoWorkflow when the Workflow is gone or another."""

        def change(obj: Object) -> bool:
            status = obj["status"]
            task = next(task for task in status["tasks"] if task["id"] == job.task_id)
            action = next(action for action in task["actions"] if action["id"] == job.action["id"])
            action.update(times, state=state, message=_MESSAGE[state])
            status["currentState"] = {
                "actionID": action["id"],
                "actionName": action["name"],
                "agentID": job.agent_id,
                "state": state,
                "taskID": task["id"],
                "taskName": task["name"],
            }
            last = status["tasks"][-1] is task and task["actions"][-1] is action
            if state != "SUCCESS":
                status["state"] = state
            elif last:
                status["state"] = "POST"
            return True

        try:
            written = amend(self._store, "workflows", job.workflow, change, job.uid)
        except NotFound as error:
            raise NoWorkflow("error getting workflow: " + str(error)) from error
        if written is None:
            raise NoWorkflow("action not found")


_MESSAGE = {
    "RUNNING": "running action",
    "SUCCESS": "action completed",
    "FAILED": "action completed",
    "TIMEOUT": "action completed",
}


def _agents(workflow: Object) -> set[str]:
    status = workflow.get("status", {})
    return {status.get("agentID", ""), *(task.get("agentID", "") for task in status.get("tasks", []))} - {""}


def _next(status: Object, agent: str) -> tuple[Object, Object]:
    """Task and action to be served; raises Refused by v0.21's rules for an action that was interrupted."""
    steps = [(task, action) for task in status.get("tasks", []) for action in task["actions"]]
    if not steps:
        raise NoWorkflow("no Tasks found in Workflow")
    current = status.get("currentState")
    if current is None:
        found = 0
    else:
        at = next(i for i, (_, action) in enumerate(steps) if action["id"] == current["actionID"])
        if at == 0 and current["state"] == "PENDING":
            found = 0  # handed out before, never begun: handed out again
        elif current["state"] != "SUCCESS":
            raise Refused("current Action not in success state")
        else:
            found = at + 1
    if found >= len(steps):
        raise Refused("Workflow not in pending or running state")
    if steps[found][0].get("agentID") != agent:
        raise NoWorkflow("Task not assigned to Agent")
    return steps[found]


def _sent(job: Assignment, task: Object) -> dict[str, Any]:
    action = job.action
    return {
        "workflow_id": f"tink-system/{job.workflow}",
        "task_id": job.task_id,
        "agent_id": job.agent_id,
        "action_id": action["id"],
        "name": action["name"],
        "image": action["image"],
        "timeout": action["timeout"],
        **({"command": action["command"]} if "command" in action else {}),
        "volumes": [*task.get("volumes", []), *action.get("volumes", [])],
        "environment": [f"{key}={value}" for key, value in action.get("environment", {}).items()],
        "pid": action.get("pid", ""),
    }
