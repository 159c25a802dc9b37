"""From Template and hardware map to the tasks of a Workflow's status, as tink-controller 0.21 renders them."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import yaml

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.gotemplate import GoTemplate, Unfilled

_IMAGE = re.compile(
    r"[a-z0-9]+([._:-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class RenderError(Exception):
    """The Template cannot be rendered; the text is what the Workflow's condition says."""


def ulid() -> str:
    """An ID such as tink-controller gives to tasks and actions."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5))


def render(workflow: str, data: str, values: Mapping[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """Global timeout in seconds and the tasks for `.status`; raises RenderError."""
    text = _fill(workflow, data, values)
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = (error.problem or "").replace("not allowed here", "not allowed in this context")
        raise RenderError(f"parsing yaml data: err: yaml: line {line}: {problem}, content: {text}") from error
    if not isinstance(document, dict):
        raise RenderError(f"parsing yaml data: err: yaml: unmarshal errors, content: {text}")
    tasks = document.get("tasks") or []
    _check(document, tasks)
    return int(document.get("global_timeout") or 0), [_task(task) for task in tasks]


def template_values(spec: Mapping[str, Any], hardware: Mapping[str, Any]) -> dict[str, Any]:
    """What a Template sees: the hardware map's keys, and `.Hardware`, whose Disks are device names."""
    disks = [disk["device"] for disk in hardware["spec"].get("disks", [])]
    return {**spec.get("hardwareMap", {}), "Hardware": {"Disks": disks, **hardware["spec"]}}


def _fill(workflow: str, data: str, values: Mapping[str, Any]) -> str:
    broken = f"failed to parse template with ID {workflow}: err: template: workflow-template:"
    try:
        return GoTemplate(data, {"formatPartition": _partition}, strict=True).render(dict(values))
    except UnknownForm as error:
        raise RenderError(f"{broken} the lab does not know {error}") from error
    except Unfilled as error:
        before = data[: error.at]
        spot = f"{before.count(chr(10)) + 1}:{error.at - (before.rfind(chr(10)) + 1)}"
        raise RenderError(
            f'{broken}{spot}: executing "workflow-template" at <{error.expression}>: '
            f'map has no entry for key "{error.key}"'
        ) from error


def _partition(device: str, number: int) -> str:
    return f"{device}p{number}" if device[-1:].isdigit() else f"{device}{number}"


def _check(document: Mapping[str, Any], tasks: list[dict[str, Any]]) -> None:
    name = str(document.get("name") or "")
    if not 0 < len(name) <= 200:
        raise RenderError(
            "validating workflow template: name cannot be empty or have more than 200 characters: " + name
        )
    if not tasks:
        raise RenderError("validating workflow template: template must have at least one task defined")
    for task in tasks:
        seen: set[str] = set()
        for action in task.get("actions") or []:
            image, called = str(action.get("image") or ""), str(action.get("name") or "")
            if not _IMAGE.fullmatch(image):
                raise RenderError(
                    f"validating workflow template: invalid action image ({image}): invalid reference format"
                )
            if called in seen:
                raise RenderError(
                    f"validating workflow template: two actions in a task cannot have same name: {called}"
                )
            seen.add(called)
        if not task.get("worker"):
            raise RenderError("failed to render template, empty hardware address")


def _task(task: Mapping[str, Any]) -> dict[str, Any]:
    rendered = {
        "actions": [_action(action) for action in task.get("actions") or []],
        "agentID": str(task["worker"]),
        "id": ulid(),
        "name": str(task["name"]),
    }
    return rendered | {key: task[key] for key in ("environment", "volumes") if task.get(key)}


def _action(action: Mapping[str, Any]) -> dict[str, Any]:
    rendered = {
        "id": ulid(),
        "image": str(action["image"]),
        "name": str(action["name"]),
        "state": "PENDING",
        "timeout": int(action.get("timeout") or 0),
    }
    if action.get("environment"):
        rendered["environment"] = {key: str(value) for key, value in action["environment"].items()}
    return rendered | {key: action[key] for key in ("command", "pid", "volumes") if action.get(key)}
