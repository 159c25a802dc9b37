"""Tinkerbell's objects as the library sees them: frozen views on the JSON of any version since tink 0.8.

The object itself stays in `raw`, whole and untouched, so that what is not known here is not lost. Reading never
fails: an absent or strange field is None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metalfoundry.model import templates
from metalfoundry.model.actions import Action, actions_of, boot_action, items, mapping, text
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.foreign import from_json
from metalfoundry.model.names import is_address
from metalfoundry.model.objects import Meta, Object
from metalfoundry.model.workflows import Condition, Current, Workflow

__all__ = ["Action", "Condition", "Current", "Hardware", "Interface", "Meta", "Object", "Template", "Workflow"]

FLUX_NAME = "kustomize.toolkit.fluxcd.io/name"
FLUX_NAMESPACE = "kustomize.toolkit.fluxcd.io/namespace"
ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
FLUX_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
AGENT_ATTRIBUTES = "tinkerbell.org/agent-attributes"
PROTECTED = "metalfoundry.dev/protected"
TEMPLATE_LABEL = "metalfoundry.dev/template"


@dataclass(frozen=True, slots=True)
class Interface:
    """One of a Hardware's interfaces; `mac` in lower case. None means that the object does not say.

    Without a `netboot` block, and with `allow_pxe` None, netboot is closed.
    """

    index: int
    mac: str
    address: str | None
    hostname: str | None
    has_netboot: bool
    allow_pxe: bool | None
    allow_workflow: bool | None


@dataclass(frozen=True, slots=True)
class Hardware(Object):
    """A Hardware object."""

    interfaces: tuple[Interface, ...] = ()
    bmc_ref: str | None = None
    agent_id: str | None = None

    @staticmethod
    def of(obj: Mapping[str, Any]) -> Hardware:
        """Read a Hardware object."""
        spec = mapping(obj.get("spec"))
        found = enumerate(items(spec.get("interfaces")))
        return Hardware(
            meta=Meta.of(obj),
            raw=obj,
            interfaces=tuple(_interface(index, item) for index, item in found),
            bmc_ref=text(mapping(spec.get("bmcRef")).get("name")) or None,
            agent_id=text(spec.get("agentID")) or None,
        )

    @property
    def flux_managed(self) -> bool:
        """Whether Flux writes this object, and would take `netboot` away."""
        return FLUX_NAME in self.labels

    @property
    def flux_paused(self) -> bool:
        """Whether Flux has been told to leave this one object alone."""
        return self.annotations.get(FLUX_RECONCILE) == "disabled"

    @property
    def flux_owner(self) -> str:
        """The Kustomization of Flux that writes this object, as NAMESPACE/NAME."""
        return "/".join(filter(None, (self.labels.get(FLUX_NAMESPACE), self.labels.get(FLUX_NAME))))

    @property
    def argo_application(self) -> str:
        """The Application of Argo CD that writes this object; empty where none does."""
        return self.annotations.get(ARGO_TRACKING, "").partition(":")[0]

    @property
    def protected(self) -> str | None:
        """Why it must not be installed; None where it may."""
        reason = self.annotations.get(PROTECTED)
        return reason if reason is None else reason.strip() or "no reason given"

    @property
    def serial(self) -> str:
        """The machine's serial number, where Tinkerbell's discovery wrote down what an agent told; else empty."""
        attributes = from_json(self.annotations.get(AGENT_ATTRIBUTES, ""))
        return text(mapping(mapping(attributes).get("product")).get("serialNumber"))

    @property
    def macs(self) -> tuple[str, ...]:
        """The MACs of its interfaces, in lower case."""
        return tuple(interface.mac for interface in self.interfaces if interface.mac)

    @property
    def agents(self) -> tuple[str, ...]:
        """Every id by which this machine's agent may ask for work: agentID and MACs, in lower case."""
        return tuple(dict.fromkeys(filter(None, ((self.agent_id or "").lower(), *self.macs))))

    def newer_than(self, other: Hardware) -> bool:
        """Whether this was written after `other`: by resourceVersion, opaque in theory, etcd's revision in practice."""
        ours, theirs = self.resource_version, other.resource_version
        return not (ours.isdigit() and theirs.isdigit()) or int(ours) > int(theirs)

    def interface_for(self, mac: str | None) -> int:
        """The index of the interface with this MAC, else 0; raises PreflightError where there are no interfaces."""
        if not self.interfaces:
            raise PreflightError(
                "the Hardware object has no interfaces, so there is nothing to netboot",
                where=f"Hardware {self.namespace}/{self.name}",
                next="give it spec.interfaces with dhcp.mac",
            )
        wanted = (mac or "").lower()
        return next((interface.index for interface in self.interfaces if interface.mac == wanted), 0)

    def mac_for(self, mac: str | None) -> str:
        """The MAC of the interface that netboots; raises as `interface_for`."""
        return self.interfaces[self.interface_for(mac)].mac

    def open_interfaces(self) -> tuple[Interface, ...]:
        """Every interface that may netboot now."""
        return tuple(interface for interface in self.interfaces if interface.allow_pxe)

    @property
    def address(self) -> str | None:
        """interfaces[0].dhcp.ip.address"""
        return self.interfaces[0].address if self.interfaces else None


@dataclass(frozen=True, slots=True)
class Template(Object):
    """A Template; `data` is its text, with Go's braces in it."""

    data: str = field(default="", repr=False)

    @staticmethod
    def of(obj: Mapping[str, Any]) -> Template:
        """Read a Template object."""
        return Template(meta=Meta.of(obj), raw=obj, data=text(mapping(obj.get("spec")).get("data")))

    @property
    def actions(self) -> tuple[Action, ...]:
        """Its actions in order, as far as they can be seen before rendering; read anew at each call."""
        return actions_of(templates.tasks(self.data))

    def boot_action(self) -> str | None:
        """The name of the last action where it reboots or kexecs, else None."""
        return boot_action(self.actions)


def _interface(index: int, item: Mapping[str, Any]) -> Interface:
    dhcp, netboot = mapping(item.get("dhcp")), item.get("netboot")
    allowed = mapping(netboot)
    address = text(mapping(dhcp.get("ip")).get("address"))
    return Interface(
        index=index,
        mac=text(dhcp.get("mac")).lower(),
        address=address if is_address(address) else None,
        hostname=text(dhcp.get("hostname")) or None,
        has_netboot=isinstance(netboot, Mapping),
        allow_pxe=_flag(allowed.get("allowPXE")),
        allow_workflow=_flag(allowed.get("allowWorkflow")),
    )


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
