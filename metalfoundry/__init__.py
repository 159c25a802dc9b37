"""Re-install bare-metal servers through Tinkerbell, over SSH, with netboot open no longer than needed.

The front door is Foundry (foundry.py); what a run can raise is drawn in model/errors.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metalfoundry.model.errors import MetalfoundryError

if TYPE_CHECKING:
    from metalfoundry.foundry import Foundry
    from metalfoundry.model.events import Record
    from metalfoundry.model.inventory import Inventory, load
    from metalfoundry.runs.options import Identity, Options
    from metalfoundry.runs.plan import Plan
    from metalfoundry.runs.report import Report
    from metalfoundry.runs.status import Row

__all__ = [
    "Foundry",
    "Identity",
    "Inventory",
    "MetalfoundryError",
    "Options",
    "Plan",
    "Record",
    "Report",
    "Row",
    "load",
]

_HOME = {
    "Foundry": "foundry",
    "Identity": "runs.options",
    "Inventory": "model.inventory",
    "Options": "runs.options",
    "Plan": "runs.plan",
    "Record": "model.events",
    "Report": "runs.report",
    "Row": "runs.status",
    "load": "model.inventory",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: `fab --list` needs none of them."""
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
