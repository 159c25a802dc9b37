"""The docs against the code: what they list is what there is, what they link to exists, what they show runs."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from metalfoundry import load
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.diagnosis.facts import Configured, Facts
from metalfoundry.fab import ns
from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.model import errors
from metalfoundry.model.errors import Interrupted, MetalfoundryError, UnsafeError
from metalfoundry.model.events import (
    ActionEnded,
    ActionStarted,
    CommandStarted,
    Event,
    PhaseEnded,
    PhaseSkipped,
    Record,
    Resumed,
)
from metalfoundry.records.run_state import Story
from metalfoundry.runs.provision import PHASES
from metalfoundry.runs.provision import _said as said
from metalfoundry.runs.report import Netboot, Report, report_of
from metalfoundry.runs.troubleshoot import judged
from metalfoundry.site.proof import Proof
from scripts import messages
from scripts.schemas import schemas

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JSON_TYPES = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"
}  # fmt: skip


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str) -> list[tuple[str, ...]]:
    """The cells of every table row whose first cell is one piece of code or a number."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if re.match(r"\| (`[^`]+`|\d+) \|", line)]
    return [tuple(cell.strip() for cell in line) for line in lines]


def code(cell: str) -> str:
    return cell.strip("`")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_that_is_shown_is_python(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8"), "python"):
        compile(block, path.name, "exec")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^(\w+):", page("Makefile"), re.MULTILINE))
    named = re.findall(r"(?:^    |`)make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_the_readme_lists_every_task() -> None:
    listed = [code(row[0]).split()[1:] for row in rows(page("README.md")) if row[0].startswith("`fab ")]
    tasks = dict(ns.task_names)
    assert sorted(words[0] for words in listed) == sorted(tasks)
    for name, *argument in listed:
        first = [*inspect.signature(ns[name].body).parameters][1:2]
        assert argument == [word.upper() for word in first if word in ("name", "run")], name


@pytest.mark.parametrize("name", sorted(ns.task_names))
def test_every_task_has_one_line_in_the_list_and_an_example_in_its_help(name: str) -> None:
    first, *rest = inspect.cleandoc(ns[name].body.__doc__ or "").splitlines()
    assert first.endswith(".") and len(first) <= 57
    examples = [line for line in rest if line.startswith("Example: ")]
    assert len(examples) == 1 and "fab " in examples[0]


def test_the_readmes_inventory_is_one(tmp_path: Path) -> None:
    (block,) = blocks(page("README.md"), "yaml")
    assert len(block.splitlines()) == 5
    (tmp_path / "inventory.yaml").write_text(block)
    assert list(load(tmp_path / "inventory.yaml").servers) == ["colo-server-01"]


def test_the_picture_shows_every_phase_and_what_became_of_netboot() -> None:
    (picture,) = blocks(page("README.md"), "console")
    shown = re.findall(r"^[✓-] ([A-Z]\w+(?: \w+)?) ", picture, re.MULTILINE)
    assert shown == [phase.title for phase in PHASES]
    assert picture.index("netboot is open") < picture.index("netboot is closed")


def test_every_exit_code_is_listed() -> None:
    raised = {one.exit_code for one in vars(errors).values() if inspect.isclass(one) and hasattr(one, "exit_code")}
    signals = {Interrupted("", signal=number).exit_code for number in (1, 2, 15)}
    expected = raised | signals | {0}
    assert [int(row[0]) for row in rows(page("docs/exit-codes.md"))] == sorted(expected)
    short = page("README.md").split("## Exit codes")[1].split("## ")[0]
    assert {int(number) for number in re.findall(r"\b\d+\b", short)} == expected


def test_every_promise_names_tests_that_there_are() -> None:
    promises = re.findall(r"^\| ([^|]+) \| (`tests/[^|]+) \|$", page("docs/promises.md"), re.MULTILINE)
    assert len(promises) == 40
    for promise, cell in promises:
        named = [code(test).split("::") for test in cell.split(", ")]
        assert named and all(len(test) == 2 for test in named), promise
        for path, name in named:
            assert re.search(rf"^def {name}\(", page(path), re.MULTILINE), f"{promise}: {path}::{name}"


def test_every_scenario_is_listed() -> None:
    listed = {code(row[0]): row[1] for row in rows(page("docs/lab.md"))}
    assert listed == {name: scenario.story for name, scenario in SCENARIOS.items()}


def test_the_schemas_are_those_of_the_tables() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "schema").iterdir()}
    assert {name: text for name, text in kept.items() if name in schemas()} == schemas(), "make docs"
    for text in kept.values():
        Draft202012Validator.check_schema(json.loads(text))


