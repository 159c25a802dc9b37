"""The two parties to the contract: the stand-in on its store, and real kubectl on a real API server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metalfoundry.lab.kubectl.server import KubectlServer
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Object, Store
from tests.contract.table import NAMESPACE
from tests.real.kube import Kube

KINDS = ("hardware", "templates", "workflows", "serviceaccounts", "pods", "deployments")
OF_BMCS = ("machines.bmc.tinkerbell.org", "jobs.bmc.tinkerbell.org", "tasks.bmc.tinkerbell.org")
_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink")
_CHANGING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r'resourceVersion(": ?"|: ")\d+"'), r"resourceVersion\1N"),
    (re.compile(r"127\.0\.0\.1:\d+"), "SERVER"),
)


@dataclass(frozen=True)
class Answer:
    """What one command line gave, and what it left in the cluster."""

    status: int
    stdout: Any
    stderr: str
    objects: Any


class Party:
    """One kubectl and the cluster behind it."""

    def __init__(self, program: Path, store: Store, environment: dict[str, str]) -> None:
        self.program = program
        self.store = store
        self.environment = {"PATH": "/usr/bin:/bin", **environment}

    def say(self, argv: Sequence[str], stdin: str = "") -> Answer:
        done = subprocess.run(
            [str(self.program), *argv], input=stdin, capture_output=True, text=True, env=self.environment, timeout=60
        )
        return Answer(done.returncode, scrubbed(done.stdout), _faults_in_order(_plain(done.stderr)), self.objects())

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.program), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def objects(self) -> Any:
        return {kind: [scrub(obj) for obj in self.store.list(kind)] for kind in KINDS}

    def empty(self) -> None:
        for kind in (*KINDS, *OF_BMCS):
            for obj in self.store.list(kind):
                if obj["metadata"]["name"] != "default":
                    self.store.delete(kind, obj["metadata"]["name"])


def standin(door: KubectlServer, store: MemoryStore, folder: Path) -> Party:
    return Party(door.install(folder / "bin"), store, {})


def real(kube: Kube, program: Path, folder: Path, user: str = "admin") -> Party:
    config = kube.kubeconfig(folder / f"kubeconfig-{user}", user)
    store = kube.store(NAMESPACE)
    return Party(program, store, {"KUBECONFIG": str(config), "HOME": os.environ.get("KUBECTL_HOME", str(folder))})


def scrub(value: Any) -> Any:
    """Without what the API server alone decides."""
    if isinstance(value, list):
        return [scrub(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept: Object = {key: scrub(each) for key, each in value.items() if key not in _OWN}
    if value.get("kind") in ("ServiceAccount",):
        kept["metadata"].pop("generation", None)
    return kept


def scrubbed(text: str) -> Any:
    """Stdout for comparison: JSON (one document, or one a line) by value, anything else as text."""
    try:
        return scrub(json.loads(text))
    except ValueError:
        pass
    lines = text.splitlines()
    if lines and all(line.startswith("{") and line.endswith("}") for line in lines):
        try:
            return [scrub(json.loads(line)) for line in lines]
        except ValueError:
            pass
    return _plain(text)


def _faults_in_order(text: str) -> str:
    """Several faults of one object, a line each, in one order: the API server tells them in any."""
    lines = text.split("\n")
    faults = sorted(line for line in lines if line.startswith("* "))
    return "\n".join(faults.pop(0) if line.startswith("* ") else line for line in lines)


def _plain(text: str) -> str:
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text
