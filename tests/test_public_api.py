"""The public names: documented, importable, typed, and loaded no sooner than they are used."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import metalfoundry
from metalfoundry import Foundry
from metalfoundry.fab import open_foundry
from metalfoundry.model import errors, events
from metalfoundry.model.inventory_reader import of
from metalfoundry.records.run_state import Story
from metalfoundry.runs.report import report_of
from scripts import docs
from tests.fakes import FakeTransport

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(metalfoundry.__all__)
HEAVY = {"pydantic", "rich", "asyncssh", "hypothesis"}
LIGHT = {"model", "model.errors", "model.plain_text", "model.program", "fab", "ui"}


def test_the_docs_list_the_public_names() -> None:
    section = (ROOT / "docs" / "library.md").read_text(encoding="utf-8").split("## Public names")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == NAMES
    assert metalfoundry.__all__ == NAMES


def test_what_the_table_says_of_them_is_what_their_docstrings_say() -> None:
    assert (ROOT / "docs" / "library.md").read_text(encoding="utf-8") == docs.written("library.md")


@pytest.mark.parametrize(("module", "base"), [(errors, errors.MetalfoundryError), (events, events.Event)])
def test_every_error_and_every_event_is_public(module: ModuleType, base: type) -> None:
    kinds = {name for name, kind in vars(module).items() if inspect.isclass(kind) and issubclass(kind, base)}
    assert len(kinds) > 20 and kinds <= set(NAMES)


def methods_of(public: Any) -> list[Callable[..., Any]]:
    """The public methods that this package gives it, or the function itself."""
    if inspect.isfunction(public):
        return [public]
    own = [kind for kind in inspect.getmro(public) if kind.__module__.startswith("metalfoundry")]
    found = [vars(kind).items() for kind in own]
    plain = [getattr(each, "__func__", each) for items in found for key, each in items if not key.startswith("_")]
    return [each for each in plain if inspect.isfunction(each)]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert (inspect.getdoc(getattr(metalfoundry, name)) or "").endswith((".", "`"))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_typed(name: str) -> None:
    for function in methods_of(getattr(metalfoundry, name)):
        signature = inspect.signature(function)
        arguments = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
        assert all(one.annotation is not one.empty for one in arguments), function
        assert signature.return_annotation is not signature.empty, function


@pytest.mark.parametrize("public", [*(getattr(metalfoundry, name) for name in NAMES), open_foundry])
def test_no_switch_is_given_by_its_place(public: Any) -> None:
    for function in methods_of(public):
        switches = [one for one in inspect.signature(function).parameters.values() if one.annotation in (bool, "bool")]
        assert all(one.kind is one.KEYWORD_ONLY for one in switches), function


def test_every_method_about_one_server_takes_it_or_its_name() -> None:
    """But for those that take any name that somebody has: of a Hardware or a Workflow, too."""
    first = {
        function.__name__: [*inspect.signature(function).parameters.values()][1:2] for function in methods_of(Foundry)
    }
    named = {name: one[0].annotation for name, one in first.items() if one and one[0].name in ("server", "name")}
    assert {name for name, annotation in named.items() if annotation == "str"} == {
        "troubleshoot", "logs", "follow_logs",
    }  # fmt: skip
    assert {annotation for annotation in named.values() if annotation != "str"} == {"str | Server"}
    assert "provision" in named


def test_the_status_of_no_server_is_empty_and_asks_nobody() -> None:
    transport = FakeTransport()
    with Foundry(of({"site": {"jump": {"host": "j"}}, "servers": {"s": {}}}), transport=transport) as foundry:
        assert foundry.status([]) == []
        assert list(foundry.watch_status([])) == [[]]
    assert transport.said == []


def test_a_report_raises_what_went_wrong_or_hands_itself_on() -> None:
    good = report_of(Story("run-1", "s"), None, metalfoundry.Netboot(True), 1.0)
    assert good.raise_for_error() is good
    error = errors.UnsafeError("netboot is open")
    with pytest.raises(errors.UnsafeError) as caught:
        report_of(Story("run-1", "s"), error, metalfoundry.Netboot(False), 1.0).raise_for_error()
    assert caught.value is error


@pytest.mark.parametrize("program", ["fab", "metalfoundry"])
def test_the_environment_names_the_inventory(program: str, tmp_path: Path) -> None:
    """Even where the folder has one."""
    env = {**os.environ, "METALFOUNDRY_INVENTORY": str(tmp_path / "none.yaml")}
    line = [str(Path(sys.executable).with_name(program)), "status"]
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert str(tmp_path / "none.yaml") in done.stderr


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    tree = ast.parse((ROOT / "metalfoundry" / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module and node.module.startswith("metalfoundry.")]
    declared = {alias.name: node.module for node in ours for alias in node.names}
    assert {name: getattr(metalfoundry, name).__module__ for name in NAMES} == declared
    assert (ROOT / "metalfoundry" / "py.typed").exists()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Foundary'"):
        metalfoundry.__getattr__("Foundary")


@pytest.mark.parametrize("module", ("metalfoundry", "metalfoundry.fab"))
def test_importing_loads_nothing_heavy(module: str) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = json.loads(done.stdout)
    assert HEAVY.isdisjoint(loaded)
    ours = {name.removeprefix("metalfoundry.") for name in loaded if name.startswith("metalfoundry.")}
    assert {name for name in ours if not name.startswith("ui.")} <= LIGHT
