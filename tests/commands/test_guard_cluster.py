"""The guard's manifests, and what is read of how it stands."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from metalfoundry.commands import guard_cluster
from metalfoundry.commands.guard import script, version
from metalfoundry.commands.guard_cluster import NAME, VERSION, GuardDeployment
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.commands.script import Outcome
from metalfoundry.lab.kubernetes.store import Object

IMAGE = "example.test/guard:1"
KUBECTL = Kubectl(("sudo", "kubectl"), "tink-system")


def objects(*words: str) -> dict[str, Object]:
    text = guard_cluster.manifests("tink-system", IMAGE, words or ("kubectl",))
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def pod() -> dict[str, Any]:
    return dict(objects()["Deployment"]["spec"]["template"])


def test_all_of_it_is_one_name_in_one_namespace() -> None:
    made = objects()
    assert list(made) == ["ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Deployment"]
    assert {(each["metadata"]["name"], each["metadata"]["namespace"]) for each in made.values()} == {
        (NAME, "tink-system")
    }
    assert made["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "tink-system"}]


def test_it_may_do_no_more_than_it_needs() -> None:
    assert objects()["Role"]["rules"] == [
        {"apiGroups": ["tinkerbell.org"], "resources": ["hardware"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["tinkerbell.org"], "resources": ["workflows"], "verbs": ["get", "list", "watch"]},
    ]


def test_two_never_guard_side_by_side_and_another_script_is_another_pod() -> None:
    spec = objects()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert objects()["ConfigMap"]["data"] == {"guard.sh": script()}
    assert pod()["metadata"]["annotations"] == {VERSION: version()}


def test_the_pod_is_restricted() -> None:
    spec = pod()["spec"]
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    assert set(container["resources"]["limits"]) == set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_kubectl_is_called_in_the_image_as_the_inventory_says_and_without_a_limit_of_its_own() -> None:
    container = objects("k3s", "kubectl")["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    words = {each["name"]: each.get("value") for each in container["env"]}
    assert (words["KUBECTL"], words["BOUND"]) == ("k3s kubectl", "")


def test_it_is_applied_as_one_manifest_on_stdin() -> None:
    part = guard_cluster.install(KUBECTL, IMAGE, ("kubectl",))
    assert part.argv[:5] == ("sudo", "kubectl", "apply", "-f", "-")
    assert part.stdin == guard_cluster.manifests("tink-system", IMAGE, ("kubectl",))


def test_of_a_sweeper_only_what_has_its_name_is_removed() -> None:
    told = "cronjob.batch/metalfoundry-sweeper\nserviceaccount/other\n--all\nx/metalfoundry-sweeper -A\n"
    assert guard_cluster.read_sweeper(Outcome(1, told, "")) == ["cronjob.batch/metalfoundry-sweeper"]


READY = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def outcomes(status: Object, pods: list[Object], log: str = "", carried: str | None = None) -> dict[str, Outcome]:
    spec = {"containers": [{"image": IMAGE}]}
    template = {"metadata": {"annotations": {VERSION: version() if carried is None else carried}}, "spec": spec}
    deployment = {"metadata": {"generation": 2}, "spec": {"template": template}, "status": status}
    texts = {"object": json.dumps(deployment), "pods": json.dumps({"items": pods}), "log": log}
    return {name: Outcome(0, text, "") for name, text in texts.items()}


def seen(status: Object, pods: list[Object], log: str = "", carried: str | None = None) -> GuardDeployment:
    found = guard_cluster.read(outcomes(status, pods, log, carried))
    assert found is not None
    return found


def a_pod(name: str = "new", made: str = "2026-01-02T03:04:05Z", *, leaving: bool = False, **status: Any) -> Object:
    meta = {"name": name, "creationTimestamp": made} | ({"deletionTimestamp": made} if leaving else {})
    return {"metadata": meta, "status": {"startTime": made, **status}}


def waiting(reason: str, message: str = "", last: Object | None = None) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return a_pod(containerStatuses=[{"restartCount": 3, "state": state, "lastState": last or {}}])


def test_a_guard_as_it_stands() -> None:
    log = "t started version=1\nt closed hardware=anvil run=r reason=RUNNING\nt api-back\n"
    leaving = a_pod("old", "2026-01-02T03:04:06Z", leaving=True)
    assert seen(READY, [leaving, a_pod(containerStatuses=[{"restartCount": 2}])], log) == GuardDeployment(
        guarding=True, current=True, version=version(), image=IMAGE, pod="new", since="2026-01-02T03:04:05Z",
        restarts=2, closed="t closed hardware=anvil run=r reason=RUNNING", log="t api-back",
    )  # fmt: skip


@pytest.mark.parametrize(
    "status",
    [
        {},
        READY | {"observedGeneration": 1},  # not yet looked at
        READY | {"availableReplicas": 0},
        READY | {"updatedReplicas": 0},  # the pod of its earlier form
        READY | {"replicas": 2},
    ],
)
def test_a_guard_that_is_not_there_yet(status: Object) -> None:
    assert not seen(status, [a_pod()]).guarding


def test_another_script() -> None:
    assert not seen(READY, [], carried="abc").current


def test_none_is_installed_and_pods_that_may_not_be_read_are_no_fault() -> None:
    assert guard_cluster.read({"object": Outcome(0, "", "")}) is None
    refused = Outcome(1, "", "Error from server (Forbidden): pods is forbidden")
    found = guard_cluster.read(outcomes(READY, []) | {"pods": refused, "log": refused})
    assert found is not None and found.guarding and found.pod == ""


FORBIDDEN = 'Error from server (Forbidden): hardware is forbidden: User "x" cannot list resource "hardware"'


@pytest.mark.parametrize(
    ("status", "pods", "log", "cause", "trouble"),
    [
        ({}, [waiting("ImagePullBackOff", "Back-off")], "", "image", "ImagePullBackOff: Back-off"),
        ({}, [waiting("ErrImagePull", "no such host")], "", "image", "ErrImagePull: no such host"),
        (
            {},
            [waiting("CrashLoopBackOff", "back-off", {"terminated": {"reason": "OOMKilled", "exitCode": 137}})],
            "sh: kubectl: not found\n",
            "start",
            "CrashLoopBackOff: back-off: OOMKilled, exit code 137: sh: kubectl: not found",
        ),
        ({}, [waiting("ContainerCreating")], "", "", ""),
        (
            {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]},
            [],
            "",
            "admission",
            "violates PodSecurity",
        ),
        (
            {},
            [a_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}])],
            "",
            "room",
            "0/1 nodes are available",
        ),
        ({}, [a_pod()], f"t api-away error={FORBIDDEN}\n", "rights", f"error={FORBIDDEN}"),
        ({}, [a_pod()], f"t api-away error={FORBIDDEN}\nt api-back\n", "", ""),
        ({}, [a_pod()], "t api-away error=i/o timeout\n", "", "error=i/o timeout"),
    ],
)
def test_what_hinders_it(status: Object, pods: list[Object], log: str, cause: str, trouble: str) -> None:
    found = seen(status, pods, log)
    assert (found.guarding, found.cause, found.trouble) == (False, cause, trouble)


@pytest.mark.parametrize("spoilt", [[], {"status": 1}, {"status": {"containerStatuses": [1]}}, {"metadata": []}])
def test_whatever_stands_there_is_read(spoilt: Any) -> None:
    assert not seen({"conditions": "x", "replicas": "1"}, [spoilt]).guarding
