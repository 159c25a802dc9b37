"""The guard in the cluster as Kubernetes objects: a Deployment with no more rights than it needs, its script in a
ConfigMap, and the reader of how it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from metalfoundry.commands.guard import script, version
from metalfoundry.commands.kubectl import FIELD_MANAGER, Kubectl, Refusal, read_list, refusal
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.model.actions import items, mapping, text

NAME = "metalfoundry-guard"
GUARD = f"{NAME}@cluster"
VERSION = "metalfoundry.dev/guard-version"
SWEEPER = "metalfoundry-sweeper"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": FIELD_MANAGER}
SELECTOR = f"app.kubernetes.io/name={NAME}"
RULES = (
    {"apiGroups": ["tinkerbell.org"], "resources": ["hardware"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": ["tinkerbell.org"], "resources": ["workflows"], "verbs": ["get", "list", "watch"]},
)
NOBODY = 65534
SCRIPT, FOLDER = "/metalfoundry", "/tmp"
DEPLOYMENTS = "deployments.v1.apps"
_RBAC = ("rolebindings.v1.rbac.authorization.k8s.io", "roles.v1.rbac.authorization.k8s.io", "serviceaccounts")
_OURS = (DEPLOYMENTS, *_RBAC, "configmaps")
_SWEEPERS = ("cronjobs.v1.batch", *_RBAC)
_SWEEPER = re.compile(rf"[a-z.0-9]+/{SWEEPER}")

ADMISSION, IMAGE, START, RIGHTS, ROOM = "admission", "image", "start", "rights", "room"
LASTING = (ADMISSION, IMAGE, START, RIGHTS)  # no waiting mends these
_WAITING = dict.fromkeys(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"), IMAGE
) | dict.fromkeys(
    ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"), START
)
_UNDER_WAY = ("ContainerCreating", "PodInitializing")


def manifests(namespace: str, image: str, kubectl: Sequence[str]) -> str:
    """All five objects as YAML, the rights first: for `kubectl apply`, or for a GitOps repository. `kubectl` are its
    words in that image.
    """
    meta = {"name": NAME, "namespace": namespace, "labels": LABELS}
    rbac, group = {"apiVersion": "rbac.authorization.k8s.io/v1"}, "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    reference = {"apiGroup": group, "kind": "Role", "name": NAME}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "automountServiceAccountToken": False},
        {**rbac, "kind": "Role", "metadata": meta, "rules": list(RULES)},
        {**rbac, "kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"guard.sh": script()}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": _deployment(image, kubectl)},
    ]
    return "---\n".join(yaml.dump(item, Dumper=_Blocks, sort_keys=False, width=120) for item in objects)


def _deployment(image: str, kubectl: Sequence[str]) -> dict[str, Any]:
    return {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
        "template": {
            "metadata": {"labels": LABELS, "annotations": {VERSION: version()}},
            "spec": _pod(image, kubectl),
        },
    }


def _pod(image: str, kubectl: Sequence[str]) -> dict[str, Any]:
    lost = [f"node.kubernetes.io/{state}" for state in ("not-ready", "unreachable")]
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
            *(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}  # default: 300
                for key in lost
            ),
        ],
        "containers": [_container(image, kubectl)],
        "volumes": [
            {"name": "script", "configMap": {"name": NAME}},
            {"name": "folder", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _container(image: str, kubectl: Sequence[str]) -> dict[str, Any]:
    words = {
        "GUARD": GUARD,
        "KUBECTL": " ".join(kubectl),
        "BOUND": "",  # with --request-timeout kubectl would not use the ServiceAccount
        "DIR": FOLDER,
        "HOME": FOLDER,
        "PACE": "2",
        "HANG": "10",
    }
    told = {"NAMESPACE": "metadata.namespace", "VERSION": f"metadata.annotations['{VERSION}']"}
    return {
        "name": "guard",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", f'ln -sf /dev/stdout "$DIR/log"; exec sh {SCRIPT}/guard.sh run'],
        "env": [
            *({"name": name, "value": value} for name, value in words.items()),
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in told.items()),
        ],
        "livenessProbe": _probe("pass", minutes=2) | {"periodSeconds": 30, "failureThreshold": 2},
        "readinessProbe": _probe("read", minutes=1) | {"periodSeconds": 5, "failureThreshold": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "script", "mountPath": SCRIPT, "readOnly": True},
            {"name": "folder", "mountPath": FOLDER},
        ],
    }


def _probe(file: str, minutes: int) -> dict[str, Any]:
    """Whether the guard has touched that file of its folder lately."""
    look = f'[ -n "$(find {FOLDER}/{file} -mmin -{minutes})" ]'
    return {"exec": {"command": ["sh", "-c", look]}, "timeoutSeconds": 10}


def install(kubectl: Kubectl, image: str, words: Sequence[str]) -> Part:
    """Apply all five objects."""
    return kubectl.apply(manifests(kubectl.namespace, image, words))


def remove(kubectl: Kubectl) -> list[Part]:
    """Delete all five objects; those that are gone already are fine."""
    return _delete(kubectl, [f"{kind}/{NAME}" for kind in _OURS])


def find_sweeper(kubectl: Kubectl) -> Part:
    """Look for the CronJob that closed windows before there was a guard in the cluster, and for what belongs to it."""
    names = [f"{kind}/{SWEEPER}" for kind in _SWEEPERS]
    return Part("sweeper", kubectl.argv("get", *names, "-o", "name", "--ignore-not-found"))


def read_sweeper(outcome: Outcome) -> list[str]:
    """What `find_sweeper` found, as KIND/NAME; what it may not see is left out."""
    return [line for line in outcome.stdout.splitlines() if _SWEEPER.fullmatch(line)]


def remove_sweeper(kubectl: Kubectl, names: Sequence[str]) -> list[Part]:
    """Delete what `find_sweeper` found."""
    return _delete(kubectl, names)


def _delete(kubectl: Kubectl, names: Sequence[str]) -> list[Part]:
    words = ("--ignore-not-found", "--wait=false")
    return [Part(f"delete{number}", kubectl.argv("delete", name, *words)) for number, name in enumerate(names)]


def look(kubectl: Kubectl) -> list[Part]:
    """Read the Deployment, its pods and the end of their log."""
    return [
        kubectl.get(DEPLOYMENTS, NAME),
        Part("pods", kubectl.argv("get", "pods", "-l", SELECTOR, "-o", "json")),
        Part("log", kubectl.argv("logs", "-l", SELECTOR, "--tail=500")),  # by its Deployment it would wait for a pod
    ]


@dataclass(frozen=True, slots=True)
class GuardDeployment:
    """The guard in the cluster as it stands.

    `guarding`: the pod of the Deployment's present form has read everything within the last minute. `current`: it
    carries this version's script. `since`: RFC 3339, when its pod began, "" where there is none. `closed` and `log`:
    the last line about a close, and the last line, of its log. `trouble`: why it does not guard, in the cluster's
    words; `cause`: of what kind that is: admission, image, start, rights (none of which passes by itself), room, or "".
    """

    guarding: bool
    current: bool
    version: str
    image: str
    pod: str = ""
    since: str = ""
    restarts: int = 0
    closed: str = ""
    log: str = ""
    trouble: str = ""
    cause: str = ""


def read(outcomes: Mapping[str, Outcome]) -> GuardDeployment | None:
    """The reader of `look`; None where there is no Deployment. Pods and log may be missing. Raises ValueError when the
    Deployment is no JSON.
    """
    found = read_list(outcomes["object"])
    if not found:
        return None
    deployment = found[0]
    template = mapping(mapping(deployment.get("spec")).get("template"))
    carried = text(mapping(mapping(template.get("metadata")).get("annotations")).get(VERSION))
    container = next(iter(items(mapping(template.get("spec")).get("containers"))), {})
    pods = read_list(outcomes["pods"]) if "pods" in outcomes and outcomes["pods"].ok else []
    pod = max(pods, key=_age, default={})
    lines = outcomes["log"].stdout.splitlines() if "log" in outcomes and outcomes["log"].ok else []
    guarding = _available(deployment)
    trouble, cause = ("", "") if guarding else next(_troubles(deployment, pod, lines), ("", ""))
    return GuardDeployment(
        guarding=guarding,
        current=carried == version(),
        version=carried,
        image=text(container.get("image")),
        pod=text(mapping(pod.get("metadata")).get("name")),
        since=text(mapping(pod.get("status")).get("startTime")),
        restarts=sum(_whole(status.get("restartCount")) for status in _statuses(pod)),
        closed=next((line for line in reversed(lines) if " closed " in line), ""),
        log=lines[-1] if lines else "",
        trouble=trouble,
        cause=cause,
    )


def _available(deployment: Mapping[str, Any]) -> bool:
    """Whether its one pod is of its present form, and ready."""
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
    for line in [line for line in lines if " api-away " in line or line.endswith(" api-back")][-1:]:
        if " api-away " in line:
            refused = refusal(1, line) is Refusal.FORBIDDEN
            yield line.partition(" api-away ")[2], RIGHTS if refused else ""


def _statuses(pod: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return items(mapping(pod.get("status")).get("containerStatuses"))


def _age(pod: Mapping[str, Any]) -> tuple[bool, str]:
    meta = mapping(pod.get("metadata"))
    return "deletionTimestamp" not in meta, text(meta.get("creationTimestamp"))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


class _Blocks(yaml.SafeDumper):
    """Texts of several lines as blocks, so that the script can be read; no anchors for what is said twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        return True

    def text(self, value: str) -> yaml.Node:
        """A string."""
        return self.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Blocks.add_representer(str, _Blocks.text)
