"""The stand-in is held to real kubectl on a real API server: exit status, output, effect."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalfoundry.commands.happenings import Happening, event
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.lab.kubectl.server import KubectlServer
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from tests.contract.parties import Party, real, scrub, standin
from tests.contract.table import APPLY, HW, NAMESPACE, NETBOOT, PATCH, REVIEW, SCENES, WF, Say, hardware, ops
from tests.real.kube import Kube
from tests.realtier import need_kubectl

pytestmark = pytest.mark.real
VERSIONS = ("1.33", "1.20")


@pytest.fixture
def door() -> Iterator[KubectlServer]:
    with KubectlServer(MemoryStore(NAMESPACE)) as door:
        yield door


@pytest.fixture
def lab(door: KubectlServer, tmp_path: Path) -> Party:
    return standin(door, door.store, tmp_path)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kubectl's discovery cache, kept for the session."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cluster(version: str, kube: Kube, home: Path) -> Party:
    party = real(kube, need_kubectl(version), home)
    party.empty()
    return party


@pytest.mark.parametrize("scene", SCENES)
def test_scene(scene: str, version: str, cluster: Party, lab: Party) -> None:
    differences = []
    for say in SCENES[scene]:
        if version == "1.20" and not say.old:
            continue
        want, got = cluster.say(say.argv, say.stdin), lab.say(say.argv, say.stdin)
        pairs = {"status": (want.status, got.status), "objects": (want.objects, got.objects)}
        pairs["stdout"] = (want.stdout, got.stdout)
        if version == "1.33" and not say.quiet:
            pairs["stderr"] = (want.stderr, got.stderr)
        for part, (wanted, given) in pairs.items():
            if wanted != given:
                differences.append(f"kubectl {' '.join(say.argv)}\n  {part}\n  real: {wanted!r}\n  lab:  {given!r}")
    assert not differences, "\n" + "\n".join(differences)


def test_an_event_of_ours_is_made_and_found_by_its_object(cluster: Party, lab: Party) -> None:
    for party in (cluster, lab):
        party.say(Say(f"{APPLY} -o name").argv, hardware("one"))
        uid = party.store.get("hardware", "one")["metadata"]["uid"]
        part = event(Kubectl(("kubectl",), NAMESPACE), "one", uid, Happening("Claimed", "by ä"), datetime.now(UTC))
        made = party.say([str(word) for word in part.argv[1:]], part.stdin)
        assert (made.status, made.stdout.startswith("event/one.")) == (0, True), made.stderr
        listed = party.store.list("events")
        assert [one["message"] for one in listed if one["involvedObject"]["uid"] == uid] == ["by ä"]
    described = cluster.say(Say(f"describe {HW}/one -n NS").argv).stdout
    assert "Claimed" in described and "metalfoundry" in described and "by ä" in described


WATCHES = {
    "events-json": "--field-selector metadata.name=one -w --output-watch-events -o json",
    "events-path": "--field-selector metadata.name=one -w --output-watch-events "
    """-o 'jsonpath={.type} {.object.metadata.name} {.object.spec.interfaces[0].netboot.allowPXE}{"\\n"}'""",
    "name": "-w -o name",
}


@pytest.mark.parametrize("form", WATCHES)
def test_watch(form: str, cluster: Party, lab: Party) -> None:
    told = [_watched(party, Say(f"get {HW} -n NS {WATCHES[form]}").argv) for party in (cluster, lab)]
    assert told[0] == told[1]
    assert len(told[0]) >= 3


def _watched(party: Party, argv: list[str]) -> list[object]:
    """The lines of a watch over the whole life of one Hardware, and of another that it may not show."""
    party.store.create("hardware", json.loads(hardware("before")))
    process = party.start(argv)
    lines = list[str]()
    seen = threading.Condition()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with seen:
                lines.append(line)
                seen.notify_all()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        _probe(party, lines, seen, "one" if "--field-selector" in argv else "probe")
        one = json.loads(hardware("one"))
        one["spec"]["interfaces"][0]["netboot"] = {"allowPXE": False}
        party.store.create("hardware", one)
        party.store.patch("hardware", "one", json.loads(ops(("add", f"{NETBOOT}/allowPXE", True))))
        party.store.delete("hardware", "one")
        with seen:
            assert seen.wait_for(lambda: len(_real(lines)) >= (3 if "--field-selector" in argv else 4), 60), lines
    finally:
        process.terminate()
        process.wait()
        reader.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
    return [scrub(json.loads(line)) if line.startswith("{") else line for line in _real(lines)]


def _real(lines: list[str]) -> list[str]:
    """Without the lines of the probe, which has no netboot block."""
    return [line for line in lines if "probe" not in line and not line.endswith(" one \n")]


def _probe(party: Party, lines: list[str], seen: threading.Condition, name: str) -> None:
    """Make and drop an object that the watch must show until it has shown one: then it is open."""
    for _ in range(100):
        party.store.create("hardware", {"metadata": {"name": name, "labels": {"probe": "yes"}}})
        party.store.delete("hardware", name)
        with seen:
            if seen.wait_for(lambda: len(lines) > len(_real(lines)), 0.2):
                return
    raise AssertionError("the watch did not open")


def test_api_away(version: str, lab: Party, door: KubectlServer, tmp_path: Path) -> None:
    config = tmp_path / "away"
    away = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "a", "cluster": away}],
                "users": [{"name": "a", "user": {"token": "x"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
            }
        )
    )
    door.faults.api_down()
    cluster = Party(need_kubectl(version), lab.store, {"KUBECONFIG": str(config), "HOME": str(tmp_path)})
    for say in (Say(f"get {HW} one -n NS -o json"), Say(f"{PATCH} -o name", "[]"), Say("get --raw /readyz")):
        want, got = cluster.say(say.argv, say.stdin), lab.say(say.argv, say.stdin)
        assert (want.status, want.stdout) == (got.status, got.stdout)
        assert got.stderr.strip() == want.stderr.strip().splitlines()[-1]


RIGHTS = [{"apiGroups": ["tinkerbell.org"], "resources": ["*"], "verbs": ["get", "list", "watch", "create"]}]


def test_forbidden(version: str, kube: Kube, cluster: Party, lab: Party, door: KubectlServer, home: Path) -> None:
    kube.grant(NAMESPACE, "lab", RIGHTS)
    limited = real(kube, need_kubectl(version), home, "lab")
    door.faults.denied = {("patch", "hardware"), ("delete", "hardware"), ("*", "pods")}
    for party in (cluster, lab):
        party.store.create("hardware", json.loads(hardware("one")))
    for words, stdin in (
        (f"{PATCH} -o name", ops(("add", NETBOOT, {}))),
        (f"delete {HW} one -n NS --wait=false", ""),
        ("get pods -n NS", ""),
        ("get pod x -n NS -o json", ""),
        (f"get {HW},pods -n NS -o json", ""),
        ("auth can-i patch hardware.tinkerbell.org -n NS", ""),
        ("auth can-i get hardware.tinkerbell.org -n NS", ""),
    ):
        argv = Say(words).argv
        want, got = limited.say(argv, stdin), lab.say(argv, stdin)
        assert want == got, words


def test_rights_are_listed(
    version: str, kube: Kube, cluster: Party, lab: Party, door: KubectlServer, home: Path
) -> None:
    kube.grant(NAMESPACE, "lab", RIGHTS)
    limited = real(kube, need_kubectl(version), home, "lab")
    door.faults.denied = {("patch", "hardware"), ("delete", "hardware"), ("update", "hardware")}
    review = Say("create -f - -o json --validate=false").argv
    for party in (limited, lab):
        answer = party.say(review, REVIEW)
        assert answer.status == 0, answer
        rules = answer.stdout["status"]["resourceRules"]
        verbs = {
            verb
            for rule in rules
            if "tinkerbell.org" in rule["apiGroups"] and {"hardware", "*"} & set(rule["resources"])
            for verb in rule["verbs"]
        }
        assert verbs == {"get", "list", "watch", "create"}
        assert answer.stdout["status"]["incomplete"] is False


def test_both_tell_their_versions(cluster: Party, lab: Party) -> None:
    for party in (cluster, lab):
        client = party.say(Say("version --client -o json").argv)
        server = party.say(Say("get --raw /version").argv)
        told = (client.status, server.status, client.stdout["clientVersion"]["gitVersion"], server.stdout["gitVersion"])
        assert told[:2] == (0, 0)
        assert all(text.startswith("v1.") for text in told[2:])


def test_a_watch_ends_without_a_word_when_its_time_is_over(version: str, cluster: Party, lab: Party) -> None:
    argv = Say(f"get {WF} -n NS -w -o name --request-timeout=1s").argv
    want, got = cluster.say(argv), lab.say(argv)
    assert want == got
    assert got.status == 0


def test_apply_is_repeatable_by_both(cluster: Party, lab: Party) -> None:
    """A Workflow that tink has finished is left alone by a second apply: it does not run again."""
    manifest = '{"apiVersion": "tinkerbell.org/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}, "spec": {}}'
    for party in (cluster, lab):
        party.say(Say(APPLY).argv, manifest)
        party.store.patch("workflows", "w", [{"op": "add", "path": "/status", "value": {"state": "SUCCESS"}}])
    want, got = cluster.say(Say(APPLY).argv, manifest), lab.say(Say(APPLY).argv, manifest)
    assert want == got
    assert got.stdout == "workflow.tinkerbell.org/w unchanged\n"
    assert got.objects["workflows"][0]["status"] == {"state": "SUCCESS"}
