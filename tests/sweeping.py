"""The sweeper's rule (docs/guard.md) on a lab's store; tests/guard and tests/real hold the script itself to it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from metalfoundry.lab.kubernetes.store import Invalid, Object, Store

RUN, WINDOW = "metalfoundry.dev/run", "metalfoundry.dev/window"
KEPT = ("metalfoundry.dev/old-system", "metalfoundry.dev/broken")
FLUX = "kustomize.toolkit.fluxcd.io/reconcile"


def sweep(store: Store, now: datetime) -> list[str]:
    """One pass: close and give back every claim whose `expires` is past; return the names of the Hardware."""
    return [obj["metadata"]["name"] for obj in store.list("hardware") if _expired(obj, now) and sweep_one(store, obj)]


def sweep_one(store: Store, seen: Object) -> bool:
    """Sweep one object as it was `seen` some time ago; False when it has changed meanwhile."""
    notes = seen["metadata"]["annotations"]
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": seen["metadata"]["resourceVersion"]},
        {"op": "test", "path": _note(RUN), "value": notes[RUN]},
    ]
    for index, interface in enumerate(seen["spec"]["interfaces"]):
        if interface.get("netboot", {}).get("allowPXE"):
            base = f"/spec/interfaces/{index}/netboot"
            operations += [
                {"op": "add", "path": f"{base}/{key}", "value": False} for key in ("allowPXE", "allowWorkflow")
            ]
    before = json.loads(notes[WINDOW])["before"]
    if FLUX in before and notes.get(FLUX) == "disabled":
        old = before[FLUX]
        operations.append({"op": "remove", "path": _note(FLUX)} if old is None else
                          {"op": "add", "path": _note(FLUX), "value": old})  # fmt: skip
    for key in [key for key in notes if key.startswith("metalfoundry.dev/") and key not in KEPT]:
        operations.append({"op": "remove", "path": _note(key)})
    try:
        store.patch("hardware", seen["metadata"]["name"], operations)
    except Invalid:
        return False
    return True


def _expired(obj: Object, now: datetime) -> bool:
    notes = obj["metadata"].get("annotations", {})
    return RUN in notes and datetime.fromisoformat(json.loads(notes[WINDOW])["expires"]) < now


def _note(key: str) -> str:
    return "/metadata/annotations/" + key.replace("/", "~1")
