from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metalfoundry.model.documents import Document, _read, safe_name, workflow_for, workflow_from
from metalfoundry.model.errors import PreflightError

RACK = (Path(__file__).parent / "data/workflows.yaml").read_text(encoding="utf-8")


def picked(text: str, hardware: str = "s", name: str | None = None) -> Document:
    return workflow_for(text, "w.yaml", hardware, name, namespace="tink-system")


def refused(text: str, hardware: str = "s", name: str | None = None) -> PreflightError:
    with pytest.raises(PreflightError) as caught:
        picked(text, hardware, name)
    assert caught.value.exit_code == 10
    assert caught.value.where.startswith("w.yaml")
    assert caught.value.next
    return caught.value


def workflow(name: str, hardware: str = "s", more: str = "") -> str:
    return (
        "apiVersion: tinkerbell.org/v1alpha1\nkind: Workflow\n"
        f"metadata: {{name: {name}}}\nspec: {{templateRef: t, hardwareRef: {hardware}{more}}}\n"
    )


@pytest.mark.parametrize(
    ("hardware", "name", "first", "others"),
    [
        ("colo-server-01", "colo-server-01-ubuntu", "# Every server", ["anvil", "Template", "spare"]),
        ("anvil", "anvil-ubuntu", "# the second one", ["colo-server-01", "Template", "spare"]),
        ("spare", "spare-ubuntu", "  # a document that is indented", ["colo-server-01", "kind: Template", "anvil"]),
    ],
)
def test_one_document_in_the_owners_own_words(hardware: str, name: str, first: str, others: list[str]) -> None:
    document = picked(RACK, hardware)
    assert (document.name, document.hardware_ref, document.template_ref) == (name, hardware, "ubuntu-2404")
    assert document.text.startswith(first)
    assert document.text.strip() in RACK
    assert not [other for other in others if other in document.text]
    assert yaml.safe_load(document.text)["metadata"]["name"] == name
    assert document.manifest["metadata"]["namespace"] == "tink-system"


def test_a_mac_without_quotes_is_text_as_kubectl_reads_it() -> None:
    manifest = picked(RACK, "colo-server-01").manifest
    assert manifest["spec"]["hardwareMap"]["device_1"] == "52:54:00:12:34:56"


def test_the_owners_other_fields_stay() -> None:
    assert picked(RACK, "anvil").manifest["spec"]["bootOptions"] == {"toggleAllowNetboot": True}


def test_none_for_this_server_lists_what_there_is() -> None:
    error = refused(RACK, "other")
    assert "hardwareRef other" in error.what
    assert error.evidence.splitlines() == [
        "line 2: Workflow colo-server-01-ubuntu (hardwareRef colo-server-01)",
        "line 15: Workflow anvil-ubuntu (hardwareRef anvil)",
        "line 24: Template ubuntu-2404",
        "line 33: Workflow spare-ubuntu (hardwareRef spare)",
    ]


@pytest.mark.parametrize("text", ["", "---\n---\n", "# nothing\n"])
def test_an_empty_file_is_told(text: str) -> None:
    assert refused(text).evidence == "the file has no documents"


def test_several_are_listed_unless_a_name_picks_one() -> None:
    text = workflow("a") + "---\n" + workflow("b") + "---\n" + workflow("c", "other")
    error = refused(text)
    assert "2 Workflows" in error.what
    assert error.next == "pick one: --workflow-name a or --workflow-name b"
    assert error.evidence == "line 1: Workflow a (hardwareRef s)\nline 6: Workflow b (hardwareRef s)"
    assert picked(text, name="b").name == "b"


def test_a_name_never_picks_another_servers_workflow() -> None:
    error = refused(workflow("a") + "---\n" + workflow("c", "other"), name="c")
    assert error.what == "no Workflow c in this file has hardwareRef s"
    assert error.next == "name one of: a"


def test_the_same_name_twice_cannot_be_picked_apart() -> None:
    error = refused(workflow("a") + "---\n" + workflow("a"), name="a")
    assert error.next == "leave one document of each name in the file"


