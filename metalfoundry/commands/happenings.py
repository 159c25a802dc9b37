"""What a patch on a Hardware does, told to everybody as a Kubernetes Event on it: `kubectl describe hardware` shows it.

It is read off the patch itself, so that an Event cannot tell anything else than was done.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metalfoundry.commands import claims
from metalfoundry.commands.annotate import pointer
from metalfoundry.commands.claims import WindowNote, stamp
from metalfoundry.commands.history import HISTORY, past_runs
from metalfoundry.commands.kubectl import FIELD_MANAGER, Kubectl
from metalfoundry.commands.script import Part
from metalfoundry.model.resources import Hardware

EVENT = "event"
MOST_LETTERS = 1000  # the API server takes 1024 bytes
SECONDS = 5
_LONGEST_NAME = 200
_ENDS = {
    "provisioned": "Provisioned",
    "failed": "ProvisionFailed",
    "interrupted": "Interrupted",
    "broken": "ClaimBroken",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that was done to a server: the Event's reason and message, and whether it is a warning."""

    reason: str
    message: str
    warning: bool = False


def happening(operations: Sequence[Mapping[str, Any]], who: str) -> Happening | None:
    """What these operations of commands/netboot.py do, by `who`; None where it is nothing that others need to know."""
    run, window, history = pointer(claims.RUN), pointer(claims.WINDOW), pointer(HISTORY)
    removed = {op["path"] for op in operations if op["op"] == "remove"}  # perhaps added before, so as to be there
    added = {op["path"]: op.get("value") for op in operations if op["op"] == "add" and op["path"] not in removed}
    held = next((str(op["value"]) for op in operations if op["op"] == "test" and op["path"] == run and op["value"]), "")
    note = WindowNote.from_annotations({claims.WINDOW: str(added.get(window, ""))})
    why = f": {note.reason}" if note.reason else ""
    pxe = {value for path, value in added.items() if path.endswith("/netboot/allowPXE")}
    if added.get(run, held) != held:
        return Happening("Claimed", f"claimed by {who} for the run {added[run]}{why}")
    if run in removed and held:
        return _end(str(added.get(history, "")), who, held)
    if True in pxe:
        text = f"netboot opened by {who} for the run {held}, until {note.expires} at the latest{why}"
        return Happening("NetbootOpened", text)
    if False in pxe:
        return Happening("NetbootClosed", f"netboot closed by {who}{f' for the run {held}' if held else ''}")
    return None


def _end(history: str, who: str, run: str) -> Happening:
    last = next(iter(past_runs(Hardware.of({"metadata": {"annotations": {HISTORY: history}}}))), None)
    if last is None:
        return Happening("Released", f"given back by {who} after the run {run}, with netboot closed")
    text = f"the run {last.run} of {last.who} ended as {last.verdict}{f': {last.cause}' if last.cause else ''}"
    return Happening(_ENDS.get(last.verdict, "Released"), text, last.verdict != "provisioned")


def event(kubectl: Kubectl, name: str, uid: str, told: Happening, when: datetime) -> Part:
    """The part that creates it, after the patch and only where that was applied; it gives up after SECONDS."""
    at, about = stamp(when), {"apiVersion": "tinkerbell.org/v1alpha1", "kind": "Hardware", "name": name}
    manifest = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name[:_LONGEST_NAME]}.{secrets.token_hex(8)}", "namespace": kubectl.namespace},
        "involvedObject": about | {"namespace": kubectl.namespace} | ({"uid": uid} if uid else {}),
        "type": "Warning" if told.warning else "Normal",
        "reason": told.reason,
        "message": _short(told.message),
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
    words = kubectl.argv("create", "-f", "-", "-o", "name", "--validate=false", f"--request-timeout={SECONDS}s")
    return Part(EVENT, words, json.dumps(manifest), after="patch")


def _short(text: str) -> str:
    whole = text.encode(errors="replace")
    return text if len(whole) <= MOST_LETTERS else whole[:MOST_LETTERS].decode(errors="ignore") + "…"
