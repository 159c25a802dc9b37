"""The guard as a Deployment on a real node: it guards the claims of two clients, whatever becomes of its pod, the
kubelet and the API server; and it may do no more than it needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry, PreflightError
from metalfoundry.commands.guard_cluster import NAME, SWEEPER
from metalfoundry.lab.kubernetes.store import Object, StoreError
from metalfoundry.model.inventory_reader import of
from tests.guard.harness import RUN
from tests.guard.harness import client as client_of
from tests.real.api import ApiClient, HttpStore
from tests.real.node import IMAGE, Here, Node
from tests.realtier import need_crds, need_node
from tests.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
RACK, ELSEWHERE, NARROW = "rack", "elsewhere", "narrow"
LEASE = 6
SLACK = 40.0  # of a busy computer: each write is a program to start
OURS = "metalfoundry.dev/"
OLD = f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {SWEEPER}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {SWEEPER}}}
rules: [{{apiGroups: [tinkerbell.org], resources: [hardware], verbs: [get, list, patch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {SWEEPER}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {SWEEPER}}}
subjects: [{{kind: ServiceAccount, name: {SWEEPER}}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: {SWEEPER}}}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: a, image: {IMAGE}}}]}}}}}}}}
"""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with need_node() as node:
        node.kubectl("apply", "-f", str(need_crds("v0.21")))
        node.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield node


@pytest.fixture(scope="module")
def client(node: Node) -> Iterator[ApiClient]:
    client = node.client()
    yield client
    client.close()


@contextlib.contextmanager
def foundry_of(node: Node, namespace: str, kubeconfig: Path | None = None, image: str = IMAGE) -> Iterator[Foundry]:
    site = {"jump": {"host": "here.example"}, "namespace": namespace, "guard": {"image": image}}
    with Foundry(of({"site": site, "servers": {"anvil": {}}}, ""), transport=Here(node, kubeconfig)) as foundry:
        yield foundry


@dataclass
class Rack:
    """A namespace with a guard in it. `closed`: when each Hardware that was open was first seen closed."""

    node: Node
    store: HttpStore
    foundry: Foundry
    removed: list[str]
    closed: dict[str, float] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)

    def hardware(self, name: str, run: str = "", lease: int = 600, workflow: bool = False) -> None:
        """Make it, open, with a claim where there is a run."""
        claim = {"run": run, "renewal": "1", "lease": str(lease), "until": "running"}
        if workflow:
            spec = {"templateRef": "t", "hardwareRef": name}
            made = self.store.create("workflows", {"metadata": {"name": name}, "spec": spec})
            claim |= {"workflow": name, "workflow-uid": str(made["metadata"]["uid"])}
        notes = {f"{OURS}{key}": value for key, value in claim.items()} if run else {}
        interfaces = [{"dhcp": {"mac": "02:00:00:00:00:01"}, "netboot": {"allowPXE": True, "allowWorkflow": True}}]
        meta = {"name": name, "annotations": notes}
        self.store.create("hardware", {"metadata": meta, "spec": {"interfaces": interfaces}})

    def note(self, name: str, **values: str) -> None:
        """Write notes of the claim."""
        path = f"/metadata/annotations/{OURS.replace('/', '~1')}"
        changes = [{"op": "add", "path": path + key, "value": value} for key, value in values.items()]
        self.store.patch("hardware", name, changes)

    def notes(self, name: str) -> dict[str, str]:
        return dict(self.store.get("hardware", name)["metadata"].get("annotations") or {})

    def acknowledged(self, run: str, renewal: int, *names: str) -> None:
        """Wait until the guard says that it holds all of these."""
        wanted = f"{NAME}@cluster {run} {renewal} holds"
        self.awaits(lambda: all(self.notes(name).get(f"{OURS}guard") == wanted for name in names), wanted)

    def awaits(self, holds: Callable[[], object], what: str) -> None:
        """As `until`; a failure shows the guard's log."""
        try:
            until(holds, 120)
        except AssertionError as error:
            log = self.node.kubectl("logs", f"deployments/{NAME}", "-n", RACK, "--tail=30")
            raise AssertionError(f"{what}\n{log}") from error

    def runs(self, name: str) -> None:
        """Let its Workflow be RUNNING."""
        self.store.patch("workflows", name, [{"op": "add", "path": "/status", "value": {"state": "RUNNING"}}])

    def look(self, stop: threading.Event) -> None:
        """Go on looking for what has been closed, and for what is opened again."""
        while not stop.wait(0.2):
            with contextlib.suppress(StoreError):
                for item in self.store.list("hardware"):
                    name = item["metadata"]["name"]
                    if not is_open(item):
                        self.closed.setdefault(name, time.monotonic())
                    elif name in self.closed:
                        self.over.add(name)

    def guard(self) -> int:
        """The process, as this computer sees it: the first of its pod."""
        words, place = b"sh\0/metalfoundry/guard.sh\0run\0", f"NAMESPACE={RACK}".encode()
        found = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if text(path) == words]
        mine = [path for path in found if place in text(path / "environ").split(b"\0")]
        first = [path for path in mine if re.search(rb"^NSpid:.*\t1$", text(path / "status"), re.MULTILINE)]
        assert len(first) == 1, (found, mine)
        return int(first[0].name)


