"""A rule may compare only with what somebody writes: the product (model/states.py) or Tinkerbell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

import metalfoundry
from metalfoundry.commands import guard
from metalfoundry.model import states

ROOT = Path(metalfoundry.__file__).parent
JUDGES = sorted(path for path in (ROOT / "diagnosis").rglob("*.py"))
STATES = {str(member) for enum in (states.WorkflowState, states.BmcState) for member in enum}
REASONS = {"WorkflowTimedOut"}
KINDS = {"Job", "Task"}
CONDITIONS = {
    *("TemplateRenderedSuccess", "AllowNetbootTrue", "AllowNetbootFalse"),
    *("BootJobSetupFailed", "BootJobSetupComplete", "BootJobRunning", "BootJobFailed", "BootJobComplete"),
    *("NetbootJobSetupFailed", "NetbootJobSetupComplete", "NetbootJobRunning", "NetbootJobFailed"),
}
FIELDS = {"state": STATES, "reason": REASONS, "kind": KINDS}
WRITTEN_BY_US = (states.ClaimPhase, states.SshAnswer)


def strings(node: ast.AST) -> Iterator[str]:
    """The texts of a comparator, one or a collection of them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node) if isinstance(node, ast.Tuple | ast.Set | ast.List | ast.Starred) else ():
        yield from strings(child)


def compared(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(field, text) of each comparison with a field that holds a state, and of each question for a state."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute):
            for side in node.comparators:
                yield from ((node.left.attr, text) for text in strings(side))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "in_state":
                yield from (("state", text) for item in node.args for text in strings(item))
            if node.func.id == "condition":
                kinds = (word.value for word in node.keywords if word.arg == "type")
                yield from (("condition", text) for item in kinds for text in strings(item))


def members(tree: ast.Module) -> Iterator[str]:
    """`ClaimPhase.BOOT` and the like, wherever they are named."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", JUDGES, ids=lambda path: path.stem)
def test_a_rule_compares_only_with_what_is_written(path: Path) -> None:
    for field, text in compared(ast.parse(path.read_text())):
        assert field not in ("phase", "ssh", "alive"), f"{text!r}: use model/states.py"
        if field == "condition":
            assert any(known.startswith(text) for known in CONDITIONS), text
        else:
            assert text in FIELDS.get(field, {text}), f".{field} is never {text!r}"


@pytest.mark.parametrize("enum", WRITTEN_BY_US, ids=lambda enum: enum.__name__)
def test_what_a_rule_asks_for_is_written_by_the_product(enum: type[StrEnum]) -> None:
    product = [path for room in ("site", "runs", "commands") for path in (ROOT / room).rglob("*.py")]
    written = {name for path in product for name in members(ast.parse(path.read_text()))}
    asked = {name for path in JUDGES for name in members(ast.parse(path.read_text()))}
    for member in enum:
        name = f"{enum.__name__}.{member.name}"
        assert name in written or name not in asked, f"nobody writes {name}"


def test_a_guards_states_are_those_that_it_tells() -> None:
    assert all(f"state={state}" in guard.script() for state in states.GuardState)
