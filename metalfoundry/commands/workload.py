"""How a Deployment of one pod stands: its form, its pod, the end of its log, and what hinders it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metalfoundry.commands.kubectl import Kubectl, read_list
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.model.actions import items, mapping, text

DEPLOYMENTS = "deployments.v1.apps"

ADMISSION, IMAGE, START, ROOM = "admission", "image", "start", "room"
_WAITING = dict.fromkeys(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"), IMAGE
) | dict.fromkeys(
    ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"), START
)
_UNDER_WAY = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment as it stands.

    `available`: its one pod is of its present form, and ready. `annotations` are those of its pods' template. `pod`:
    the newest pod's name, and `since` (RFC 3339) when it began; "" where there is none. `lines` are the end of its log.
    `trouble`: why it is not available, in the cluster's words; `cause`: of what kind that is: admission, image, start
    (none of which passes by itself), room, or "".
    """

    available: bool
    annotations: Mapping[str, Any]
    image: str
    pod: str
    since: str
    restarts: int
    lines: tuple[str, ...]
    trouble: str = ""
    cause: str = ""


def look(kubectl: Kubectl, name: str, selector: str) -> list[Part]:
    """Read the Deployment, its pods and the end of their log."""
    return [
        kubectl.get(DEPLOYMENTS, name),
        Part("pods", kubectl.argv("get", "pods", "-l", selector, "-o", "json")),
        Part("log", kubectl.argv("logs", "-l", selector, "--tail=500")),  # by its Deployment it would wait for a pod
    ]


def read(outcomes: Mapping[str, Outcome]) -> Workload | None:
    """The reader of `look`; None where there is no Deployment. Pods and log may be missing. Raises ValueError when the
    Deployment is no JSON.
    """
    found = read_list(outcomes["object"])
    if not found:
        return None
    deployment = found[0]
    template = mapping(mapping(deployment.get("spec")).get("template"))
    container = next(iter(items(mapping(template.get("spec")).get("containers"))), {})
    pods = read_list(outcomes["pods"]) if "pods" in outcomes and outcomes["pods"].ok else []
    pod = max(pods, key=_age, default={})
    lines = outcomes["log"].stdout.splitlines() if "log" in outcomes and outcomes["log"].ok else []
    available = _available(deployment)
    trouble, cause = ("", "") if available else next(_troubles(deployment, pod, lines), ("", ""))
    return Workload(
        available=available,
        annotations=mapping(mapping(template.get("metadata")).get("annotations")),
        image=text(container.get("image")),
        pod=text(mapping(pod.get("metadata")).get("name")),
        since=text(mapping(pod.get("status")).get("startTime")),
        restarts=sum(_whole(status.get("restartCount")) for status in _statuses(pod)),
        lines=tuple(lines),
        trouble=trouble,
        cause=cause,
    )


def _available(deployment: Mapping[str, Any]) -> bool:
    status, meta = mapping(deployment.get("status")), mapping(deployment.get("metadata"))
    if _whole(status.get("observedGeneration")) < _whole(meta.get("generation")):
        return False
    return all(_whole(status.get(key)) == 1 for key in ("replicas", "updatedReplicas", "availableReplicas"))


def _troubles(deployment: Mapping[str, Any], pod: Mapping[str, Any], lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What hinders it, in the cluster's words, and of what kind that is: the nearest to the cause first."""
    for condition in items(mapping(deployment.get("status")).get("conditions")):
        if (condition.get("type"), condition.get("status")) == ("ReplicaFailure", "True"):
            yield text(condition.get("message")), ADMISSION
    for status in _statuses(pod):
        waiting = mapping(mapping(status.get("state")).get("waiting"))
        reason = text(waiting.get("reason"))
        if reason and reason not in _UNDER_WAY:
            ended = mapping(mapping(status.get("lastState")).get("terminated"))
            why = f"{text(ended.get('reason'))}, exit code {text(ended.get('exitCode'))}" if ended else ""
            words = (reason, text(waiting.get("message")), why, lines[-1] if ended and lines else "")
            yield ": ".join(filter(None, words)), _WAITING.get(reason, "")
    for condition in items(mapping(pod.get("status")).get("conditions")):
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            yield text(condition.get("message")), ROOM


def _statuses(pod: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return items(mapping(pod.get("status")).get("containerStatuses"))


def _age(pod: Mapping[str, Any]) -> tuple[bool, str]:
    meta = mapping(pod.get("metadata"))
    return "deletionTimestamp" not in meta, text(meta.get("creationTimestamp"))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