def text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def is_open(hardware: Object) -> bool:
    return any(each.get("netboot", {}).get("allowPXE") for each in hardware["spec"]["interfaces"])


@pytest.fixture(scope="module")
def rack(node: Node, client: ApiClient) -> Iterator[Rack]:
    store = node.store(client, RACK)
    node.kubectl("apply", "-n", RACK, "-f", "-", given=OLD)
    with foundry_of(node, RACK) as foundry:
        rack, stop = Rack(node, store, foundry, foundry.install_guard()), threading.Event()
        thread = threading.Thread(target=rack.look, args=(stop,))
        thread.start()
        try:
            yield rack
        finally:
            stop.set()
            thread.join(30)


def test_it_is_installed_and_guards_and_a_sweeper_is_removed(rack: Rack) -> None:
    seen = rack.foundry.cluster_guard()
    assert seen is not None and seen.guarding and seen.current
    assert (seen.image, seen.restarts, seen.trouble) == (IMAGE, 0, "")
    assert " started version=" in rack.node.kubectl("logs", f"deployments/{NAME}", "-n", RACK)
    assert sorted(name.partition("/")[0].partition(".")[0] for name in rack.removed) == [
        "cronjob", "role", "rolebinding", "serviceaccount",
    ]  # fmt: skip
    kinds = "cronjobs,roles,rolebindings,serviceaccounts"
    assert SWEEPER not in rack.node.kubectl("get", kinds, "-n", RACK, "-o", "name")
    assert rack.foundry.install_guard() == []
    again = rack.foundry.cluster_guard()
    assert again is not None and again.pod == seen.pod  # nothing has changed: nothing is rolled


def in_pod(rack: Rack, *words: str, fails: bool = False) -> str:
    return rack.node.kubectl("exec", "-n", RACK, f"deployments/{NAME}", "--", *words, fails=fails)


def test_with_a_time_limit_of_kubectls_own_it_would_not_be_who_it_is(rack: Rack) -> None:
    assert in_pod(rack, "kubectl", "get", "hardware", "-n", RACK, "-o", "name") == ""
    assert "localhost:8080" in in_pod(
        rack, "kubectl", "--request-timeout=10s", "get", "hardware", "-n", RACK, fails=True
    )


