"""The manual's tables are the rules: made here, compared with what docs/troubleshooting.md says."""

from __future__ import annotations

from pathlib import Path

from metalfoundry.diagnosis.findings import Rule
from metalfoundry.diagnosis.rules import RULES
from tests.diagnosis.cases import load

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def row(number: str, rule: Rule) -> str:
    cells = (number, rule.title, f"`{rule.id}`", rule.stage.value, rule.versions, rule.exit_code, rule.link)
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def catalogue() -> list[str]:
    """One row for each number and each finding that answers to it."""
    return [row(str(number), rule) for number in range(1, 51) for rule in RULES if number in rule.numbers]


def beyond() -> list[str]:
    return [row("-", rule) for rule in RULES if not rule.numbers]


def test_the_manuals_table_is_the_rules() -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [
        line for line in page if line.startswith("| ") and line[2] in "0123456789-" and "`" in line
    ] == catalogue() + beyond()


def test_each_of_the_fifty_has_a_case_that_fires() -> None:
    proven = {case.rule for case in load() if case.fires}
    answered = {number for rule in RULES if rule.id in proven for number in rule.numbers}
    assert answered == set(range(1, 51))


def test_each_rule_names_its_source_and_says_what_is_wrong() -> None:
    for rule in RULES:
        assert rule.link
        assert (
            rule.title[0].isupper()
            or rule.title[0] == "`"
            or rule.title.startswith(("iPXE", "kexec", "cexec", "toggle", "tink", "bootMode"))
        )
        assert "|" not in rule.title + rule.link


if __name__ == "__main__":  # the rows to paste after a change of rules: python -m tests.diagnosis.test_manual
    print("\n".join([*catalogue(), "", *beyond()]))
