"""A protected server is refused, by whoever is about to install it."""

from __future__ import annotations

from collections.abc import Mapping

from metalfoundry.model.errors import Declined
from metalfoundry.model.program import ours
from metalfoundry.model.resources import PROTECTED, Hardware


def refuse_protected(protected: Mapping[str, Hardware]) -> None:
    """Raise Declined with the reasons where one of these, by its server's name, must not be installed."""
    kept = {name: hardware for name, hardware in protected.items() if hardware.protected is not None}
    if not kept:
        return
    why = "; ".join(f"{name} is protected: {hardware.protected}" for name, hardware in kept.items())
    names = ",".join(kept)
    step = ours("unprotect", names)
    raise Declined(
        why,
        where=f"annotation {PROTECTED}",
        next=f"leave it alone (with others: --except {names}), or: {step}",
    )
