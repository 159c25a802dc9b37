"""A lab on OpenSSH's sshd and a real kube-apiserver, where a test may end a lease."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metalfoundry.lab.kubernetes.store import Store, StoreError
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import Scenario
from tests.real.kube import Kube
from tests.real.sshd import SshdJump
from tests.realtier import need_kubectl
from tests.waiting import until

__all__ = ["Seen", "is_open", "lease_over", "real_lab", "until", "watched"]


def real_parts(kube: Kube, folder: Path, namespace: str, version: str = "1.33") -> dict[str, Any]:
    """What makes a Lab of the real cluster, OpenSSH's sshd and kubectl of that version."""
    config = kube.kubeconfig(folder / "kubeconfig", namespace=namespace)
    return {
        "store": kube.store(namespace),
        "namespace": namespace,
        "kubectl": need_kubectl(version),
        "environment": {"KUBECONFIG": str(config)},
        "jump": SshdJump,
    }


@contextmanager
def real_lab(kube: Kube, folder: Path, story: str | Scenario, speed: float, servers: Sequence[str]) -> Iterator[Lab]:
    """Such a lab, in a namespace of its own."""
    namespace = f"real-{os.urandom(4).hex()}"
    with Lab(folder / "lab", story, speed, servers, **real_parts(kube, folder, namespace)) as lab:
        yield lab


def lease_over(store: Store, name: str) -> None:
    """The claim on a server, if there is one, has lasted as long as it may."""
    path = "/metadata/annotations/metalfoundry.dev~1lease"
    with suppress(StoreError):
        store.patch("hardware", name, [{"op": "test", "path": path, "value": "600"},
                                       {"op": "add", "path": path, "value": "0"}])  # fmt: skip


@dataclass
class Seen:
    """When what was first seen in the cluster, by server: seconds of one monotonic clock."""

    running: dict[str, float] = field(default_factory=dict)
    boot_action: dict[str, float] = field(default_factory=dict)
    opened: dict[str, float] = field(default_factory=dict)
    closed: dict[str, float] = field(default_factory=dict)  # the last close

    def workflows(self, obj: dict[str, Any], now: float) -> None:
        name, status = obj["spec"]["hardwareRef"], obj.get("status", {})
        if status.get("state") == "RUNNING":
            self.running.setdefault(name, now)
            current = status.get("currentState", {})
            if (current.get("actionName"), current.get("state")) == ("reboot-into-os", "RUNNING"):
                self.boot_action.setdefault(name, now)

    def hardware(self, obj: dict[str, Any], now: float) -> None:
        name = obj["metadata"]["name"]
        if _is_open(obj):
            self.opened.setdefault(name, now)
            self.closed.pop(name, None)
        elif name in self.opened:
            self.closed.setdefault(name, now)


@contextmanager
def watched(store: Store) -> Iterator[Seen]:
    """Follow all Hardware and Workflows of a namespace."""
    seen, stop = Seen(), threading.Event()

    def follow(kind: str, take: Callable[[dict[str, Any], float], None]) -> None:
        while not stop.is_set():
            with suppress(StoreError):  # a watch that was idle too long
                for event, obj in store.watch(kind, stop):
                    if event != "DELETED":
                        take(obj, time.monotonic())

    pairs = (("workflows", seen.workflows), ("hardware", seen.hardware))
    threads = [threading.Thread(target=follow, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    yield seen
    stop.set()
    for thread in threads:
        thread.join(10)


def is_open(store: Store, name: str) -> bool:
    """Whether the server would be installed at its next boot."""
    return _is_open(store.get("hardware", name))


def _is_open(obj: dict[str, Any]) -> bool:
    return any(interface.get("netboot", {}).get("allowPXE") for interface in obj["spec"]["interfaces"])
