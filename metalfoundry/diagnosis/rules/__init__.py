"""Every rule, in the order in which the catalogue tests them."""

from __future__ import annotations

from metalfoundry.diagnosis.findings import Rule
from metalfoundry.diagnosis.rules import (
    actions,
    agent,
    boot,
    boot_action,
    bootkit,
    connect,
    fail,
    finish,
    ipxe,
    over,
    prepare,
    render,
    run,
    stray,
    system,
)

_MODULES = (
    render,
    prepare,
    boot,
    ipxe,
    bootkit,
    connect,
    agent,
    run,
    boot_action,
    fail,
    actions,
    finish,
    system,
    over,
    stray,
)
RULES: tuple[Rule, ...] = tuple(rule for module in _MODULES for rule in module.RULES)
