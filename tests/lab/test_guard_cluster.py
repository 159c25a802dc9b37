"""The guard in the cluster by the command line: what is printed, asked and shown. That it guards is shown on a node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from metalfoundry.commands.guard_cluster import NAME
from metalfoundry.lab.lab import Lab
from tests.lab.bench import SPEED, call


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED) as lab:
        yield lab


def deployments(lab: Lab) -> list[str]:
    return [each["metadata"]["name"] for each in lab.store.list("deployments")]


def test_without_a_terminal_nothing_is_installed_and_nothing_removed(lab: Lab) -> None:
    for words in (["install", "--image", "example.test/a:1"], ["remove"]):
        done = call(lab, f"guard.{words[0]}", *words[1:])
        assert done.returncode == 12
        assert f"metalfoundry guard.{' '.join(words)} --yes" in done.stderr
    assert deployments(lab) == ["tinkerbell"]


def test_what_is_printed_can_be_applied_shown_and_removed(lab: Lab) -> None:
    shown = call(lab, "guard.print", "--image", "example.test/a:1").stdout
    made = list(yaml.safe_load_all(shown))
    for each in made:
        lab.store.create(f"{each['kind'].lower()}s", each)
    seen = json.loads(call(lab, "guard.status", "--json").stdout)["cluster"]
    assert (seen["guarding"], seen["current"], seen["image"]) == (False, True, "example.test/a:1")
    lines = call(lab, "guard.status").stdout.splitlines()
    assert lines[0].startswith("the guard in the cluster does not guard: it starts, pod none, restarts 0, version ")
    assert call(lab, "guard.remove", "--yes").returncode == 0
    assert NAME not in deployments(lab)
    assert not [each for each in made if each["kind"] == "Role" and lab.store.list("roles")]
    assert call(lab, "guard.status").stdout.startswith(
        "no guard is installed in the cluster: metalfoundry guard.install\n"
    )


def test_where_no_pod_comes_the_command_says_so(lab: Lab, tmp_path: Path) -> None:
    lab.store.create("cronjobs", {"metadata": {"name": "metalfoundry-sweeper"}})
    lab.store.create("deployments", {"metadata": {"name": NAME}, "status": {"conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]}})  # fmt: skip
    done = call(lab, "guard.install", "--yes")
    assert done.returncode == 10
    assert "the cluster admits no pod of it" in done.stderr
    assert "violates PodSecurity" in done.stderr
    assert [each["metadata"]["name"] for each in lab.store.list("cronjobs")] == ["metalfoundry-sweeper"]
