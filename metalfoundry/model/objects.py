"""What all of Tinkerbell's objects have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from metalfoundry.model.actions import mapping, text


def texts(value: Any) -> Mapping[str, str]:
    """A mapping of text to text, read-only; empty where it is absent."""
    return MappingProxyType({text(key): text(item) for key, item in mapping(value).items()})


@dataclass(frozen=True, slots=True)
class Meta:
    """What every object of Kubernetes has."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    created: str
    labels: Mapping[str, str] = field(hash=False)
    annotations: Mapping[str, str] = field(hash=False)

    @staticmethod
    def of(obj: Mapping[str, Any]) -> Meta:
        """Read `metadata`."""
        meta = mapping(obj.get("metadata"))
        return Meta(
            name=text(meta.get("name")),
            namespace=text(meta.get("namespace")),
            uid=text(meta.get("uid")),
            resource_version=text(meta.get("resourceVersion")),
            created=text(meta.get("creationTimestamp")),
            labels=texts(meta.get("labels")),
            annotations=texts(meta.get("annotations")),
        )


@dataclass(frozen=True, slots=True)
class Object:
    """An object with its metadata at hand; `raw` is the JSON it was read from."""

    meta: Meta
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """metadata.name"""
        return self.meta.name

    @property
    def namespace(self) -> str:
        """metadata.namespace"""
        return self.meta.namespace

    @property
    def uid(self) -> str:
        """metadata.uid: another one under the same name is another object."""
        return self.meta.uid

    @property
    def resource_version(self) -> str:
        """metadata.resourceVersion"""
        return self.meta.resource_version

    @property
    def labels(self) -> Mapping[str, str]:
        """metadata.labels"""
        return self.meta.labels

    @property
    def annotations(self) -> Mapping[str, str]:
        """metadata.annotations"""
        return self.meta.annotations
