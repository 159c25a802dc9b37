"""How findings hide and calm each other, on made-up rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metalfoundry.diagnosis import rules
from metalfoundry.diagnosis.engine import exit_code, judge
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import (
    ARMED,
    FAILED,
    FINE,
    NOTHING_WRONG,
    NOTHING_WRONG_YET,
    Evidence,
    Match,
    Rule,
    Stage,
    certain,
    likely,
    possible,
    rule,
)
from metalfoundry.diagnosis.rules import RULES, first_wins
from tests.diagnosis.cases import facts

WORLD = facts({"workflow": {"state": "FAILED"}})


def made(id: str, how: Callable[..., Match], code: int = FAILED, stage: Stage = Stage.RUN, **more: object) -> Rule:
    """A rule that always fits."""
    options = {key: more.pop(key) for key in ("explains", "window") if key in more}

    def check(facts: Facts) -> Match:
        return how(id, evidence=[], remedy="look", **more)

    return rule(stage, id, code, link="here", **options)(check)  # type: ignore[arg-type]


def shown(*listed: Rule, all: bool = False) -> list[str]:
    return [finding.what for finding in judge(WORLD, rules=listed, all=all)]


def test_of_one_stage_the_first_in_order_wins() -> None:
    stage = first_wins([made("first", likely), made("second", likely), made("third", possible)])
    assert shown(*stage) == ["first"]
    assert shown(*stage, all=True) == ["first", "second", "third"]


def test_a_surer_finding_is_not_hidden_by_one_before_it() -> None:
    assert shown(*first_wins([made("guess", likely), made("proof", certain)])) == ["proof", "guess"]


def test_of_two_stages_both_are_shown_unless_one_names_the_other() -> None:
    finish = made("finish", likely, stage=Stage.FINISH)
    assert shown(made("run", likely), finish) == ["run", "finish"]
    assert shown(made("run", likely, explains=["finish"]), finish) == ["run"]
    assert shown(made("run", possible, explains=["finish"]), finish) == ["finish", "run"]


@pytest.mark.parametrize("words", (NOTHING_WRONG, NOTHING_WRONG_YET))
def test_what_reassures_says_so_and_ends_with_0_whatever_its_rule_says(words: str) -> None:
    (finding,) = judge(WORLD, rules=[made("it streams", likely, reassurance=words)])
    assert finding.reassures and finding.what == f"{words}: it streams"
    assert exit_code([finding]) == FINE


def test_the_words_alone_do_not_reassure() -> None:
    (finding,) = judge(WORLD, rules=[made(f"{NOTHING_WRONG}: it streams", likely, FINE)])
    assert not finding.reassures


def test_beside_a_certain_failure_nothing_reassures() -> None:
    calm = made("it streams", certain, FINE, reassurance=NOTHING_WRONG)
    assert shown(calm, made("it failed", certain, stage=Stage.FINISH)) == ["it failed"]
    assert shown(calm, made("it may fail", likely, stage=Stage.FINISH)) == ["nothing wrong: it streams", "it may fail"]


def test_beside_an_armed_trap_alone_it_stays_as_what_it_reports() -> None:
    trap = made("netboot is open", certain, ARMED, Stage.STRAY, window=True)
    calm = made("it streams", certain, FINE, reassurance=NOTHING_WRONG)
    assert shown(calm, trap) == ["it streams", "netboot is open"]
    assert exit_code(judge(WORLD, rules=[calm, trap])) == ARMED


def test_a_window_says_nothing_of_the_installation() -> None:
    found = judge(WORLD, rules=[made("netboot is open", certain, ARMED, Stage.STRAY, window=True)])
    assert [finding.id for finding in found] == ["netboot is open", "unknown"]


def test_evidence_takes_lines_and_leaves_out_what_is_not_there() -> None:
    world = facts({"logs": {"agent": ["it broke"]}})
    match = likely("x", evidence=[None, *world.log("agent"), Evidence("ssh", "silent"), None], remedy="look")
    assert [(item.source, item.line) for item in match.evidence] == [("agent log", "it broke"), ("ssh", "silent")]


FILES = {
    Stage.RENDER: "render",
    Stage.PREPARE: "prepare",
    Stage.BOOT: "netboot",
    Stage.AGENT: "agent",
    Stage.RUN: "actions",
    Stage.FINISH: "finished",
    Stage.STRAY: "windows",
}


def test_a_rule_stands_in_the_file_of_its_stage() -> None:
    for item in RULES:
        assert item.check.__module__.removeprefix(f"{rules.__name__}.").split(".")[0] == FILES[item.stage], item.id


def test_no_file_of_rules_is_forgotten() -> None:
    root = Path(rules.__path__[0])
    files = {path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.py")}
    used = {item.check.__module__.removeprefix(f"{rules.__name__}.").replace(".", "/") for item in RULES}
    assert used == {name for name in files if not name.endswith("__init__")}
    written = "".join(path.read_text() for path in root.rglob("*.py"))
    assert written.count("\n@rule(") == len(RULES)


def test_edges_are_written_by_hand_between_stages_or_where_none_hides_by_its_place_and_never_both_ways() -> None:
    by_id = {item.id: item for item in RULES}
    for item in RULES:
        behind = [other.id for other in RULES if other.stage is item.stage][_place(item) :]
        own = {name for name in item.explains if by_id[name].stage is item.stage}
        assert item.stage is Stage.STRAY or own == set(behind), item.id
        assert not [name for name in item.explains if item.id in by_id[name].explains], item.id


def _place(item: Rule) -> int:
    return [other.id for other in RULES if other.stage is item.stage].index(item.id) + 1
