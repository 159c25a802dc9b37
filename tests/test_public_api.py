"""The public names: documented, importable, typed, and loaded no sooner than they are used."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import metalfoundry

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(metalfoundry.__all__)
HEAVY = {"pydantic", "rich", "asyncssh", "hypothesis"}
LIGHT = {"model", "model.errors", "model.plain_text", "model.program", "fab", "ui"}


def test_the_docs_list_the_public_names() -> None:
    section = (ROOT / "docs" / "library.md").read_text(encoding="utf-8").split("## Public names")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert (inspect.getdoc(getattr(metalfoundry, name)) or "").endswith((".", "`"))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_typed(name: str) -> None:
    public = getattr(metalfoundry, name)
    methods = [value for key, value in inspect.getmembers(public, inspect.isfunction) if not key.startswith("_")]
    for function in methods or [public] * inspect.isfunction(public):
        signature = inspect.signature(function)
        arguments = [one for one in signature.parameters.values() if one.name != "self"]
        assert all(one.annotation is not one.empty for one in arguments), function
        assert signature.return_annotation is not signature.empty, function


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
