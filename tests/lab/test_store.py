"""The embedded store and its kubectl, without any real program; tests/contract holds both to the real ones."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metalfoundry.lab.kubectl.client_script import UNKNOWN_FORM
from metalfoundry.lab.kubectl.server import KubectlServer
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.errors import BarePatch
from metalfoundry.lab.kubernetes.jsonpatch import apply_patch, merge_difference, merge_patch
from metalfoundry.lab.kubernetes.store import AlreadyExists, Conflict, Invalid, Object

HARDWARE: Object = {
    "metadata": {"name": "one"},
    "spec": {"interfaces": [{"dhcp": {"mac": "00:00:5e:00:53:4b"}, "netboot": {"allowPXE": False}}]},
}
WORKFLOW: Object = {"metadata": {"name": "wf"}, "spec": {"hardwareRef": "one"}}
ALLOW = "/spec/interfaces/0/netboot/allowPXE"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.create("hardware", HARDWARE)
    return store


class TestStore:
    def test_create_gives_what_the_api_server_gives(self, store: MemoryStore) -> None:
        obj = store.get("hardware", "one")
        meta = obj["metadata"]
        assert (obj["apiVersion"], obj["kind"]) == ("tinkerbell.org/v1alpha1", "Hardware")
        assert meta["namespace"] == "tink-system"
        assert meta["generation"] == 1
        assert meta["uid"] and meta["resourceVersion"] and meta["creationTimestamp"].endswith("Z")
        assert obj["spec"]["interfaces"][0]["disableDhcp"] is False

    def test_create_twice_is_refused(self, store: MemoryStore) -> None:
        with pytest.raises(AlreadyExists, match='"one" already exists'):
            store.create("hardware", HARDWARE)

    def test_given_objects_are_the_callers_own(self, store: MemoryStore) -> None:
        store.get("hardware", "one")["spec"].clear()
        store.list("hardware")[0]["spec"].clear()
        assert store.get("hardware", "one")["spec"]

    def test_replace_needs_the_newest_version(self, store: MemoryStore) -> None:
        old = store.get("hardware", "one")
        store.patch("hardware", "one", [{"op": "add", "path": ALLOW, "value": True}])
        with pytest.raises(Conflict, match="the object has been modified"):
            store.replace("hardware", old)
        assert store.get("hardware", "one")["spec"]["interfaces"][0]["netboot"]["allowPXE"] is True

    def test_nothing_changed_is_no_new_version(self, store: MemoryStore) -> None:
        before = store.get("hardware", "one")
        assert store.patch("hardware", "one", [{"op": "add", "path": ALLOW, "value": False}]) == before
        assert store.replace("hardware", before) == before

    def test_generation_counts_what_is_wanted(self, store: MemoryStore) -> None:
        note = {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}
        assert store.patch("hardware", "one", [note])["metadata"]["generation"] == 1
        assert (
            store.patch("hardware", "one", [{"op": "add", "path": ALLOW, "value": True}])["metadata"]["generation"] == 2
        )

    @pytest.mark.parametrize(
        ("path", "value"),
        [("/spec/interfaces/0/dhcp/mac", "00:00:5E:00:53:4B"), (ALLOW, "yes"), ("/metadata/annotations", {"a": 1})],
    )
    def test_what_the_schema_forbids_is_refused(self, store: MemoryStore, path: str, value: object) -> None:
        before = store.get("hardware", "one")
        with pytest.raises(Invalid):
            store.patch("hardware", "one", [{"op": "add", "path": path, "value": value}])
        assert store.get("hardware", "one") == before

    def test_unknown_fields_are_dropped(self, store: MemoryStore) -> None:
        patched = store.patch("hardware", "one", [{"op": "add", "path": "/spec/unheard", "value": 1}])
        assert "unheard" not in patched["spec"]

    def test_status_is_left_alone_by_a_write_to_the_object(self, store: MemoryStore) -> None:
        store.create("workflows", WORKFLOW | {"status": {"state": "RUNNING"}})
        change = [{"op": "add", "path": "/status/state", "value": "FAILED"}]
        assert store.patch("workflows", "wf", change, whole=False)["status"] == {"state": "RUNNING"}
        assert store.patch("workflows", "wf", change)["status"] == {"state": "FAILED"}

    def test_kinds_with_the_same_plural_are_apart(self, store: MemoryStore) -> None:
        spec = {"tasks": [{"powerAction": "on"}], "machineRef": {"name": "m", "namespace": "tink-system"}}
        store.create("jobs.bmc.tinkerbell.org", {"metadata": {"name": "j"}, "spec": spec})
        assert store.list("jobs") == []
        with pytest.raises(LookupError):
            store.list("zorks")

    def test_one_of_many_writers_at_once_wins(self, store: MemoryStore) -> None:
        store.patch("hardware", "one", [{"op": "add", "path": "/metadata/annotations", "value": {"x": "y"}}])
        won = list[str]()

        def claim(name: str) -> None:
            path = "/metadata/annotations/run"
            try:
                store.patch(
                    "hardware",
                    "one",
                    [{"op": "test", "path": path, "value": None}, {"op": "add", "path": path, "value": name}],
                )
                won.append(name)
            except Invalid:
                pass

        threads = [threading.Thread(target=claim, args=(str(each),)) for each in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [store.get("hardware", "one")["metadata"]["annotations"]["run"]]


class TestWatch:
    def test_all_that_exists_then_all_that_happens(self, store: MemoryStore) -> None:
        stop = threading.Event()
        watch = store.watch("hardware", stop)
        assert next(watch)[0] == "ADDED"
        store.patch("hardware", "one", [{"op": "add", "path": ALLOW, "value": True}])
        store.create("workflows", WORKFLOW)
        last = store.delete("hardware", "one")
        event, seen = next(watch)
        assert (event, seen["spec"]["interfaces"][0]["netboot"]["allowPXE"]) == ("MODIFIED", True)
        assert next(watch) == ("DELETED", last)
        stop.set()
        assert list(watch) == []

    def test_a_waiting_watch_is_told(self, store: MemoryStore) -> None:
        stop, told = threading.Event(), list[str]()
        store.delete("hardware", "one")

        def follow() -> None:
            for event, _ in store.watch("hardware", stop):
                told.append(event)
                stop.set()

        thread = threading.Thread(target=follow)
        thread.start()
        store.create("hardware", HARDWARE)
        thread.join(5)
        assert told == ["ADDED"]

    def test_a_watch_given_up_early_leaves_the_stream(self, store: MemoryStore) -> None:
        watch = store.watch("hardware", threading.Event())
        next(watch)
        assert store.watching == 1
        watch.close()  # type: ignore[attr-defined]
        assert store.watching == 0


class TestPatch:
    @pytest.mark.parametrize(
        ("operation", "after"),
        [
            ({"op": "replace", "path": "/b", "value": 1}, {"a": [1], "b": 1}),
            ({"op": "test", "path": "/nope", "value": None}, {"a": [1]}),
            ({"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
            ({"op": "add", "path": "/a/-1", "value": 2}, {"a": [1, 2]}),
            ({"op": "remove", "path": "/a/-1"}, {"a": []}),
            ({"op": "add", "path": "zork/b", "value": 1}, {"a": [1], "b": 1}),
            ({"op": "add", "path": "/x~1y~0", "value": 1}, {"a": [1], "x/y~": 1}),
        ],
    )
    def test_loose(self, operation: Object, after: Object) -> None:
        assert apply_patch({"a": [1]}, [operation]) == after

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "remove", "path": "/nope"},
            {"op": "add", "path": "/nope/b", "value": 1},
            {"op": "test", "path": "/nope/b", "value": None},
            {"op": "test", "path": "/a", "value": None},
            {"op": "test", "path": "/a/0", "value": True},
            {"op": "add", "path": "/a/2", "value": 1},
            {"op": "replace", "path": "/a/1", "value": 1},
            {"op": "zork", "path": "/a"},
        ],
    )
    def test_strict_and_whole(self, operation: Object) -> None:
        document = {"a": [1]}
        with pytest.raises(BarePatch):
            apply_patch(document, [{"op": "add", "path": "/b", "value": 1}, operation])
        assert document == {"a": [1]}

    def test_merge_and_its_difference(self) -> None:
        before: Object = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}
        after: Object = {"b": {"c": 2, "d": 4}, "e": [2], "f": {}}
        patch = merge_difference(before, after)
        assert patch == {"a": None, "b": {"d": 4}, "e": [2], "f": {}}
        assert merge_patch(before, patch) == after


@pytest.fixture
def door(store: MemoryStore) -> Iterator[KubectlServer]:
    with KubectlServer(store) as door:
        yield door


@pytest.fixture
def kubectl(door: KubectlServer, tmp_path: Path) -> Path:
    return door.install(tmp_path / "bin with blanks")


def say(kubectl: Path, words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(kubectl), *words.split()], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


class TestStandin:
    def test_stdin_reaches_the_store(self, kubectl: Path, store: MemoryStore) -> None:
        patch = json.dumps([{"op": "add", "path": ALLOW, "value": True}])
        done = say(kubectl, "patch hw one -n tink-system --type=json --patch-file=/dev/stdin -o name", patch)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hardware.tinkerbell.org/one\n", "")
        assert store.get("hardware", "one")["spec"]["interfaces"][0]["netboot"]["allowPXE"] is True

    def test_a_manifest_may_be_a_file(self, kubectl: Path, store: MemoryStore, tmp_path: Path) -> None:
        file = tmp_path / "w.yaml"
        file.write_text("apiVersion: tinkerbell.org/v1alpha1\nkind: Workflow\nmetadata: {name: w}\n")
        assert say(kubectl, f"apply -n tink-system -f {file}").stdout == "workflow.tinkerbell.org/w created\n"
        missing = say(kubectl, "apply -n tink-system -f /nowhere/w.yaml")
        assert (missing.returncode, missing.stderr) == (1, 'error: the path "/nowhere/w.yaml" does not exist\n')

    @pytest.mark.parametrize(
        "words",
        [
            "edit hw one",
            "get hw --sort-by=.metadata.name",
            "get hw -n tink-system -o custom-columns=A:.b",
            "get hw -n tink-system --field-selector spec.x=y",
            "patch hw one -n tink-system -p {}",
            "logs p --previous",
            "logs deploy/tink -n tink-system",
            "get --raw /api",
            "apply -n tink-system -f - --dry-run=server",
            """patch hw one -n tink-system --type=json -p [{"op":"move","from":"/a","path":"/b"}]""",
            "",
        ],
    )
    def test_an_unknown_form_is_loud(self, kubectl: Path, words: str) -> None:
        done = say(kubectl, words)
        assert done.returncode == UNKNOWN_FORM
        assert "not known here" in done.stderr
        assert done.stdout == ""

    def test_a_closed_door_is_an_api_that_is_away(self, kubectl: Path, door: KubectlServer) -> None:
        door.stop()
        done = say(kubectl, "get hw -n tink-system")
        assert done.returncode == 1
        assert done.stderr.startswith("The connection to the server 127.0.0.1:6443 was refused")

    def test_every_call_is_kept(self, kubectl: Path, door: KubectlServer) -> None:
        say(kubectl, "get hw -n tink-system")
        assert door.calls == [("get", "hw", "-n", "tink-system")]

    def test_a_watch_ends_with_its_reader_or_its_api(
        self, kubectl: Path, door: KubectlServer, store: MemoryStore
    ) -> None:
        words = [str(kubectl), *["get", "hw", "-n", "tink-system", "-w", "-o", "name"]]
        for end in (subprocess.Popen.terminate, subprocess.Popen.kill, lambda _: door.faults.api_down()):
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None and process.stderr is not None
                assert process.stdout.readline() == "hardware.tinkerbell.org/one\n"
                end(process)
                assert (process.stdout.read(), process.stderr.read()) == ("", "")
            door.idle(5.0)
            assert store.watching == 0
        assert process.returncode == 0


class TestLogs:
    @pytest.fixture(autouse=True)
    def pods(self, store: MemoryStore) -> None:
        store.create("pods", {"metadata": {"name": "tink-1"}})
        for number in range(12):
            at = datetime.now(UTC) - timedelta(minutes=12 - number)
            store.append_log("tink-1", f"line {number}", "server" if number % 2 else "smee", at)

    @pytest.mark.parametrize(
        ("words", "lines"),
        [
            ("logs tink-1 -n tink-system --tail=2", ["line 10", "line 11"]),
            ("logs tink-1 -n tink-system --since=90s", ["line 11"]),
            ("logs tink-1 -n tink-system --all-containers --tail=1 --prefix", ["[pod/tink-1/server] line 11"]),
        ],
    )
    def test_read(self, kubectl: Path, words: str, lines: list[str]) -> None:
        assert say(kubectl, words).stdout.splitlines() == lines

    def test_timestamps(self, kubectl: Path) -> None:
        stamp, _, text = say(kubectl, "logs tink-1 -n tink-system --tail=1 --timestamps").stdout.partition(" ")
        assert text == "line 11\n"
        assert datetime.now(UTC) - datetime.fromisoformat(stamp) < timedelta(minutes=2)

    def test_follow(self, kubectl: Path, store: MemoryStore) -> None:
        words = [str(kubectl), *["logs", "-f", "tink-1", "-n", "tink-system", "--tail=1"]]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "line 11\n"
            store.append_log("tink-1", "line 12")
            assert process.stdout.readline() == "line 12\n"
            process.terminate()
