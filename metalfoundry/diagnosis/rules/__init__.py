"""Every rule. Of one stage the first match in its file's order wins: it hides those behind it that are no surer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

from metalfoundry.diagnosis.findings import Rule
from metalfoundry.diagnosis.rules import prepare, render, windows
from metalfoundry.diagnosis.rules.actions import boot_action, images, lost, programs, time
from metalfoundry.diagnosis.rules.agent import bootkit, connection, work
from metalfoundry.diagnosis.rules.finished import installer, system, unreachable, workflow
from metalfoundry.diagnosis.rules.netboot import allowed, ipxe, waiting

_STAGES: tuple[tuple[ModuleType, ...], ...] = (
    (render,),
    (prepare,),
    (allowed, ipxe, waiting),
    (bootkit, connection, work),
    (lost, boot_action, images, programs, time),
    (installer, system, unreachable, workflow),
)


def _rules(*modules: ModuleType) -> list[Rule]:
    """The rules of these files in the order in which they stand there."""
    return [value for module in modules for value in vars(module).values() if isinstance(value, Rule)]


def first_wins(rules: Sequence[Rule]) -> list[Rule]:
    """Each explains those behind it, too."""
    ids = [rule.id for rule in rules]
    return [replace(rule, explains=rule.explains.union(ids[place:])) for place, rule in enumerate(rules, 1)]


# A window, and a doubt who answers, is told whatever else is: nothing hides it by standing before it.
RULES: tuple[Rule, ...] = (
    *(rule for modules in _STAGES for rule in first_wins(_rules(*modules))),
    *_rules(windows),
)