def test_its_pod_is_restricted_and_its_token_is_good_for_nothing_else(rack: Rack, node: Node) -> None:
    rack.hardware("kept")
    rack.store.create("workflows", {"metadata": {"name": "kept"}, "spec": {"templateRef": "t", "hardwareRef": "kept"}})
    patch = """'{"metadata":{"labels":{"a":"b"}}}'"""
    tried = (
        f"delete hardware kept -n {RACK}",
        f"create configmap a -n {RACK}",
        f"get secrets -n {RACK}",
        f"get pods -n {RACK}",
        f"delete workflows.tinkerbell.org kept -n {RACK}",
        f"patch workflows.tinkerbell.org kept -n {RACK} --type=merge -p {patch}",
        f"patch workflows.tinkerbell.org kept -n {RACK} --subresource=status --type=merge -p {patch}",
        f"patch hardware kept -n {RACK} --subresource=status --type=merge -p {patch}",
        "get hardware -n default",
        "get nodes",
    )
    script = "".join(f"kubectl {words} 2>&1 | tail -n 1; " for words in tried)
    answers = in_pod(rack, "sh", "-c", script).splitlines()
    account = f"system:serviceaccount:{RACK}:{NAME}"
    for words, answer in zip(tried, answers, strict=True):
        assert "forbidden" in answer.lower() and account in answer, (words, answer)
    assert in_pod(rack, "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs|^Seccomp:' /proc/self/status").split() == [
        "65534", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", "Seccomp:", "2",
    ]  # fmt: skip
    assert "Read-only file system" in in_pod(rack, "touch", "/etc/x", fails=True)
    assert "violates PodSecurity" in node.kubectl("run", "loose", f"--image={IMAGE}", "-n", RACK, fails=True)


def test_silence_is_seen(rack: Rack) -> None:
    body = json.loads(rack.node.kubectl("get", "deployment", NAME, "-n", RACK, "-o", "json"))
    container = body["spec"]["template"]["spec"]["containers"][0]
    for probe, file in (("livenessProbe", "pass"), ("readinessProbe", "read")):
        look = container[probe]["exec"]["command"][-1]
        in_pod(rack, "sh", "-c", look)
        stale = look.replace(f"/tmp/{file}", "/tmp/stale")
        assert stale != look
        in_pod(rack, "sh", "-c", f"touch -d '2001-01-01 00:00' /tmp/stale; {stale}", fails=True)


def test_where_it_acknowledges_none_is_started_on_the_jump_host(rack: Rack, tmp_path: Path) -> None:
    rack.hardware("claimed", RUN)
    kubectl = str(rack.node.folder / "bin" / "kubectl")
    one = client_of("sh", tmp_path, kubectl, {"KUBECONFIG": str(rack.node.kubeconfig)})
    claim = {"HARDWARE": "claimed", "RUN": RUN, "RENEWAL": "1"}
    one.values |= claim | {"NAMESPACE": RACK, "PATIENCE": "60"}
    assert one.send("start") == {"guard": f"{NAME}@cluster {RUN} 1 holds"}
    assert not one.root.exists() and not one.processes()


def delete_pod(rack: Rack) -> None:
    rack.node.kubectl("delete", "pods", "-n", RACK, "-l", f"app.kubernetes.io/name={NAME}")
    rack.node.kubectl("rollout", "status", f"deployment/{NAME}", "-n", RACK, "--timeout=60s")


def restart_kubelet(rack: Rack) -> None:
    rack.node.kill("kubelet")


def restart_api_server(rack: Rack) -> None:
    rack.node.kill("kube-apiserver")
    assert not readable(rack)
    until(lambda: readable(rack), what="the API server is back")


def kill_guard(rack: Rack) -> None:
    os.kill(rack.guard(), signal.SIGKILL)


def readable(rack: Rack) -> bool:
    try:
        return bool(rack.store.list("hardware"))
    except StoreError:
        return False


