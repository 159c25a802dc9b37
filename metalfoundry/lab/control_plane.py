"""What else stands in the lab's cluster: the control plane's pod and Deployment."""

from __future__ import annotations

from metalfoundry.lab.kubernetes.store import Object

IMAGE = "ghcr.io/tinkerbell/tinkerbell:v0.21.0"
_LABELS = {"app": "tinkerbell"}


def pod(name: str) -> Object:
    """The pod whose log is the control plane's."""
    return {
        "metadata": {"name": name, "labels": _LABELS},
        "spec": {"containers": [{"name": "tinkerbell", "image": IMAGE}]},
        "status": {"phase": "Running"},
    }


def deployment() -> Object:
    """The deployment that owns it."""
    return {
        "metadata": {"name": "tinkerbell", "labels": _LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": pod("")["spec"]},
        },
        "status": {"readyReplicas": 1, "replicas": 1},
    }


def is_open(hardware: Object) -> bool:
    """Whether any interface may netboot."""
    return any(item.get("netboot", {}).get("allowPXE") for item in hardware["spec"]["interfaces"])
