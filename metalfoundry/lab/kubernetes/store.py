"""What the lab needs of a cluster: a few verbs of the Kubernetes API on the objects of one namespace.

api_server.py is the embedded one; the tests have another for a real kube-apiserver. Objects are plain dicts as
`kubectl get -o json` shows them; a caller may keep and change what it is given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

Object = dict[str, Any]
Objects = list[Object]


class StoreError(Exception):
    """The store refused. `reason` and `code` are kube-apiserver's; `causes` holds one `field: what` for each fault."""

    reason = "InternalError"
    code = 500
    causes: tuple[str, ...] = ()


class NotFound(StoreError):
    """No such object."""

    reason, code = "NotFound", 404


class AlreadyExists(StoreError):
    """`create` of a name that exists."""

    reason, code = "AlreadyExists", 409


class Conflict(StoreError):
    """`replace` with an old resourceVersion."""

    reason, code = "Conflict", 409


class Invalid(StoreError):
    """A patch that cannot be applied, or an object that breaks the schema."""

    reason, code = "Invalid", 422


class Store(Protocol):
    """`kind` is the plural: hardware, templates, workflows, pods, events, ..."""

    def get(self, kind: str, name: str) -> Object:
        """The object; raises NotFound."""

    def list(self, kind: str) -> list[Object]:
        """All objects of the kind, by name."""

    def create(self, kind: str, obj: Object) -> Object:
        """Store a new object and return it with uid, resourceVersion, creationTimestamp; raises AlreadyExists."""

    def replace(self, kind: str, obj: Object) -> Object:
        """Store a changed object; raises NotFound, and Conflict when its resourceVersion is not the newest."""

    def patch(self, kind: str, name: str, operations: Objects) -> Object:
        """Apply a JSON patch as kube-apiserver does; raises NotFound, Invalid."""

    def delete(self, kind: str, name: str) -> Object:
        """Remove the object and return its last form; raises NotFound."""

    def watch(self, kind: str, stop: threading.Event) -> Iterator[tuple[str, Object]]:
        """Yield ("ADDED", object) for all that exists, then (ADDED|MODIFIED|DELETED, object) until `stop` is set."""