@pytest.mark.parametrize("befalls", [delete_pod, restart_kubelet, restart_api_server, kill_guard])
def test_twenty_claims_of_two_clients(rack: Rack, befalls: Callable[[Rack], None]) -> None:
    key = befalls.__name__.replace("_", "-")
    dead, live = f"20260102T030405Z-{key}-7f3a9c", f"20260102T030406Z-{key}-7f3a9d"
    abandoned = [f"{key}-a{number}" for number in range(10)]
    installing, waiting = [f"{key}-b{number}" for number in range(5)], [f"{key}-c{number}" for number in range(5)]
    stray = f"{key}-stray"
    rack.hardware(stray)
    for name in abandoned:
        rack.hardware(name, dead)
    for name in (*installing, *waiting):
        rack.hardware(name, live, workflow=True)
    rack.acknowledged(dead, 1, *abandoned)
    rack.acknowledged(live, 1, *installing, *waiting)

    renewed = time.monotonic()
    for name in abandoned:  # for the last time
        rack.note(name, renewal="2", lease=str(LEASE))
    time.sleep(1)  # in the middle of it
    befalls(rack)
    over = time.monotonic()
    for name in installing:
        rack.runs(name)
    for name in waiting:
        rack.note(name, renewal="2")
    rack.awaits(lambda: not {*abandoned, *installing} - rack.closed.keys(), "all closed that are to be")
    rack.acknowledged(live, 2, *waiting)

    for name in abandoned:
        assert renewed + LEASE <= rack.closed[name] <= over + LEASE + SLACK, name
        assert f"{OURS}run" not in rack.notes(name)
    for name in installing:
        assert over <= rack.closed[name] <= over + SLACK, name
        assert rack.notes(name)[f"{OURS}run"] == live  # its client gives it back
    for name in (stray, *waiting):
        assert is_open(rack.store.get("hardware", name)), name
    assert not rack.over  # nothing that was closed, now or before, was ever open again
    seen = rack.foundry.cluster_guard()
    assert seen is not None and seen.restarts == (1 if befalls is kill_guard else 0)


def test_an_image_that_does_not_come(node: Node, client: ApiClient) -> None:
    node.store(client, ELSEWHERE)
    with foundry_of(node, ELSEWHERE) as foundry:
        with pytest.raises(PreflightError, match="its image does not come") as caught:
            foundry.install_guard("example.test/nothing:1")
        assert "example.test/nothing:1" in caught.value.evidence
        assert caught.value.next == "fab guard.install --image IMAGE"
        foundry.remove_guard()
        assert foundry.cluster_guard() is None


def test_who_may_not_is_told_who_may_and_it_guards_as_soon_as_it_has_its_rights(
    node: Node, client: ApiClient, tmp_path: Path
) -> None:
    node.store(client, NARROW)
    verbs = ["get", "list", "create", "patch", "update"]
    rules: list[dict[str, Any]] = [
        {"apiGroups": ["", "apps"], "resources": ["serviceaccounts", "configmaps", "deployments"], "verbs": verbs}
    ]
    meta = {"name": "narrow"}
    subject = {"kind": "ServiceAccount", "name": "narrow", "namespace": NARROW}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": meta}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "narrow"}
    given = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {**rbac, "kind": "Role", "rules": rules},
        {**rbac, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
    ]
    whole = {"apiVersion": "v1", "kind": "List", "items": given}
    node.kubectl("apply", "-n", NARROW, "-f", "-", given=json.dumps(whole))
    token = node.kubectl("create", "token", "narrow", "-n", NARROW).strip()
    config = json.loads(node.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    (tmp_path / "kubeconfig").write_text(json.dumps(config))

    with foundry_of(node, NARROW, tmp_path / "kubeconfig") as foundry, pytest.raises(PreflightError) as caught:
        foundry.install_guard()
    assert caught.value.next.startswith("fab guard.print, and have it applied by somebody who may")
    assert 'cannot get resource "roles"' in caught.value.evidence
    with foundry_of(node, NARROW) as foundry:

        def refused() -> bool:
            seen = foundry.cluster_guard()
            return seen is not None and not seen.guarding and seen.cause == "rights"

        until(refused, what="it says that it may not read")
        before = foundry.cluster_guard()
        foundry.install_guard()
        after = foundry.cluster_guard()
        assert before is not None and after is not None and after.guarding and after.pod == before.pod