def test_a_workflow_of_another_api_is_not_taken() -> None:
    text = workflow("a").replace("tinkerbell.org/v1alpha1", "argoproj.io/v1alpha1")
    assert "line 1: Workflow a" not in refused(text).what


def test_another_namespace_is_an_error_and_the_same_is_not() -> None:
    text = workflow("a").replace("{name: a}", "{name: a, namespace: other}")
    error = refused(text)
    assert error.what == "the Workflow a is for namespace other, and the site's is tink-system"
    assert error.where == "w.yaml:1"
    assert picked(text.replace("other}", "tink-system}")).manifest["metadata"]["namespace"] == "tink-system"


def test_without_a_name_or_disabled_it_is_refused() -> None:
    assert "metadata.name" in refused(workflow("a").replace("name: a", "generateName: a-")).what
    assert "spec.disabled" in refused(workflow("a", more=", disabled: true")).what


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\n---\nb: {c\n---\n", "w.yaml:4:1"),
        (workflow("a") + "spec: {hardwareRef: other}\n", "w.yaml:5:1"),
        ("a: {{ .Values.x }}\n", "w.yaml:1:5"),
        ("a: !secret b\n", "w.yaml:1:4"),
        ("a: 1\nb: \x07\n", "w.yaml:2:4"),
    ],
)
def test_broken_yaml_has_its_line(text: str, place: str) -> None:
    error = refused(text)
    assert "not YAML" in error.what
    assert error.where == place


@pytest.mark.parametrize("text", ["a: !!int b\n", "a: &x [*x]\n---\n" + workflow("a", "other")])
def test_strange_yaml_is_no_crash(text: str) -> None:
    refused(text)


def test_a_list_is_opened() -> None:
    items = "".join("- " + workflow(name, name).replace("\n", "\n  ").rstrip() + "\n" for name in ("a", "b"))
    document = picked("apiVersion: v1\nkind: List\nitems:\n" + items, "b")
    assert document.name == "b"
    assert yaml.safe_load(document.text) == {
        key: {"name": "b"} if key == "metadata" else value for key, value in document.manifest.items()
    }


def test_windows_line_ends_and_anchors_survive() -> None:
    text = (workflow("a", "other") + "---\n" + workflow("b", more=", hardwareMap: {x: &m z, y: *m}")).replace(
        "\n", "\r\n"
    )
    document = picked(text)
    assert document.manifest["spec"]["hardwareMap"] == {"x": "z", "y": "z"}
    assert yaml.safe_load(document.text)["metadata"] == {"name": "b"}


def test_a_workflow_is_made_from_a_template() -> None:
    values = {"device_1": "52:54:00:12:34:56", "hostname": "s"}
    document = workflow_from(server="Rack_1", template="ubuntu", hardware="h", hardware_map=values, namespace="n")
    assert document.name == "rack-1-ubuntu"
    assert document.manifest == {
        "apiVersion": "tinkerbell.org/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "rack-1-ubuntu", "namespace": "n"},
        "spec": {"templateRef": "ubuntu", "hardwareRef": "h", "hardwareMap": values},
    }
    assert yaml.safe_load(document.text) == document.manifest


def test_a_made_workflow_can_be_named_and_need_no_map() -> None:
    document = workflow_from(server="s", template="t", hardware="h", hardware_map={}, namespace="n", name="mine")
    assert document.name == "mine"
    assert "hardwareMap" not in document.manifest["spec"]


def test_long_names_stay_apart() -> None:
    first, second = safe_name("a" * 80 + "x"), safe_name("a" * 80 + "y")
    assert first != second
    assert len(first) == len(second) == 63


@given(st.text(alphabet="aZ09._- é", max_size=90).map(lambda text: "a" + text))
def test_every_name_is_one_that_kubernetes_takes(wanted: str) -> None:
    name = safe_name(wanted)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name)


def test_a_file_is_read_once_for_all_servers_in_it_whose_runs_begin_together() -> None:
    names = [f"colo-{number}" for number in range(8)]
    whole = "---\n".join(workflow(name, name) for name in names)
    before = _read.cache_info()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: workflow_for(whole, "many.yaml", name, namespace="tink-system").name, names))
    after = _read.cache_info()
    assert found == names
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 7)
