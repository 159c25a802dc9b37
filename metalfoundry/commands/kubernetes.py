"""Readers of what else is looked at when something hangs: Deployments, Events, BMC Jobs, Flux, and the machine's
surroundings. Reading never fails: an absent or strange field is None or empty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.actions import items, mapping, text
from metalfoundry.model.states import BmcState, GuardState

_PARTS = ("smee", "boots", "rufio", "hook")
_VERSION = re.compile(r"[:@-]v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:-([0-9A-Za-z.-]+))?$")


@dataclass(frozen=True, slots=True)
class Version:
    """A Tinkerbell release; `build` is what follows its number (a build between this release and the next)."""

    number: tuple[int, int, int]
    build: str = ""

    @staticmethod
    def of(image: str) -> Version | None:
        """The version in an image's tag; None where the tag is none (`latest`, `sha-…`)."""
        found = _VERSION.search(image)
        return Version((int(found[1]), int(found[2]), int(found[3])), found[4] or "") if found else None

    def __str__(self) -> str:
        shown = "v" + ".".join(str(part) for part in self.number)
        return f"{shown}-{self.build}" if self.build else shown


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Deployment of the control plane: its first container's image, and how many of its pods are ready."""

    name: str
    image: str
    ready: int
    wanted: int

    @staticmethod
    def of(obj: Mapping[str, Any]) -> Deployment:
        """Read a Deployment (apps/v1)."""
        spec = mapping(obj.get("spec"))
        containers = items(mapping(mapping(spec.get("template")).get("spec")).get("containers"))
        return Deployment(
            name=text(mapping(obj.get("metadata")).get("name")),
            image=text(containers[0].get("image")) if containers else "",
            ready=_count(mapping(obj.get("status")).get("readyReplicas"), 0),
            wanted=_count(spec.get("replicas"), 1),
        )

    @property
    def is_controller(self) -> bool:
        """Whether the Workflow controller runs in it: alone (`tink-controller`), or in the one program of v0.17 on."""
        return (
            "tink-controller" in self.name or "tink-controller" in self.image or _repository(self.image) == "tinkerbell"
        )

    @property
    def is_part(self) -> bool:
        """Whether an installation needs it: any part of Tinkerbell, or the web server of HookOS's files."""
        return self.is_tinkerbell or any(word in f"{self.name} {self.image}" for word in _PARTS)

    @property
    def is_tinkerbell(self) -> bool:
        """Whether its image's version is Tinkerbell's."""
        name = _repository(self.image)
        return name == "tinkerbell" or name.startswith("tink-")


@dataclass(frozen=True, slots=True)
class KubernetesEvent:
    """An Event of Kubernetes about one object; `time` RFC 3339."""

    type: str
    reason: str
    message: str
    about: str
    time: str

    @staticmethod
    def of(obj: Mapping[str, Any]) -> KubernetesEvent:
        """Read an Event (v1)."""
        about = mapping(obj.get("involvedObject"))
        return KubernetesEvent(
            type=text(obj.get("type")),
            reason=text(obj.get("reason")),
            message=text(obj.get("message")),
            about=f"{text(about.get('kind'))}/{text(about.get('name'))}",
            time=text(obj.get("lastTimestamp") or obj.get("eventTime")),
        )


@dataclass(frozen=True, slots=True)
class BmcJob:
    """A Job or Task of Rufio. `state`: a BmcState, or empty; `message` says why it failed."""

    kind: str
    name: str
    machine: str
    created: str
    state: str
    message: str

    @staticmethod
    def of(obj: Mapping[str, Any]) -> BmcJob:
        """Read a Job or Task (bmc.tinkerbell.org)."""
        meta, spec = mapping(obj.get("metadata")), mapping(obj.get("spec"))
        held = [item for item in items(mapping(obj.get("status")).get("conditions")) if item.get("status") == "True"]
        by_type = {text(item.get("type")): text(item.get("message")) for item in held}
        state = next((word for word in (BmcState.FAILED, BmcState.COMPLETED, BmcState.RUNNING) if word in by_type), "")
        return BmcJob(
            kind=text(obj.get("kind")),
            name=text(meta.get("name")),
            machine=text(mapping(spec.get("machineRef")).get("name")),
            created=text(meta.get("creationTimestamp")),
            state=state,
            message=by_type.get(state, ""),
        )


@dataclass(frozen=True, slots=True)
class Flux:
    """The Kustomization that writes the Hardware object; `applied` is RFC 3339."""

    name: str
    namespace: str
    suspended: bool
    applied: str = ""

    @staticmethod
    def of(obj: Mapping[str, Any]) -> Flux:
        """Read a Kustomization (kustomize.toolkit.fluxcd.io)."""
        meta = mapping(obj.get("metadata"))
        ready = [item for item in items(mapping(obj.get("status")).get("conditions")) if item.get("type") == "Ready"]
        return Flux(
            name=text(meta.get("name")),
            namespace=text(meta.get("namespace")),
            suspended=mapping(obj.get("spec")).get("suspend") is True,
            applied=text(ready[0].get("lastTransitionTime")) if ready else "",
        )


@dataclass(frozen=True, slots=True)
class Container:
    """A container on the machine, as `docker ps -a` says."""

    name: str
    status: str
    image: str

    @property
    def running(self) -> bool:
        """Whether it is up."""
        return self.status.lower().startswith(("up", "running"))


@dataclass(frozen=True, slots=True)
class MachineProbe:
    """One machine at one moment: its own words, and what stands around it.

    Free root disk in MiB. `skew`: seconds by which its clock is ahead of the jump host's. `grpc`: whether the port of
    its grpc_authority takes connections. None: not looked at. `addresses` are those of all interfaces, loopback left
    out.
    """

    facts: MachineFacts
    containers: tuple[Container, ...] | None = None
    disk_free: float | None = None
    grpc: bool | None = None
    skew: float | None = None
    addresses: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class GuardSeen:
    """The guard of a claim: the run it holds the window for, and the Hardware."""

    run: str
    hardware: str
    state: GuardState

    @property
    def alive(self) -> bool:
        """Whether it will close the window."""
        return self.state is GuardState.GUARDING


def read_containers(listing: str) -> tuple[Container, ...]:
    """Lines of `docker ps -a --format '{{.Names}}\\t{{.Status}}\\t{{.Image}}'`."""
    rows = (line.split("\t") for line in listing.splitlines() if line.strip())
    return tuple(Container(row[0], row[1], row[2]) for row in rows if len(row) >= 3)


def _repository(image: str) -> str:
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def _count(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
