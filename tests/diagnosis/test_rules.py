"""Every rule against its cases, and all rules against every case."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import pytest

from metalfoundry.commands.log_parser import SOURCES
from metalfoundry.diagnosis.engine import exit_code, judge
from metalfoundry.diagnosis.facts import FIELDS, Facts
from metalfoundry.diagnosis.findings import Certainty, Finding, Stage
from metalfoundry.diagnosis.rules import RULES
from metalfoundry.diagnosis.summary import summarize
from tests.diagnosis.cases import Case, load, without

CASES = load()
FIRES = [case for case in CASES if case.fires]
NEAR = [case for case in CASES if not case.fires]
REPEATS = {"map-key-missing", "no-bmc", "toggle-stuck", "customboot-empty", "wrong-agent-id", "workflow-replaced"}


def ids(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.id for finding in findings]


@pytest.mark.parametrize("case", FIRES, ids=lambda case: case.id)
def test_its_finding_comes_first_with_its_line_and_its_remedy(case: Case) -> None:
    found = judge(case.facts)
    first = found[0]
    assert first.id == case.rule, [(item.id, item.certainty.value, item.what) for item in found]
    assert first.evidence
    assert first.remedy
    assert case.said.get("certainty", first.certainty.value) == first.certainty.value
    assert case.said.get("exit", first.exit_code) == exit_code(found)
    assert case.said.get("says", "") in first.what
    assert case.said.get("remedy", "") in first.remedy
    assert case.said.get("first", "") in first.first
    assert any(case.said.get("line", "") in item.line for item in first.evidence)


@pytest.mark.parametrize("case", FIRES, ids=lambda case: case.id)
def test_no_other_rule_is_as_sure(case: Case) -> None:
    found = judge(case.facts)
    assert [item.id for item in found if item.certainty is found[0].certainty] == [case.rule]


@pytest.mark.parametrize("case", FIRES, ids=lambda case: case.id)
def test_a_command_that_would_repeat_the_failure_comes_after_what_must_be_changed(case: Case) -> None:
    first = judge(case.facts)[0]
    for words in ("first ", "First "):
        assert not first.advice.startswith(words), first.advice
    if "fab provision" in first.remedy and case.rule in REPEATS:
        assert first.first, first.what


@pytest.mark.parametrize("case", FIRES, ids=lambda case: case.id)
def test_beside_a_certain_failure_no_finding_says_that_nothing_is_wrong(case: Case) -> None:
    for everything in (False, True):
        found = judge(case.facts, all=everything)
        if found[0].certainty is Certainty.CERTAIN and found[0].exit_code:
            assert not [item.what for item in found if "nothing wrong" in item.what]


@pytest.mark.parametrize("case", NEAR, ids=lambda case: case.id)
def test_a_near_miss_is_not_found(case: Case) -> None:
    everything = judge(case.facts, all=True)
    assert case.rule not in ids(everything), next(item.what for item in everything if item.id == case.rule)
    if "finds" in case.said:
        assert ids(judge(case.facts))[0] == case.said["finds"]


def test_every_rule_has_both_kinds_of_cases_and_no_case_lacks_its_rule() -> None:
    known = {rule.id for rule in RULES}
    assert {case.rule for case in FIRES} == known
    assert {case.rule for case in NEAR} == known


def test_the_fifty_are_covered_and_ids_are_unique() -> None:
    assert {number for rule in RULES for number in rule.numbers} == set(range(1, 51))
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(explained in {rule.id for rule in RULES} for rule in RULES for explained in rule.explains)


def test_findings_come_by_certainty_then_stage() -> None:
    stages = list(Stage)
    for case in CASES:
        found = judge(case.facts, all=True)
        order = [(item.certainty.value == "possible", item.certainty.value == "likely") for item in found]
        assert order == sorted(order), case.id
        for one, two in pairwise(found):
            assert one.certainty is not two.certainty or stages.index(one.stage) <= stages.index(two.stage)


def test_what_is_hidden_is_there_with_all() -> None:
    for case in CASES:
        assert set(ids(judge(case.facts))) <= set(ids(judge(case.facts, all=True)))


@pytest.mark.parametrize("name", [*FIELDS, *(f"logs.{source}" for source in SOURCES)])
def test_whatever_could_not_be_looked_at_there_is_an_answer(name: str) -> None:
    for case in FIRES:
        blind = without(case.facts, [name])
        found = judge(blind)
        assert found, case.id
        assert all(item.what and item.remedy for item in found), case.id
        assert summarize(blind).verdict
        assert name in blind.unseen()


def test_with_nothing_seen_at_all_the_answer_says_so() -> None:
    case = FIRES[0].facts
    found = judge(Facts(name=case.name, now=case.now, configured=case.configured))
    assert ids(found) == ["unknown"]
    assert "Not seen: the Workflow, the Hardware, " in found[0].what
    assert "Smee's log" in found[0].what and "(not looked at)" in found[0].what
    assert exit_code(found) == 31


def test_the_schema_of_a_finding() -> None:
    found = judge(FIRES[0].facts)[0].to_json()
    assert list(found) == [
        *("id", "certainty", "stage", "what", "evidence", "first", "remedy", "advice", "exit_code", "numbers", "link"),
    ]
    assert list(found["evidence"][0]) == ["source", "time", "line", "raw"]


def test_fields_lists_every_fact() -> None:
    others = {"name", "now", "configured", "logs", "aftermath", "key_refused"}
    assert {item.name for item in fields(Facts)} == set(FIELDS) | others
