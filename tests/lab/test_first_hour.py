"""The first hour at a new site: four commands from an empty folder to a server that is installed, and no editor."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from metalfoundry import Declined, Foundry, InventoryError, PreflightError, UsageError, load
from metalfoundry.lab import fixtures
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import scenario
from metalfoundry.runs.new_inventory import UnknownKey, place
from metalfoundry.ui.tasks import new_inventory
from tests.lab.bench import NAME, PROGRAM, SPEED, hardware, is_open

OTHER = "anvil"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), speed=SPEED) as lab:
        port = int(lab.smee.url.rpartition(":")[2])
        service = {"metadata": {"name": "tinkerbell"}, "spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port}]}}
        lab.store.create("services", service)
        yield lab


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


def jump(lab: Lab) -> str:
    return f"{getpass.getuser()}@127.0.0.1:{lab.jump.port}"


def files(lab: Lab, known: Path) -> dict[str, str]:
    return {"identity": str(lab.folder / "id_ed25519"), "known_hosts": str(known)}


def made(lab: Lab, known: Path, **more: str) -> str:
    def take(keys: Sequence[UnknownKey]) -> None:
        assert all(key.fingerprint.startswith("SHA256:") for key in keys)

    return Foundry.new_inventory(jump(lab), take, defaults=files(lab, known), **more)  # type: ignore[arg-type]


def test_four_commands_and_no_editor(lab: Lab, tmp_path: Path, known: Path) -> None:
    def fab(*words: str) -> str:
        env = {**os.environ, "METALFOUNDRY_STATE": str(tmp_path / "state"), "COLUMNS": "200"}
        done = subprocess.run(
            [str(PROGRAM), *words], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    flags = [word for key, value in files(lab, known).items() for word in (f"--{key.replace('_', '-')}", value)]
    said = fab("inventory.new", "--jump", jump(lab), *flags, "--yes")
    assert said.count(" is not known here, and shows ssh-ed25519 SHA256:") == 3
    assert "2 servers" not in fab("doctor")
    assert "ends with reboot-into-os" in fab("provision", NAME, "--plan")
    assert f"{NAME} is provisioned, netboot is closed" in fab("provision", NAME, "--yes")
    assert not is_open(lab)
    assert lab.machines[NAME].state == "new"
    assert "has no fault: 2 servers" in fab("inventory.check", "--live")


def test_what_it_could_not_know_is_a_comment(lab: Lab, known: Path, tmp_path: Path) -> None:
    story = scenario("installs")
    metal = fixtures.metal("bellows", 7)
    bare = fixtures.hardware(metal, story, allow_workflow=False)
    del bare["spec"]["interfaces"][0]["dhcp"]["ip"]
    other = fixtures.template(story)
    other["metadata"]["name"] = "debian"
    used = fixtures.finished_workflow(lab.machines[OTHER].metal, story)
    used["spec"]["hardwareMap"]["root_password"] = "hunter2-hunter2"
    created = [("hardware", bare), ("templates", other), ("workflows", used), ("services", None)]
    for kind, obj in created[:3]:
        assert obj is not None
        lab.store.create(kind, obj)
    service = lab.store.delete("services", "tinkerbell")
    text = made(lab, known)
    lab.store.create("services", {"metadata": {"name": "tinkerbell"}, "spec": service["spec"]})
    for kind, obj in created[:3]:
        assert obj is not None
        lab.store.delete(kind, obj["metadata"]["name"])
    assert "# smee: http://ADDRESS:7171" in text and "get services" in text
    assert "# address: 192.0.2.1" in text
    assert "# template: NAME" in text and "one of debian, ubuntu-2404" in text
    assert "hunter2" not in text and "root_password" in text
    servers = yaml.safe_load(text)["servers"]
    assert servers[OTHER]["template"] == "ubuntu-2404"
    assert servers[OTHER]["hardware_map"]["device_1"] == lab.machines[OTHER].metal.mac
    assert servers["bellows"] == {}
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    assert sorted(load(path).servers) == sorted([NAME, OTHER, "bellows"])


def test_keys_that_are_not_taken_are_not_written(lab: Lab, known: Path) -> None:
    def refuse(keys: Sequence[UnknownKey]) -> None:
        raise Declined("not mine")

    with pytest.raises(Declined):
        Foundry.new_inventory(jump(lab), refuse, defaults=files(lab, known))
    assert not known.exists() or known.read_text() == ""


def test_it_overwrites_nothing_unasked_and_says_what_it_needs(
    lab: Lab, known: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "inventory.yaml"
    there.write_text("mine\n")

    def wanted(where: str, output: Path) -> new_inventory.InventoryWords:
        return new_inventory.InventoryWords(where, str(output), "", "", "", files(lab, known))

    with pytest.raises(Declined) as caught:
        new_inventory.new(wanted(jump(lab), there), ask=False, overwrite=False)
    assert caught.value.next.endswith("--overwrite")
    assert there.read_text() == "mine\n"
    with pytest.raises(UsageError, match="no jump host is named"):
        new_inventory.new(wanted("", tmp_path / "new.yaml"), ask=False, overwrite=False)
    with pytest.raises(Declined) as caught:
        new_inventory.new(wanted(jump(lab), tmp_path / "new.yaml"), ask=True, overwrite=False)
    assert caught.value.next.endswith("--yes")
    assert not (tmp_path / "new.yaml").exists()
    new_inventory.new(wanted(jump(lab), there), ask=False, overwrite=True)
    assert NAME in load(there).servers
    assert capsys.readouterr().out.endswith(f" Now: fab doctor --inventory {there}\n")


def test_a_fault_names_the_option_in_which_it_stands(known: Path) -> None:
    with pytest.raises(InventoryError, match="some options do not fit") as caught:
        place("root@127.0.0.1:99999", "nowhere", {"identity": "~nobody-at-all/x", "user": "a b"})
    assert "--jump: port: found '99999'; expected a port number, 1 to 65535" in caught.value.faults
    assert {fault.partition(":")[0] for fault in caught.value.faults} == {"--jump", "--smee", "--user", "--identity"}


def test_ways_that_do_not_work_are_told(lab: Lab, known: Path) -> None:
    assert "namespace: tink-system" in made(lab, known, namespace="tink-system")
    with pytest.raises(PreflightError, match="namespace nope has no Hardware") as caught:
        made(lab, known, namespace="nope")
    assert caught.value.next.endswith("kubectl get hardware -A")
    with pytest.raises(PreflightError, match="no kubectl") as caught:
        made(lab, known, kubectl="sudo -n nokubectl")
    assert "nokubectl" in caught.value.evidence
    assert lab.door is not None
    lab.door.faults.denied = {("list", "hardware")}
    try:
        with pytest.raises(PreflightError, match="no Hardware to be seen"):
            made(lab, known)
    finally:
        lab.door.faults.denied = set()
    assert hardware(lab)["metadata"]["name"] == NAME
