"""What an operator may do with the Role of `fab rbac.print` and no right more, on a real API server with RBAC on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import CheckState, Diagnosis, Foundry, Options, PreflightError
from metalfoundry.commands.bmc import JOBS, MACHINES, ON, TASKS, create_job
from metalfoundry.commands.happenings import Happening, event
from metalfoundry.commands.kubectl import HARDWARE, TEMPLATES, WORKFLOWS, Kubectl
from metalfoundry.commands.rights import BMC, HELPFUL, NEEDED, TINKERBELL, Right, rules, wanted
from metalfoundry.commands.rights import NAME as ROLE
from metalfoundry.diagnosis.facts import NotSeen
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import BmcFault, scenario
from tests.lab.bench import NAME
from tests.real.api import ApiClient
from tests.real.kube import Kube
from tests.real.place import real_parts, until
from tests.realtier import kube, need_kubectl

__all__ = ["kube"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
USER = "lab"
TABLES = {"rights": NEEDED, "rights-to-diagnose": HELPFUL}
MANIFEST = (
    '{"apiVersion": "tinkerbell.org/v1alpha1", "kind": "Workflow", "metadata": {"name": "none"}, '
    '"spec": {"templateRef": "none", "hardwareRef": "none"}}'
)
JOB = create_job(Kubectl(("kubectl",), "real-rights"), "none", "none", (ON,)).stdin
PATCH = '[{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]'


@dataclass
class Operator:
    """A lab whose operator is a user of the API server with no rights but those that are given."""

    lab: Lab
    kube: Kube
    foundry: Foundry
    kubeconfig: Path
    client: ApiClient

    def kubectl(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        argv = [str(need_kubectl("1.33")), "--kubeconfig", str(self.kubeconfig), "-n", self.lab.namespace, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, input=stdin, timeout=30)

    def may_all_but(self, *without: Right) -> None:
        """Change the Role, and wait until the API server knows."""
        kept = [right for right in wanted() if right not in without]
        role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.lab.namespace}/roles/{ROLE}"
        self.kube.client().request("PATCH", role, {"rules": rules(kept)}, "application/merge-patch+json")
        until(lambda: all(self.may(right) is (right in kept) for right in wanted()))

    def may(self, right: Right) -> bool:
        resource, _, below = right.resource.partition("/")
        asked = {"namespace": self.lab.namespace, "verb": right.verb, "group": right.group, "resource": resource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked | ({"subresource": below} if below else {})},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.client.request("POST", path, review)["status"]["allowed"])


@pytest.fixture(scope="module")
def operator(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("rights")
    namespace = "real-rights"
    parts = real_parts(kube, folder, namespace)
    config = kube.kubeconfig(folder / "operator", USER, namespace)
    parts["environment"] = {"KUBECONFIG": str(config)}
    story = scenario("installs", bmc=BmcFault.NONE)
    with Lab(folder / "lab", story, 40.0, (NAME,), **parts) as lab, Foundry.load(lab.inventory) as foundry:
        admin = kube.kubeconfig(folder / "admin", namespace=namespace)
        applied = subprocess.run(
            [str(need_kubectl("1.33")), "--kubeconfig", str(admin), "apply", "-f", "-"],
            input=foundry.operator_role(user=USER), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert applied.returncode == 0, applied.stderr
        yield Operator(lab, kube, foundry, config, kube.client(USER))


def test_it_is_enough(operator: Operator) -> None:
    foundry = operator.foundry
    assert {row.netboot for row in foundry.status()} == {"closed"}
    assert foundry.provision(NAME, Options(reason="a test")).raise_for_error().closed
    assert foundry.audit() == []
    operator.lab.machine(NAME).refuse_reboot()
    assert foundry.power_status(NAME).power == "on"
    assert foundry.reboot(NAME, wait=False).by == "bmc"
    assert foundry.provision(NAME, Options(reason="by its BMC")).raise_for_error().closed
    seen = foundry.troubleshoot(NAME)
    assert seen.findings
    assert not _forbidden(seen)


ASKING: dict[Right, Callable[[Operator], subprocess.CompletedProcess[str]]] = {
    Right(TINKERBELL, "hardware", "get"): lambda op: op.kubectl("get", f"{HARDWARE}/{NAME}"),
    Right(TINKERBELL, "hardware", "list"): lambda op: op.kubectl("get", HARDWARE),
    Right(TINKERBELL, "hardware", "patch"): lambda op: op.kubectl(
        "patch", f"{HARDWARE}/{NAME}", "--type=json", "--patch-file=/dev/stdin", "--dry-run=server", stdin=PATCH
    ),
    Right(TINKERBELL, "hardware", "watch"): lambda op: op.kubectl("get", HARDWARE, "-w", "--request-timeout=1s"),
    Right(TINKERBELL, "templates", "list"): lambda op: op.kubectl("get", TEMPLATES),
    Right(TINKERBELL, "workflows", "get"): lambda op: op.kubectl(
        "apply", "-f", "-", "--dry-run=server", stdin=MANIFEST
    ),
    Right(TINKERBELL, "workflows", "list"): lambda op: op.kubectl("get", WORKFLOWS),
    Right(TINKERBELL, "workflows", "watch"): lambda op: op.kubectl("get", WORKFLOWS, "-w", "--request-timeout=1s"),
    Right(TINKERBELL, "workflows", "create"): lambda op: op.kubectl(
        "apply", "-f", "-", "--dry-run=server", stdin=MANIFEST
    ),
    Right(TINKERBELL, "workflows", "delete"): lambda op: op.kubectl("delete", f"{WORKFLOWS}/none", "--wait=false"),
    Right("", "pods", "get"): lambda op: op.kubectl("logs", "pods/none"),
    Right("", "pods", "list"): lambda op: op.kubectl("get", "pods.v1."),
    Right("", "pods/log", "get"): lambda op: op.kubectl("get", "--raw", f"{_pods(op)}/none/log"),
    Right("", "events", "create"): lambda op: op.kubectl("create", "-f", "-", "--dry-run=server", stdin=_event(op)),
    Right("", "events", "list"): lambda op: op.kubectl("get", "events.v1."),
    Right("apps", "deployments", "get"): lambda op: op.kubectl("get", "deployments.v1.apps/none"),
    Right("apps", "deployments", "list"): lambda op: op.kubectl("get", "deployments.v1.apps"),
    Right(BMC, "jobs", "create"): lambda op: op.kubectl("create", "-f", "-", "--dry-run=server", stdin=JOB),
    Right(BMC, "jobs", "get"): lambda op: op.kubectl("get", f"{JOBS}/none"),
    Right(BMC, "jobs", "watch"): lambda op: op.kubectl("get", JOBS, "-w", "--request-timeout=1s"),
    Right(BMC, "machines", "get"): lambda op: op.kubectl("get", f"{MACHINES}/none"),
    Right(BMC, "tasks", "get"): lambda op: op.kubectl("get", f"{TASKS}/none"),
    Right(BMC, "jobs", "list"): lambda op: op.kubectl("get", "jobs.v1alpha1.bmc.tinkerbell.org"),
    Right(BMC, "machines", "list"): lambda op: op.kubectl("get", "machines.v1alpha1.bmc.tinkerbell.org"),
    Right(BMC, "tasks", "list"): lambda op: op.kubectl("get", "tasks.v1alpha1.bmc.tinkerbell.org"),
}


def _event(operator: Operator) -> str:
    kubectl = Kubectl(("kubectl",), operator.lab.namespace)
    return event(kubectl, NAME, "", Happening("Tried", "a test"), datetime.now(UTC)).stdin


def _pods(operator: Operator) -> str:
    return f"/api/v1/namespaces/{operator.lab.namespace}/pods"


def test_every_right_is_tried() -> None:
    assert sorted(ASKING) == wanted()


@pytest.mark.parametrize("right", wanted(), ids=str)
def test_without_one_of_them_something_fails_and_says_which(operator: Operator, right: Right) -> None:
    operator.may_all_but()
    assert not _denies(ASKING[right](operator), right)
    operator.may_all_but(right)
    assert _denies(ASKING[right](operator), right)
    if right in NEEDED["provision"]:
        with pytest.raises(PreflightError, match=f"may not {right}") as caught:
            operator.foundry.plan(NAME)
        assert caught.value.exit_code == 10
        assert "rbac.print" in caught.value.next
    elif right in HELPFUL["troubleshoot"] and not right.resource.startswith("pods"):  # there is no pod to be seen
        assert _forbidden(operator.foundry.troubleshoot(NAME))
    checks = {check.check: check for check in operator.foundry.doctor() if "right" in check.check and not check.server}
    failed = [name for name, check in checks.items() if check.state is CheckState.FAILED]
    assert failed == [name for name, table in TABLES.items() if any(right in rights for rights in table.values())]
    assert all(f"may not {right}" in checks[name].what for name in failed)


def _denies(done: subprocess.CompletedProcess[str], right: Right) -> bool:
    said = f'cannot {right.verb} resource "{right.resource}" in API group "{right.group}"'
    return done.returncode == 1 and said in done.stderr


def _forbidden(seen: Diagnosis) -> list[str]:
    """What was not looked at for want of a right."""
    named: list[Any] = [getattr(seen.facts, name) for name in seen.facts.__slots__] + list(seen.facts.logs.values())
    return [fact.reason for fact in named if isinstance(fact, NotSeen) and "forbidden" in fact.reason.lower()]
