"""The rooms and their walls, on the code as it is; and that each wall is really looked at."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture import FRONT, FUNCTION_LINES, MODULE_LINES, ROOMS, breaches, circles, hints, room

ROOT = Path(__file__).resolve().parent.parent / "metalfoundry"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
TWICE = {"GuardSeen"}  # class names that still mean two things
CLOCK = "belongs to transport/clock.py"
LISTED = "a phase is imported by runs/provision.py and runs/plan.py alone"
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * FUNCTION_LINES


@pytest.mark.parametrize("path", MODULES)
def test_module_keeps_the_rules(path: str) -> None:
    assert breaches(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_every_module_stands_in_a_room() -> None:
    assert {room(path) for path in MODULES} == {"", "lab", *ROOMS, *FRONT}


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    (
        ("model/x.py", "from metalfoundry.commands.command import Command", "1: model imports from commands"),
        ("commands/x.py", "import metalfoundry.transport.base", "1: commands imports from transport"),
        ("transport/x.py", "from metalfoundry import site", "1: transport imports from site"),
        ("transport/x.py", "from .. import runs", "1: transport imports from runs"),
        ("site/x.py", "from ..diagnosis.facts import Facts", "1: site imports from diagnosis"),
        ("diagnosis/rules/x.py", "from ...runs import engine", "1: diagnosis imports from runs"),
        ("runs/x.py", "from metalfoundry.foundry import Foundry", "1: runs imports from foundry"),
        ("runs/x.py", "def f():\n    from metalfoundry.ui import words", "2: runs imports from ui"),
        ("runs/x.py", "import metalfoundry.lab.lab", "1: runs imports from lab"),
        ("runs/x.py", "from metalfoundry import Foundry", "1: runs imports from Foundry"),
        ("foundry.py", "from metalfoundry.ui import words", "1: foundry imports from ui"),
        ("runs/phases/x.py", "from metalfoundry.foundry import Foundry", "1: runs imports from foundry"),
        ("runs/phases/x.py", "from metalfoundry.runs.phases.boot import Boot", f"1: {LISTED}"),
        ("runs/phases/x.py", "from .boot import Boot", f"1: {LISTED}"),
        ("runs/attach.py", "from metalfoundry.runs.phases.apply import Apply", f"1: {LISTED}"),
        ("records/x.py", "from metalfoundry.commands import netboot", "1: records imports from commands"),
        ("records/x.py", "from metalfoundry.ui.output.plain import say", "1: records imports from ui"),
        ("ui/output/x.py", "from metalfoundry.foundry import Foundry", "1: ui/output imports from foundry"),
        ("ui/output/x.py", "from ..tasks import options", "1: ui/output imports from ui"),
        ("ui/output/x.py", "from fabric import task", "1: fabric belongs to transport/, ui/tasks/, fab.py"),
        ("lab/x.py", "from metalfoundry.commands import kubectl", "1: lab imports from commands"),
        ("lab/x.py", "from metalfoundry.model.hosts import Host", "1: lab imports from model"),
        ("lab/kubectl/x.py", "from metalfoundry.transport.clock import Clock", "1: lab imports from transport"),
        ("__init__.py", "from metalfoundry.fab import ns", "1: the front page imports from fab"),
        ("site/x.py", "from metalfoundry.model.hosts import *", "1: imports *"),
        ("site/x.py", "import rich.console", "1: rich belongs to ui/output/, ui/tasks/"),
        ("site/x.py", "import time", f"1: time {CLOCK}, lab/"),
        ("site/x.py", "from time import monotonic", f"1: time {CLOCK}, lab/"),
        ("site/x.py", "from urllib import request", "1: urllib.request belongs to lab/"),
        (
            "site/x.py",
            "import subprocess as s",
            "1: subprocess belongs to lab/, transport/local.py, transport/this_computer.py, transport/ssh_options.py",
        ),
        ("site/x.py", "import paramiko", "1: paramiko belongs to transport/"),
        ("runs/x.py", "from fabric import Connection", "1: fabric belongs to transport/, ui/tasks/, fab.py"),
        ("runs/x.py", "import invoke.context", "1: invoke belongs to ui/tasks/, fab.py"),
        ("transport/x.py", "import asyncssh", "1: asyncssh belongs to lab/"),
        (
            "transport/base.py",
            "import paramiko",
            "1: paramiko belongs to ssh.py and the modules that serve it",
        ),
        ("site/x.py", "print(1)", "1: print belongs to ui/output/plain.py"),
        ("ui/x.py", "print(1)", "1: print belongs to ui/output/plain.py"),
        ("ui/x.py", "Console().print(1)", "1: Console belongs to ui/output/tables.py"),
        ("lab/x.py", "say = print", "1: print belongs to ui/output/plain.py"),
        ("runs/x.py", "import sys\nsys.stderr.write('')", "2: sys.stderr belongs to ui/"),
        (
            "runs/x.py",
            "from datetime import datetime\nx = datetime.now()",
            f"2: datetime.now {CLOCK}",
        ),
        (
            "runs/x.py",
            "import datetime\ndatetime.datetime.now",
            f"2: datetime.datetime.now {CLOCK}",
        ),
        ("runs/x.py", "from datetime import date\ndate.today()", f"2: date.today {CLOCK}"),
        ("runs/x.py", "x = 1\ndef f():\n    global x", "3: a global is changed"),
        (
            "runs/x.py",
            "import importlib\nimportlib.import_module('y')",
            "2: an import that nobody can read here",
        ),
    ),
)
def test_a_breach_is_found(path: str, text: str, expected: str) -> None:
    assert breaches(path, text) == [expected]


@pytest.mark.parametrize(
    ("path", "text"),
    (
        ("runs/x.py", "from metalfoundry.site.window import Window"),
        ("runs/x.py", "from . import engine"),
        ("runs/phases/x.py", "from metalfoundry.runs.provision_run import ProvisionRun"),
        ("runs/provision.py", "from metalfoundry.runs.phases.boot import Boot"),
        ("model/x.py", "from urllib.parse import urlsplit"),
        ("transport/x.py", "from ..model import hosts"),
        ("transport/ssh.py", "import fabric, paramiko"),
        ("transport/clock.py", "import time\nfrom datetime import datetime\ndatetime.now()"),
        ("lab/machine.py", "import time, asyncssh, subprocess\nfrom metalfoundry.lab.clock import MachineClock"),
        ("ui/tasks/program.py", "from metalfoundry.fab import ns\nfrom fabric.main import Fab"),
        ("fab.py", "from metalfoundry.ui.tasks.namespace import ns"),
        ("__init__.py", "from metalfoundry.lab.lab import Lab"),
        ("ui/tasks/x.py", "from metalfoundry.ui.output import tables\nfrom fabric import task"),
        ("ui/output/x.py", "from metalfoundry.records.run_state import Story\nfrom rich.text import Text"),
        ("runs/x.py", "from metalfoundry.records.run_state import Story"),
        ("ui/tasks/lab.py", "from metalfoundry.lab import background"),
        ("foundry.py", "from metalfoundry.runs import provision"),
        ("runs/x.py", "def f(clock):\n    return clock.now()"),
    ),
)
def test_what_is_allowed_passes(path: str, text: str) -> None:
    assert breaches(path, text) == []


def test_length_is_a_hint_for_a_review() -> None:
    assert hints("x = 1\n" * MODULE_LINES) == []
    assert hints("x = 1\n" * (MODULE_LINES + 1)) == [f"301: 301 lines, more than {MODULE_LINES}"]
    assert hints(LONG_FUNCTION) == [f"1: f has 41 lines, more than {FUNCTION_LINES}"]


def test_no_import_comes_back_to_where_it_began() -> None:
    assert circles({path: (ROOT / path).read_text(encoding="utf-8") for path in MODULES}) == []
    there, back = "from metalfoundry.runs.b import x", "def f():\n    pass\n\nfrom . import a"
    assert circles({"runs/a.py": there, "runs/b.py": back}) == ["runs/a.py > runs/b.py > runs/a.py"]
    assert circles({"runs/a.py": there, "runs/b.py": "def f():\n    from . import a"}) == []


def test_no_class_name_means_two_things() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in homes.items() if len(paths) > 1}.keys() == TWICE
