"""A remedy is a line that runs where the user sits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from metalfoundry.diagnosis import remedies
from metalfoundry.model.program import called, ours
from tests.diagnosis.cases import facts
from tests.runs.scene import Scene

JUMP = ("ssh", "-p", "2222", "-i", "/k", "ubuntu@192.0.2.1")


@pytest.fixture
def metalfoundry() -> Iterator[None]:
    called("metalfoundry")
    yield
    called("fab")


def test_kubectl_goes_through_the_jump_host_with_its_port_and_identity() -> None:
    world = facts({"configured": {"jump": JUMP, "kubectl": ("sudo", "k3s", "kubectl")}})
    line = shlex.split(remedies.patch_workflow(world, {"spec": {"disabled": False}}))
    assert tuple(line[:-1]) == JUMP
    there = shlex.split(line[-1])
    assert there[:4] == ["sudo", "k3s", "kubectl", "patch"]
    assert '{"spec": {"disabled": false}}' in there


def test_a_hint_of_the_site_does_so_too() -> None:
    assert Scene().run.site.kubectl_hint("get", "hardware") == (
        "ssh ubuntu@192.0.2.103 'kubectl get hardware -n tink-system'"
    )


@pytest.mark.usefixtures("metalfoundry")
def test_our_own_commands_are_spelt_with_the_program_that_runs() -> None:
    assert remedies.provision(facts({})) == "metalfoundry provision colo-server-01"
    assert remedies.logs(facts({}), "smee") == "metalfoundry logs colo-server-01 --source smee"
    assert ours("attach", "a b") == "metalfoundry attach 'a b'"
