"""Workflows, as any Tinkerbell since tink 0.8 reports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from metalfoundry.model.actions import Action, actions_of, boot_action, items, mapping, state, text
from metalfoundry.model.objects import Meta, Object, texts

FINISHED = frozenset({"SUCCESS", "FAILED", "TIMEOUT"})


@dataclass(frozen=True, slots=True)
class Condition:
    """A Workflow's condition. A failed set-up can have status True: read type and message."""

    type: str
    status: str
    reason: str
    message: str
    time: str


@dataclass(frozen=True, slots=True)
class Current:
    """Where a Workflow stands: the action by name, and by index among all its actions where it can be told.

    Its state may be set before any machine is up; only a Workflow in state RUNNING proves an agent.
    """

    name: str
    index: int | None
    state: str


@dataclass(frozen=True, slots=True)
class Workflow(Object):
    """A Workflow. `state` is without STATE_; empty means not rendered yet, and nobody knows why but `conditions`."""

    template_ref: str = ""
    hardware_ref: str = ""
    hardware_map: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    disabled: bool = False
    toggles_netboot: bool = False
    boot_mode: str = ""
    agent_id: str | None = None
    state: str = ""
    actions: tuple[Action, ...] = ()
    current: Current | None = None
    conditions: tuple[Condition, ...] = ()

    @staticmethod
    def of(obj: Mapping[str, Any]) -> Workflow:
        """Read a Workflow object of any version."""
        spec, status = mapping(obj.get("spec")), mapping(obj.get("status"))
        boot = mapping(spec.get("bootOptions"))
        actions = actions_of(status.get("tasks"))
        return Workflow(
            meta=Meta.of(obj),
            raw=obj,
            template_ref=text(spec.get("templateRef")),
            hardware_ref=text(spec.get("hardwareRef")),
            hardware_map=texts(spec.get("hardwareMap")),
            disabled=spec.get("disabled") is True,
            toggles_netboot=boot.get("toggleAllowNetboot") is True,
            boot_mode=text(boot.get("bootMode")),
            agent_id=next(iter(_agents(status)), None),
            state=state(status.get("state")),
            actions=actions,
            current=_current(status, actions),
            conditions=tuple(_condition(item) for item in items(status.get("conditions"))),
        )

    @property
    def agents(self) -> tuple[str, ...]:
        """Every agent that its status names, in whichever places this version has them."""
        return tuple(dict.fromkeys(_agents(mapping(self.raw.get("status")))))

    @property
    def finished(self) -> bool:
        """SUCCESS, FAILED or TIMEOUT. (A late report of the agent can turn a TIMEOUT back to RUNNING.)"""
        return self.state in FINISHED

    @property
    def live(self) -> bool:
        """Not finished: an agent may be served it, now or later. A disabled one that never started is not live."""
        return not self.finished and not (self.disabled and not self.state)

    @property
    def has_run(self) -> bool:
        """Whether an agent has taken up any action."""
        return any(action.state not in {"", "PENDING"} for action in self.actions)

    def boot_action(self) -> str | None:
        """The name of the last rendered action where it reboots or kexecs, else None."""
        return boot_action(self.actions)


def _agents(status: Mapping[str, Any]) -> list[str]:
    """The agents' IDs in whichever places this version has them: the worker's MAC, as a rule."""
    current = mapping(status.get("currentState"))
    told = [status.get("agentID"), current.get("agentID"), current.get("workerID")]
    for task in items(status.get("tasks")):
        told += [task.get("agentID"), task.get("worker")]
    return [text(value) for value in told if value]


def _current(status: Mapping[str, Any], actions: Sequence[Action]) -> Current | None:
    """From currentState (v0.17 on), currentAction (0.11, 0.12), or the states of the actions (before)."""
    said = mapping(status.get("currentState"))
    if said:
        name = text(said.get("actionName"))
        index = _index(actions, text(said.get("actionID")), text(said.get("taskName")), name)
        return Current(name, index, state(said.get("state")))
    name = text(status.get("currentAction"))
    by_state = (i for i, action in enumerate(actions) if action.state not in {"", "PENDING", "SUCCESS"})
    index = _index(actions, "", "", name) if name else next(by_state, None)
    if index is None:
        return Current(name, None, "") if name else None
    return Current(actions[index].name, index, actions[index].state)


def _index(actions: Sequence[Action], id: str, task: str, name: str) -> int | None:
    for index, action in enumerate(actions):
        if id and action.id == id:
            return index
    same = [index for index, action in enumerate(actions) if action.name == name and task in {"", action.task}]
    return same[0] if same else None


def _condition(item: Mapping[str, Any]) -> Condition:
    return Condition(*(text(item.get(key)) for key in ("type", "status", "reason", "message", "time")))