def test_the_page_of_messages_is_what_the_source_says() -> None:
    assert page("docs/messages.md") == messages.page(), "make docs"


def test_every_json_of_the_command_line_has_a_schema() -> None:
    listed = {row[0].split("`")[1]: row[1] for row in re.findall(r"^\| (`.*?) \| (.*?) \|", page("docs/json.md"), re.M)}
    for name in ns.task_names:
        if "json" in inspect.signature(ns[name].body).parameters:
            assert re.search(r"\]\(schema/\w+\.json\)", listed[name]), name


def test_the_changelog_knows_this_version() -> None:
    version = tomllib.loads(page("pyproject.toml"))["project"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", page("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings or len(headings) == 1


def reported(error: Exception | None, netboot: Netboot, *events: Event) -> Report:
    story = Story("r1", "anvil")
    for event in events:
        story(Record(NOW, event, "r1", "anvil"))
    report = report_of(story, error, netboot, 12.5)
    before = MachineFacts(macs=("00:00:00:00:00:01",), uptime=1.5)
    heard = replace(report, before=said(before), after=said(MachineFacts()))
    return report if error else heard


REPORTS = (
    reported(
        None,
        Netboot(True, Proof("2026-01-02T03:04:05Z", "allowPXE false at resourceVersion 9", {"/m/auto.ipxe": 404})),
        PhaseEnded("Claim", 0.5, said="held"),
        PhaseSkipped("Clean up", "nothing old"),
        Resumed("r0", "me@here", "2026-01-02T03:00:00Z", "Boot"),
        CommandStarted("jump", "kubectl get", "read"),
        ActionStarted("a1", 1, 2, 300.0),
        ActionEnded("a1", 1, "SUCCESS", 7.5),
        ActionStarted("a2", 2, 2, 90.0),
    ),
    reported(None, Netboot(True, Proof("2026-01-02T03:04:05Z", "allowPXE false at resourceVersion 9"))),
    reported(UnsafeError("open", where="Hardware anvil", next="kubectl patch", evidence="no answer"), Netboot(False)),
    reported(MetalfoundryError("odd"), Netboot(), PhaseEnded("Claim", 0.5, error="odd")),
    reported(ValueError("a fault of ours"), Netboot()),
    replace(
        reported(MetalfoundryError("odd"), Netboot()),
        disk="the disk may have been written",
        diagnosis=judged(Facts("anvil", NOW, Configured("anvil", "anvil")), 0.1),
    ),
)


def fields(value: Any, path: str = "") -> set[tuple[str, str]]:
    """Every field in a JSON value as (path, type)."""
    found = {(path, JSON_TYPES[type(value)])} if path and not path.endswith("[]") else set()
    if isinstance(value, list):
        return found.union(*(fields(each, f"{path}[]") for each in value))
    if isinstance(value, dict) and path != "diagnosis":  # that one has a page and a test of its own
        for key, each in value.items():
            name = "*" if key.startswith("/") or path == "machine" else key
            found |= fields(each, f"{path}.{name}".lstrip("."))
    return found


def test_the_reports_schema_is_the_report() -> None:
    listed = {code(row[0]): set(row[1].split(", ")) for row in rows(page("docs/report.md"))}
    seen: dict[str, set[str]] = {}
    for report in REPORTS:
        for path, kind in fields(json.loads(json.dumps(report.to_json()))):
            seen.setdefault(path, set()).add(kind)
    assert seen == listed


def test_the_reports_words_are_listed() -> None:
    text = page("docs/report.md")
    said = {report.verdict for report in REPORTS} | {one["outcome"] for report in REPORTS for one in report.phases}
    assert all(f"`{word}`" in text for word in said)
    assert ", ".join(phase.title for phase in PHASES) in text
