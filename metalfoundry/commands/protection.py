"""Protection: an annotation on the Hardware that keeps the server from being installed, and says why."""

from __future__ import annotations

from typing import Any

from metalfoundry.commands import annotate
from metalfoundry.commands.claims import RUN
from metalfoundry.model.resources import PROTECTED, Hardware


def protect(hardware: Hardware, reason: str | None) -> list[dict[str, Any]]:
    """Protect the object as it was read, or (None) no longer: refused when somebody has claimed it, or changed its
    protection, in between. Empty where it is so already.
    """
    return annotate.change(hardware, PROTECTED, reason, {RUN: hardware.annotations.get(RUN)})
