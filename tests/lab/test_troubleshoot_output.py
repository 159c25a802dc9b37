"""What comes out of a diagnosis: JSON as documented, a bundle without secrets, logs that outlive a reboot."""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metalfoundry import Foundry
from metalfoundry.commands.log_parser import LogLine
from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.lab import POD, Lab
from metalfoundry.lab.scenarios import scenario
from metalfoundry.lab.ssh.server import JumpHost
from metalfoundry.model.events import CommandStarted, RunEnded, WindowChanged
from metalfoundry.runs.logs import Ask
from tests.lab.bench import NAME, Ran, call, is_open, provision, start, tune, workflow
from tests.waiting import PATIENCE

DOCS = Path(__file__).resolve().parents[2] / "docs/troubleshoot-json.md"
TYPES: dict[type, str] = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"
}  # fmt: skip
PLANTED = {
    "REGISTRY_PASSWORD": "hunter2hunter2",
    "password hash": "$6$rounds=4096$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789",
    "token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    "key": "MIIEowIBAAKCAQEAplantedplantedplanted",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), "still-streaming", speed=20, servers=(NAME,)) as lab:
        assert lab.machine(NAME).wait(lambda: lab.machine(NAME).wiped > 0)
        yield lab


def fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every field's path and type; the keys of not_seen are free."""
    if path:
        yield path, TYPES[type(value)]
    if isinstance(value, dict) and path != "not_seen":
        for key, item in value.items():
            yield from fields(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from list(fields(item, f"{path}[]"))[1:]


def test_the_json_is_as_documented(lab: Lab) -> None:
    rows = [line.split("|") for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    listed = {row[1].strip(" `"): set(row[2].strip().split(", ")) for row in rows}
    done = call(lab, "troubleshoot", NAME, "--json", "--all")
    assert done.returncode == 40, done.stderr
    seen = json.loads(done.stdout)
    found = dict(fields(seen))
    assert set(found) == set(listed)
    for path, kind in fields(seen):
        assert kind in listed[path], path


def test_all_has_a_list_and_its_own_exit_code(lab: Lab) -> None:
    done = call(lab, "troubleshoot", "all", "--json")
    assert [one["server"] for one in json.loads(done.stdout)["servers"]] == [NAME]
    assert done.returncode == 40


def test_text_has_the_witnesses_first_then_what_proof_and_next_step(lab: Lab) -> None:
    text = call(lab, "troubleshoot", NAME).stdout
    places = [
        text.index(word) for word in (NAME, "Tinkerbell says", "The machine says", "They agree", "✓ image is still")
    ]
    assert places == sorted(places)
    assert re.search(r"agent log \d\d:\d\d:\d\d: received action stream-ubuntu-image", text)
    assert f"now: metalfoundry logs {NAME}" in text


def test_an_unknown_name_says_which_are_known(lab: Lab) -> None:
    done = call(lab, "troubleshoot", "colo-server-02")
    assert done.returncode == 2
    assert f"did you mean {NAME}?" in done.stderr


def test_a_bundle_holds_everything_but_the_secrets(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", "still-streaming", speed=20, servers=(NAME,)) as lab:
        machine = lab.machine(NAME)
        assert machine.wait(lambda: machine.wiped > 0)
        plant(lab)
        done = call(lab, "troubleshoot", NAME, "--bundle", str(tmp_path / "b.tar.gz"))
        assert done.returncode == 40, done.stderr
    with tarfile.open(tmp_path / "b.tar.gz") as bundle:
        held = {member.name: bundle.extractfile(member).read().decode() for member in bundle}  # type: ignore[union-attr]
    assert set(held) == {f"{NAME}/findings.json", f"{NAME}/facts.json", f"{NAME}/logs.txt"}
    everything = "\n".join(held.values())
    assert "PLANTED" in held[f"{NAME}/logs.txt"]
    assert "quay.io/tinkerbell/actions/image2disk" in everything
    for what, secret in PLANTED.items():
        assert secret not in everything, what


def plant(lab: Lab) -> None:
    """Secrets where they stand in life: in the Template, the Hardware's user data, and in logs."""
    assert isinstance(lab.store, MemoryStore)
    template = lab.store.list("templates")[0]
    template["spec"]["data"] += (
        f"# root:{PLANTED['password hash']}\n# REGISTRY_PASSWORD: {PLANTED['REGISTRY_PASSWORD']}\n"
    )
    lab.store.replace("templates", template)
    hardware = lab.store.get("hardware", NAME)
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED['key']}\n-----END RSA PRIVATE KEY-----\n"
    hardware["spec"]["userData"] = f"#cloud-config\npassword: {PLANTED['REGISTRY_PASSWORD']}\nkey: |\n{pem}"
    lab.store.replace("hardware", hardware)
    line = {"msg": f"PLANTED for {NAME}", "logger": "smee", "authorization": f"Bearer {PLANTED['token']}"}
    lab.store.append_log(POD, json.dumps(line))


def test_followed_logs_outlive_a_reboot_and_a_cut_line(lab: Lab) -> None:
    assert isinstance(lab.jump, JumpHost)
    foundry = Foundry.load(lab.inventory)
    with foundry, closing(foundry.follow_logs(NAME, Ask("auto"))) as lines:  # type: ignore[type-var]
        until(lines, "reading the agent's log", "received action")
        lab.machine(NAME).power_cut()
        until(lines, ("trying again", "waiting for the installer"))  # the cut may end the command or the line first
        lab.jump.cut_links()
        until(lines, "reading the agent's log", "starting Agent", "current Action not in success state")


def until(lines: Iterator[LogLine | None], *wanted: str | tuple[str, ...]) -> None:
    """Read on until each of the words was there, in any order; of several in a tuple one is enough."""
    missing = {(words,) if isinstance(words, str) else words for words in wanted}
    ends = time.monotonic() + PATIENCE
    while missing:
        assert time.monotonic() < ends, missing
        line = next(lines)
        missing -= {words for words in missing if line is not None and any(word in line.text for word in words)}


def test_following_ends_with_an_interrupt_and_without_a_word(lab: Lab) -> None:
    process = start(lab, "logs", NAME, "--follow", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert set(first) == {"time", "source", "text", "raw"}
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error" not in err


@pytest.mark.parametrize("words", [("--source", "nowhere"), ("--since", "yesterday"), ("--tail", "-3")])
def test_words_that_do_not_fit_are_refused(lab: Lab, words: tuple[str, str]) -> None:
    done = call(lab, "logs", NAME, *words)
    assert done.returncode == 2, done.stderr
    assert "now:" in done.stderr


def test_a_failed_provision_ends_with_its_diagnosis_once_the_window_is_closed(tmp_path: Path) -> None:
    story = scenario("grpc-unreachable", begun=False)
    with Lab(tmp_path / "lab", story, speed=20, servers=(NAME,)) as lab:
        tune(lab, timeouts={"netboot": "15s"})  # enough to get there on a busy computer
        ran = provision(lab)
        assert ran.report is not None
        assert ran.report.exit_code == 30
        assert not is_open(lab)
        assert workflow(lab) is None  # taken back, and known to the diagnosis all the same
        diagnosis = ran.json["diagnosis"]
        assert diagnosis["findings"][0]["id"] == "grpc-unreachable"
        assert "connection refused" in diagnosis["findings"][0]["evidence"][0]["line"]
        assert diagnosis["workflow"] == f"{NAME}-ubuntu"
    told = [type(event) for event in ran.events]
    closed = max(place for place, event in enumerate(ran.events) if isinstance(event, WindowChanged))
    asked = [
        event for event in ran.events[closed:] if isinstance(event, CommandStarted) and "tinkerbell_pods" in event.text
    ]
    assert len(asked) == 1
    assert RunEnded in told[closed:]


def test_a_run_that_went_well_has_no_diagnosis(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", speed=40, servers=(NAME,)) as lab:
        ran: Ran = provision(lab)
        assert ran.json["verdict"] == "provisioned"
        assert ran.json["diagnosis"] is None
