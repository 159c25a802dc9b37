"""Installing the guard: in which order, how long it is waited for, and what is said where it does not come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from metalfoundry import Foundry, PreflightError
from metalfoundry.commands.command import Command
from metalfoundry.commands.guard import version
from metalfoundry.commands.guard_cluster import VERSION
from metalfoundry.commands.script import MARK
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory_reader import of
from metalfoundry.transport.clock import FakeClock
from tests.fakes import FakeTransport

SWEEPER = "cronjob.batch/metalfoundry-sweeper\nrole.rbac.authorization.k8s.io/metalfoundry-sweeper\n"
REFUSED = 'Error from server (Forbidden): roles is forbidden: User "u" cannot create resource "roles"'
GUARDS = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
AWAY = "t api-away error=Error from server (Forbidden): cannot list resource"


def answer(**parts: str | tuple[int, str]) -> Callable[[Host, Command], str]:
    """The output of a script whose parts print this; (status, stderr) for one that fails."""

    def reply(host: Host, command: Command) -> str:
        mark = f"{MARK} {command.stdin.splitlines()[0].removeprefix('mark=')}"
        told = []
        for name, part in parts.items():
            code, out, err = (0, part, "") if isinstance(part, str) else (part[0], "", part[1])
            told.append(f"{mark} {name} out\n{out}\n{mark} {name} err\n{err}\n{mark} {name} exit {code}\n")
        return "".join(told)

    return reply


def stands(guards: bool = False, pod: object = None, log: str = "") -> Callable[[Host, Command], str]:
    template = {"metadata": {"annotations": {VERSION: version()}}, "spec": {"containers": [{"image": "i"}]}}
    deployment = {"spec": {"template": template}, "status": GUARDS if guards else {}}
    pods = {"items": [{"metadata": {"name": "p"}, "status": {"containerStatuses": [pod or {}]}}]}
    return answer(object=json.dumps(deployment), pods=json.dumps(pods), log=log)


def waits(reason: str) -> Callable[[Host, Command], str]:
    return stands(pod={"state": {"waiting": {"reason": reason, "message": f"why {reason}"}}})


class Place:
    """A jump host that answers `looks`, one after the other."""

    def __init__(
        self, *looks: Callable[[Host, Command], str], sweeper: str = "", apply: str | tuple[int, str] = ""
    ) -> None:
        self.clock = FakeClock()
        self.transport = FakeTransport(self.clock)
        self.transport.on("kubectl apply", reply=answer(apply=apply))
        self.transport.on("kubectl get deployments", reply=list(looks or [stands(guards=True)]))
        self.transport.on("kubectl get cronjobs", reply=answer(sweeper=sweeper))
        self.transport.on("kubectl delete", reply=answer(delete0="deleted", delete1="deleted"))
        site = {"jump": {"host": "jump"}, "namespace": "tink-system"}
        inventory = of({"site": site, "servers": {"anvil": {}}}, "")
        self.foundry = Foundry(inventory, clock=self.clock, transport=self.transport)

    def holds(self, *runs: str) -> None:
        """Let Hardware be held by these runs."""
        hardware = [
            {"kind": "Hardware", "metadata": {"name": f"h{number}", "annotations": {"metalfoundry.dev/run": run}}}
            for number, run in enumerate(runs)
        ]
        self.transport.on("kubectl get hardware", reply=answer(objects=json.dumps({"items": hardware})))

    @property
    def verbs(self) -> list[str]:
        """What was said to kubectl, the looks that waited left out."""
        lines = [line for each in self.transport.said for line in each.command.stdin.splitlines() if "part " in line]
        words = [line.partition(" kubectl ")[2].split()[:2] for line in lines if " kubectl " in line]
        return list(dict.fromkeys(" ".join(pair) for pair in words))


def caught(place: Place, image: str = "") -> PreflightError:
    with pytest.raises(PreflightError) as error:
        place.foundry.install_guard(image)
    return error.value


def test_it_is_applied_and_seen_guarding_before_a_sweeper_is_removed() -> None:
    place = Place(stands(), waits("ContainerCreating"), stands(guards=True), sweeper=SWEEPER)
    assert place.foundry.install_guard() == SWEEPER.split()
    assert [verb.split(".")[0] for verb in place.verbs] == [
        "apply -f", "get deployments", "get pods", "logs -l", "get cronjobs", "delete cronjob", "delete role",
    ]  # fmt: skip
    assert len(place.transport.writes) == 2


def test_without_a_sweeper_nothing_is_deleted() -> None:
    place = Place()
    assert place.foundry.install_guard() == []
    assert len(place.transport.writes) == 1


def test_where_it_does_not_guard_the_sweeper_stays() -> None:
    place = Place(waits("ErrImagePull"), waits("ImagePullBackOff"), sweeper=SWEEPER)
    error = caught(place)
    assert str(error).startswith("the guard does not guard: its image does not come")
    assert error.evidence == "ErrImagePull: why ErrImagePull\nImagePullBackOff: why ImagePullBackOff"
    assert not any("delete" in verb for verb in place.verbs)


@pytest.mark.parametrize(
    ("look", "what", "step"),
    [
        (
            waits("CrashLoopBackOff"),
            "its pod does not start",
            "describe pods -l app.kubernetes.io/name=metalfoundry-guard",
        ),
        (stands(log=AWAY), "it may not read Hardware and Workflows", "fab guard.print"),
        (answer(object="", pods="", log=""), "somebody has removed it again", "fab guard.install"),
    ],
)
def test_each_cause_has_its_next_step(look: Callable[[Host, Command], str], what: str, step: str) -> None:
    place = Place(look)
    begun = place.clock.now().mono
    error = caught(place)
    assert error.what == f"the guard does not guard: {what}"
    assert step in error.next
    assert place.clock.now().mono - begun < 10


def test_rights_that_come_a_moment_later_are_waited_for() -> None:
    place = Place(*[stands(log=AWAY)] * 4, stands(guards=True))
    assert place.foundry.install_guard() == []


def test_a_slow_image_is_waited_for_and_not_for_ever() -> None:
    assert Place(*[waits("ContainerCreating")] * 100, stands(guards=True)).foundry.install_guard() == []
    place = Place(stands())
    begun = place.clock.now().mono
    assert caught(place).what == "the guard does not guard: its pod is not ready after 180 s"
    assert 180 <= place.clock.now().mono - begun < 185


def test_who_may_not_is_told_what_to_do() -> None:
    place = Place(apply=(1, REFUSED))
    error = caught(place, "example.test/own:1")
    assert error.next.startswith("fab guard.print --image example.test/own:1, and have it applied by somebody who may")
    assert error.evidence == REFUSED
    assert place.verbs == ["apply -f"]


def test_an_api_server_that_is_away_is_no_refusal() -> None:
    place = Place(apply=(1, "The connection to the server 10.0.0.1:6443 was refused"))
    assert caught(place).what == "kubectl does not reach the API server"


@pytest.mark.parametrize("names", [["r1"], ["r1", "r2"]])
def test_while_runs_hold_servers_it_is_removed_only_by_force(names: Sequence[str]) -> None:
    place = Place()
    place.holds(*names)
    with pytest.raises(PreflightError, match="runs hold h0") as error:
        place.foundry.remove_guard()
    assert error.value.next.endswith("fab guard.remove")
    assert not place.transport.writes
    place.foundry.remove_guard(force=True)
    assert len(place.transport.writes) == 1


def test_with_nobody_to_guard_it_is_removed() -> None:
    place = Place()
    place.holds()
    place.foundry.remove_guard()
    deleted = [verb.removeprefix("delete ").split(".")[0].split("/")[0] for verb in place.verbs if "delete" in verb]
    assert deleted == ["deployments", "rolebindings", "roles", "serviceaccounts", "configmaps"]


def test_what_stands_there() -> None:
    found = Place(stands(guards=True)).foundry.cluster_guard()
    assert found is not None and found.guarding
    assert Place(answer(object="", pods="", log="")).foundry.cluster_guard() is None
    with pytest.raises(PreflightError, match="kubectl may not do this"):
        Place(answer(object=(1, REFUSED))).foundry.cluster_guard()
