"""What proves that netboot is closed: the Hardware object read again, and Smee's own answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metalfoundry.commands import smee
from metalfoundry.site.cluster import Patched


@dataclass(frozen=True, slots=True)
class Proof:
    """Why the window counts as closed: what the Hardware said at which resourceVersion, and what Smee answered.

    `smee` is HTTP status by path (403 and 404 deny); None where Smee is not in the inventory. `at` is UTC, RFC 3339.
    """

    at: str
    hardware: str
    smee: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the report."""
        return {"hardware": self.hardware, "smee": dict(self.smee) if self.smee is not None else None}


def still_open(seen: Patched) -> str:
    """Why this is no proof yet; "" when it is one."""
    if seen.hardware.open_interfaces():
        return f"allowPXE is still true at resourceVersion {seen.hardware.resource_version}"
    if seen.smee is not None and smee.says_open(seen.smee):
        return "the Hardware says closed, but Smee still serves the installer"
    return ""


def smee_words(answers: Mapping[str, int] | None) -> str:
    """Smee's answer in words."""
    if answers is None:
        return "Smee not asked"
    said = {True: "serves the installer", False: "denies", None: "was not heard"}[smee.says_open(answers)]
    return f"Smee {said} ({', '.join(str(status or 'no answer') for status in answers.values())})"
