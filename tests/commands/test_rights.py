"""The table of rights: what a review of them lacks, the Role that grants them, and that no task is left out."""

from __future__ import annotations

import json

import pytest
import yaml

from metalfoundry.commands.rights import (
    HELPFUL,
    NEEDED,
    Right,
    group,
    manifests,
    missing_rights,
    rules,
    service_account,
    tasks_with,
    user,
    wanted,
)
from metalfoundry.commands.script import Outcome
from metalfoundry.fab import ns
from metalfoundry.model.errors import UsageError
from scripts import docs

TINKERBELL = "tinkerbell.org"
WITHOUT_CLUSTER = (
    "runs",
    "report",
    "completion",
    "lab",
    "inventory",
    "rbac",
    "guard.print",
    "guard.log",
    "guard.stop",
)  # tasks that ask no API server
ADMINISTRATORS = ("guard.install", "guard.remove")
ASKED = [Right(TINKERBELL, "hardware", verb) for verb in ("get", "patch")] + [Right(TINKERBELL, "workflows", "watch")]
ALL = ["get hardware.tinkerbell.org", "patch hardware.tinkerbell.org", "watch workflows.tinkerbell.org"]


def review(*granted: dict[str, object], **status: object) -> Outcome:
    return Outcome(0, json.dumps({"status": {"resourceRules": list(granted), "incomplete": False, **status}}), "")


@pytest.mark.parametrize(
    ("outcome", "missing"),
    [
        (review({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}), []),
        (
            review(
                {"verbs": ["get", "list"], "apiGroups": ["tinkerbell.org"], "resources": ["*"]},
                {"verbs": ["watch"], "apiGroups": ["tinkerbell.org"], "resources": ["workflows"]},
            ),
            ["patch hardware.tinkerbell.org"],
        ),
        (review({"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*"]}), ALL),
        (review({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["anvil"]}), ALL),
        (review(), ALL),
        (review(incomplete=True), []),
        (Outcome(1, "", "Error from server (Forbidden)"), []),
        (Outcome(0, "no JSON", ""), []),
        (Outcome(0, '{"kind": "SelfSubjectRulesReview"}', ""), []),
    ],
)
def test_rights_that_are_missing_are_named_and_nothing_is_guessed(outcome: Outcome, missing: list[str]) -> None:
    assert [str(right) for right in missing_rights(outcome, ASKED)] == missing


def test_the_role_grants_what_the_table_says_and_no_more() -> None:
    role, binding = yaml.safe_load_all(manifests("tink-system", [user("alice: {x}"), group("ops")]))
    assert role["kind"] == "Role" and role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "tink-system"
    granted = [
        Right(rule["apiGroups"][0], rule["resources"][0], verb) for rule in role["rules"] for verb in rule["verbs"]
    ]
    assert sorted(granted) == wanted()
    assert missing_rights(review(*role["rules"]), wanted()) == []
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == ["alice: {x}", "ops"]
    assert not any("*" in word for rule in rules(wanted()) for words in rule.values() for word in words)


def test_a_service_account_may_be_another_namespaces() -> None:
    assert service_account("bot", "here") == {"kind": "ServiceAccount", "name": "bot", "namespace": "here"}
    assert service_account("there:bot", "here")["namespace"] == "there"


@pytest.mark.parametrize("name", ["a:b:c", ":bot", "there:", "The Bot"])
def test_what_can_be_no_service_account_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there can be no ServiceAccount"):
        service_account(name, "here")


def test_every_task_that_asks_the_cluster_stands_in_the_table() -> None:
    left_out = (*WITHOUT_CLUSTER, *ADMINISTRATORS)
    tasks = {
        name for name in ns.task_names if not any(name == word or name.startswith(f"{word}.") for word in left_out)
    }
    assert {*NEEDED, *HELPFUL} == tasks
    assert tasks_with(Right("apps", "deployments", "list")) == ([], ["provision", "troubleshoot", "doctor"])


def test_the_page_lists_them() -> None:
    assert (docs.DOCS / "rights.md").read_text(encoding="utf-8") == docs.written("rights.md"), "make docs"
