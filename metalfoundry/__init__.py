"""Re-install bare-metal servers through Tinkerbell, over SSH, with netboot open no longer than needed.

All that a caller needs is here; docs/library.md says what each name is. The front door is Foundry (foundry.py); what a
run can raise is drawn in model/errors.py.
"""

# isort: skip_file
# fmt: off
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalfoundry.commands.bmc import BmcMachine
    from metalfoundry.commands.guard import GuardSeen
    from metalfoundry.commands.guard_cluster import GuardDeployment
    from metalfoundry.commands.history import HistoryEntry
    from metalfoundry.commands.log_parser import LogLine
    from metalfoundry.diagnosis.check import Check, CheckState
    from metalfoundry.diagnosis.findings import Evidence, Finding
    from metalfoundry.foundry import Foundry
    from metalfoundry.lab.lab import Lab
    from metalfoundry.model.bus import Sink
    from metalfoundry.model.errors import (
        ApiAway, AuthError, ClaimedError, CommandError, ConnectError, DeadlineExceeded, Declined, FleetFailed,
        GateClosed, HostKeyError, IdentityError, Interrupted, InventoryError, LinkLost, MachineSlow,
        MetalfoundryError, NeverInstalled, PortClosed, PreflightError, TooMuchOutput, TransportError, UnsafeError,
        UsageError, VerificationFailed, WatchBroken, WorkflowFailed, WorkflowTimedOut,
    )
    from metalfoundry.model.events import (
        ActionEnded, ActionStarted, ClaimChanged, CommandEnded, CommandStarted, Event, GuardChanged, HookEnded,
        HookStarted, LeaseExtended, MachineSeen, Notice, PhaseEnded, PhaseSkipped, PhaseStarted, Record, Resumed,
        Retried, RunEnded, RunStarted, WindowChanged, WindowUnsafe, WorkflowChanged,
    )
    from metalfoundry.model.hosts import Host, HostKeyPolicy
    from metalfoundry.model.inventory import HookConfig, Inventory, Server, Timeouts, VerifyConfig
    from metalfoundry.model.inventory_reader import load
    from metalfoundry.model.site_config import GuardConfig, JumpConfig, SiteConfig
    from metalfoundry.records.run_store import EventLines, Journal, KeptRun
    from metalfoundry.runs.attach import Followed
    from metalfoundry.runs.audit import OpenWindow
    from metalfoundry.runs.fleet import Fleet, Policy
    from metalfoundry.runs.options import Identity, Options
    from metalfoundry.runs.logs import Ask, Log
    from metalfoundry.runs.new_inventory import UnknownKey
    from metalfoundry.runs.plan import Plan, PlannedCommand
    from metalfoundry.runs.power import Rebooted
    from metalfoundry.runs.report import Netboot, Report
    from metalfoundry.runs.status import Row
    from metalfoundry.runs.troubleshoot import Diagnosis
    from metalfoundry.site.proof import Proof

__all__ = [
    "ActionEnded", "ActionStarted", "ApiAway", "Ask", "AuthError", "BmcMachine", "Check", "CheckState", "ClaimChanged",
    "ClaimedError", "CommandEnded", "CommandError", "CommandStarted", "ConnectError", "DeadlineExceeded", "Declined",
    "Diagnosis", "Event", "EventLines", "Evidence", "Finding", "Fleet", "FleetFailed", "Followed", "Foundry",
    "GateClosed", "GuardChanged", "GuardConfig", "GuardDeployment", "GuardSeen", "HistoryEntry", "HookConfig",
    "HookEnded", "HookStarted", "Host", "HostKeyError", "HostKeyPolicy", "Identity", "IdentityError", "Interrupted",
    "Inventory", "InventoryError", "Journal", "JumpConfig", "KeptRun", "Lab", "LeaseExtended", "LinkLost", "Log",
    "LogLine", "MachineSeen", "MachineSlow", "MetalfoundryError", "Netboot", "NeverInstalled", "Notice", "OpenWindow",
    "Options", "PhaseEnded", "PhaseSkipped", "PhaseStarted", "Plan", "PlannedCommand", "Policy", "PortClosed",
    "PreflightError", "Proof", "Rebooted", "Record", "Report", "Resumed", "Retried", "Row", "RunEnded", "RunStarted",
    "Server", "Sink", "SiteConfig", "Timeouts", "TooMuchOutput", "TransportError", "UnknownKey", "UnsafeError",
    "UsageError", "VerificationFailed", "VerifyConfig", "WatchBroken", "WindowChanged", "WindowUnsafe",
    "WorkflowChanged", "WorkflowFailed", "WorkflowTimedOut", "load",
]

_HOME = {
    "Ask": "runs.logs",
    "BmcMachine": "commands.bmc",
    "Check": "diagnosis.check",
    "CheckState": "diagnosis.check",
    "Diagnosis": "runs.troubleshoot",
    "EventLines": "records.run_store",
    "Evidence": "diagnosis.findings",
    "Finding": "diagnosis.findings",
    "Fleet": "runs.fleet",
    "Followed": "runs.attach",
    "Foundry": "foundry",
    "GuardConfig": "model.site_config",
    "GuardDeployment": "commands.guard_cluster",
    "GuardSeen": "commands.guard",
    "HistoryEntry": "commands.history",
    "HookConfig": "model.inventory",
    "Host": "model.hosts",
    "HostKeyPolicy": "model.hosts",
    "Identity": "runs.options",
    "Inventory": "model.inventory",
    "Journal": "records.run_store",
    "JumpConfig": "model.site_config",
    "KeptRun": "records.run_store",
    "Lab": "lab.lab",
    "Log": "runs.logs",
    "LogLine": "commands.log_parser",
    "Netboot": "runs.report",
    "OpenWindow": "runs.audit",
    "Options": "runs.options",
    "Plan": "runs.plan",
    "PlannedCommand": "runs.plan",
    "Policy": "runs.fleet",
    "Proof": "site.proof",
    "Rebooted": "runs.power",
    "Report": "runs.report",
    "Row": "runs.status",
    "Server": "model.inventory",
    "Sink": "model.bus",
    "SiteConfig": "model.site_config",
    "Timeouts": "model.inventory",
    "UnknownKey": "runs.new_inventory",
    "VerifyConfig": "model.inventory",
    "load": "model.inventory_reader",
}
# fmt: on


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: `fab --list` needs none of them."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = [_HOME[name]] if name in _HOME else ["model.errors", "model.events"]
    modules = (import_module(f"{__name__}.{home}") for home in homes)
    return next(getattr(module, name) for module in modules if hasattr(module, name))
