"""The sweeper as Kubernetes objects: a CronJob with no more rights than it needs, which carries sweeper.sh itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from metalfoundry.commands.kubectl import FIELD_MANAGER, Kubectl
from metalfoundry.commands.script import Part

NAME = "metalfoundry-sweeper"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": FIELD_MANAGER}
DEADLINE_SECONDS = 50
_KINDS = ("cronjobs.v1.batch", "rolebindings.v1.rbac.authorization.k8s.io", "roles.v1.rbac.authorization.k8s.io")


def script() -> str:
    """The text that the CronJob runs."""
    return files("metalfoundry.commands").joinpath("sweeper.sh").read_text(encoding="utf-8")


def manifests(namespace: str, image: str, schedule: str) -> str:
    """ServiceAccount, Role, RoleBinding and CronJob as YAML: for `kubectl apply`, or for a GitOps repository."""
    meta = {"name": NAME, "namespace": namespace, "labels": LABELS}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": meta,
        "rules": [{"apiGroups": ["tinkerbell.org"], "resources": ["hardware"], "verbs": ["get", "list", "patch"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
    objects = [account, role, binding, _cron_job(meta, namespace, image, schedule)]
    return "---\n".join(yaml.dump(one, Dumper=_Blocks, sort_keys=False) for one in objects)


def install(kubectl: Kubectl, image: str, schedule: str) -> Part:
    """Apply all four objects."""
    return kubectl.apply(manifests(kubectl.namespace, image, schedule))


def remove(kubectl: Kubectl) -> list[Part]:
    """Delete all four objects; those that are gone already are fine."""
    kinds = (*_KINDS, "serviceaccounts")
    return [
        Part(f"delete{number}", kubectl.argv("delete", kind, NAME, "--ignore-not-found", "--wait=false"))
        for number, kind in enumerate(kinds)
    ]


def look(kubectl: Kubectl) -> Part:
    """Read the CronJob; empty output when it is not there."""
    return Part("object", kubectl.argv("get", _KINDS[0], NAME, "-o", "json", "--ignore-not-found"))


@dataclass(frozen=True, slots=True)
class SweeperSeen:
    """The CronJob as it stands. Times are RFC 3339, "" before the first run; `current`: it carries this version."""

    schedule: str
    image: str
    suspended: bool
    last_started: str
    last_succeeded: str
    current: bool


def read(cron_job: Mapping[str, Any]) -> SweeperSeen:
    """The reader of `look`'s object."""
    spec, status = cron_job.get("spec", {}), cron_job.get("status", {})
    pod = spec.get("jobTemplate", {}).get("spec", {}).get("template", {}).get("spec", {})
    container: Mapping[str, Any] = next(iter(pod.get("containers", [])), {})
    return SweeperSeen(
        schedule=str(spec.get("schedule", "")),
        image=str(container.get("image", "")),
        suspended=bool(spec.get("suspend")),
        last_started=str(status.get("lastScheduleTime") or ""),
        last_succeeded=str(status.get("lastSuccessfulTime") or ""),
        current=container.get("command") == _command(),
    )


def _command() -> list[str]:
    return ["sh", "-c", script()]


def _cron_job(meta: Mapping[str, Any], namespace: str, image: str, schedule: str) -> dict[str, Any]:
    container = {
        "name": "sweeper",
        "image": image,
        "command": _command(),
        "env": [{"name": "NAMESPACE", "value": namespace}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {"serviceAccountName": NAME, "restartPolicy": "Never", "containers": [container]}
    job = {"activeDeadlineSeconds": DEADLINE_SECONDS, "backoffLimit": 0, "template": {"spec": pod}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": dict(meta),
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 30,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": job},
        },
    }


class _Blocks(yaml.SafeDumper):
    """Texts of several lines as blocks, so that the script can be read; no anchors for what is said twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        return True

    def text(self, value: str) -> yaml.Node:
        """A string."""
        return self.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Blocks.add_representer(str, _Blocks.text)
