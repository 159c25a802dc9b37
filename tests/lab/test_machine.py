"""Machines of the lab: what they boot, what they show over SSH, what an agent's actions do to them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
import yaml

from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.machine.machine import LabMachine
from metalfoundry.lab.scenarios import Scenario
from tests.lab.client import on_jump, on_machine, until

NAME = "colo-server-01"
WORKFLOW = "colo-server-01-ubuntu"
LINK_DIED = -1  # what a reboot often looks like from outside
Start = Callable[[str | Scenario], Lab]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    labs: list[Lab] = []

    def make(story: str | Scenario) -> Lab:
        labs.append(Lab(tmp_path / "lab", story, speed=40, servers=(NAME,)).start())
        return labs[0]

    yield make
    for lab in labs:
        lab.stop()


def apply(lab: Lab) -> None:
    documents = yaml.safe_load_all((lab.folder / "workflows.yaml").read_text())
    lab.store.create("workflows", next(documents))
    until(lambda: state(lab) not in ("", "PREPARING"))


def status(lab: Lab) -> Object:
    found: Object = lab.store.get("workflows", WORKFLOW).get("status", {})
    return found


def state(lab: Lab) -> str:
    return str(status(lab).get("state", ""))


def allow_pxe(lab: Lab, value: bool) -> None:
    path = "/spec/interfaces/0/netboot/allowPXE"
    lab.store.patch("hardware", NAME, [{"op": "add", "path": path, "value": value}])


def allowed(lab: Lab) -> bool:
    found: bool = lab.store.get("hardware", NAME)["spec"]["interfaces"][0]["netboot"]["allowPXE"]
    return found


def came(machine: LabMachine, *what: str) -> None:
    """Wait until exactly this has booted, in this order, and the last of it is up."""
    assert machine.wait(lambda: machine.state == what[-1] and len(machine.boots) >= len(what)), machine.boots
    assert [boot.what for boot in machine.boots] == list(what)


def agent_log(lab: Lab) -> list[Object]:
    path = lab.folder / "machines" / NAME / "hook" / ".tink-worker.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def smee_says(lab: Lab, path: str) -> int:
    try:
        with urllib.request.urlopen(lab.smee.url + path, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_closed_netboot_boots_the_disk_and_keeps_the_system(start: Start) -> None:
    lab = start("installs")
    machine = lab.machine(NAME)
    before = on_machine(lab, NAME, "cat /etc/machine-id /proc/sys/kernel/random/boot_id").out.split()
    machine.reboot()
    came(machine, "old", "old")
    after = on_machine(lab, NAME, "cat /etc/machine-id /proc/sys/kernel/random/boot_id").out.split()
    assert after[0] == before[0] and after[1] != before[1]
    assert machine.boots[1].boot_id == after[1] and machine.wiped == 0
    assert lab.journal.lines("does not allow it to pxe")


def test_open_netboot_without_a_workflow_idles_in_hook(start: Start) -> None:
    lab = start("installs")
    machine = lab.machine(NAME)
    allow_pxe(lab, True)
    until(lambda: smee_says(lab, f"/{machine.metal.mac}/auto.ipxe") == 200)
    machine.reboot()
    came(machine, "old", "hook")
    until(lambda: "No workflow found" in json.dumps(agent_log(lab)))
    assert machine.wiped == 0
    cmdline = (lab.folder / "machines" / NAME / "hook" / "proc/cmdline").read_text()
    assert f"worker_id={machine.metal.mac}" in cmdline


def test_smee_serves_one_path_and_follows_the_hardware(start: Start) -> None:
    lab = start("installs")
    mac = lab.machine(NAME).metal.mac
    assert smee_says(lab, f"/{mac}/auto.ipxe") == 404
    allow_pxe(lab, True)
    until(lambda: smee_says(lab, f"/{mac}/auto.ipxe") == 200)
    assert smee_says(lab, f"/ipxe/script/{mac}/auto.ipxe") == 404
    assert smee_says(lab, "/00:00:00:00:00:01/auto.ipxe") == 404


def test_a_whole_life_over_ssh(start: Start) -> None:
    lab = start("no-toggle")
    machine = lab.machine(NAME)
    old_key = machine.host_key()
    text = (lab.folder / "workflows.yaml").read_text()
    patch = '[{"op":"add","path":"/spec/interfaces/0/netboot/allowPXE","value":true}]'
    opened = on_jump(lab, f"kubectl -n tink-system patch hardware {NAME} --type=json -p '{patch}'")
    assert opened.status == 0, opened.err
    applied = on_jump(lab, "kubectl -n tink-system apply -f -", text)
    assert applied.status == 0, applied.err
    assert on_machine(lab, NAME, "reboot").status in (0, LINK_DIED)
    until(lambda: state(lab) == "RUNNING")
    allow_pxe(lab, False)
    came(machine, "old", "hook", "new")
    assert state(lab) == "SUCCESS" and machine.wiped == 1
    assert machine.host_key() != old_key
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        on_machine(lab, NAME, "true")
    (lab.folder / "known_hosts").write_text(lab.known_hosts())
    seen = on_machine(lab, NAME, "cat /var/lib/tinkerbell-provisioned; hostname; cloud-init status", user="ubuntu")
    assert seen.out.startswith("tinkerbell_provisioned=1") and seen.out.endswith(f"{NAME}\nstatus: done\n")
    assert "Ubuntu 24.04" in on_machine(lab, NAME, "cat /etc/os-release").out


def test_netboot_left_open_without_toggle_ends_in_hook_again(start: Start) -> None:
    lab = start("no-toggle")
    allow_pxe(lab, True)
    apply(lab)
    lab.machine(NAME).reboot()
    came(lab.machine(NAME), "old", "hook", "hook")
    assert state(lab) == "SUCCESS" and allowed(lab)


def test_a_machine_in_hook_starts_at_once(start: Start) -> None:
    lab = start("already-in-hook")
    machine = lab.machine(NAME)
    assert not allowed(lab)
    with pytest.raises(asyncssh.ChannelOpenError, match="Connect call failed"):
        on_machine(lab, NAME, "true")  # stock HookOS has no sshd
    apply(lab)
    came(machine, "hook", "new")
    assert state(lab) == "SUCCESS" and machine.wiped == 1


def test_hook_with_sshd_shows_itself_and_the_agents_log(start: Start) -> None:
    lab = start("already-in-hook-ssh")
    seen = on_machine(lab, NAME, "cat /etc/os-release /proc/cmdline", check_key=False)
    assert "ID=hookos" in seen.out and "worker_id=00:00:5e:00:53:4b" in seen.out
    line = "nerdctl -n services.linuxkit exec hook-docker docker logs tink-worker --tail=50"
    logs = on_machine(lab, NAME, line, check_key=False)
    assert logs.status == 0 and '"msg":"starting Agent"' in logs.out
    assert on_machine(lab, NAME, line.replace("exec", "exec -it"), check_key=False).status == 1
    assert on_machine(lab, NAME, "docker ps", check_key=False).status == 127


def test_reboot_as_last_action_is_never_reported(start: Start) -> None:
    lab = start("reboot-last")
    machine = lab.machine(NAME)
    apply(lab)
    machine.reboot()
    until(lambda: state(lab) == "RUNNING")
    allow_pxe(lab, False)
    came(machine, "old", "hook", "new")
    assert state(lab) == "RUNNING" and status(lab)["currentState"]["actionName"] == "reboot-into-os"


def test_reboot_as_last_action_with_netboot_open_ends_in_hook_and_silence(start: Start) -> None:
    lab = start("reboot-last")
    machine = lab.machine(NAME)
    apply(lab)
    machine.reboot()
    came(machine, "old", "hook", "hook")
    until(lambda: bool(lab.journal.lines("current Action not in success state")))
    assert machine.wiped == 1 and state(lab) == "RUNNING"
    assert [entry["msg"] for entry in agent_log(lab)][3:] == []


def test_a_failing_action_leaves_the_machine_in_hook_and_netboot_open(start: Start) -> None:
    lab = start("action-fails")
    machine = lab.machine(NAME)
    apply(lab)
    machine.reboot()
    until(lambda: state(lab) == "FAILED")
    came(machine, "old", "hook")
    assert allowed(lab) and machine.wiped == 1
    errors = [entry["error"] for entry in agent_log(lab) if entry["msg"] == "error executing action"]
    assert errors == ["got non 0 exit status, see the logs for more information"]
    assert lab.journal.lines("tinkerbell_write-netplan")


def test_an_image_that_is_missing_fails_before_the_disk_is_touched(start: Start) -> None:
    lab = start("image-missing")
    apply(lab)
    lab.machine(NAME).reboot()
    until(lambda: state(lab) == "FAILED")
    assert lab.machine(NAME).wiped == 0
    assert "manifest unknown" in json.dumps(agent_log(lab))


def test_an_action_that_outlives_its_timeout(start: Start) -> None:
    lab = start("action-times-out")
    apply(lab)
    lab.machine(NAME).reboot()
    until(lambda: state(lab) == "TIMEOUT")
    assert "context deadline exceeded" in json.dumps(agent_log(lab))


def test_a_wiped_disk_boots_nothing(start: Start) -> None:
    lab = start(Scenario("slow-stream", "", action_factor=1000))
    machine = lab.machine(NAME)
    apply(lab)
    machine.reboot()
    until(lambda: machine.wiped == 1)
    allow_pxe(lab, False)
    machine.power_cut()
    assert machine.wait(lambda: machine.state == "no-system")


def test_the_firmware_that_never_netboots(start: Start) -> None:
    lab = start("never-netboots")
    apply(lab)
    lab.machine(NAME).reboot()
    came(lab.machine(NAME), "old", "old")
    assert state(lab) == "PENDING" and allowed(lab)


def test_an_old_system_that_returns(start: Start) -> None:
    lab = start("old-system-returns")
    before = on_machine(lab, NAME, "cat /etc/machine-id").out
    apply(lab)
    lab.machine(NAME).reboot()
    came(lab.machine(NAME), "old", "hook", "old")
    assert state(lab) == "SUCCESS" and on_machine(lab, NAME, "cat /etc/machine-id").out == before


def test_a_dead_machine(start: Start) -> None:
    lab = start("dead")
    apply(lab)
    lab.machine(NAME).reboot()
    assert lab.machine(NAME).wait(lambda: lab.machine(NAME).state == "dead")
    with pytest.raises(asyncssh.ChannelOpenError, match="Connect call failed"):
        on_machine(lab, NAME, "true")


def test_a_workflow_for_another_agent(start: Start) -> None:
    lab = start("wrong-agent-id")
    apply(lab)
    lab.machine(NAME).reboot()
    came(lab.machine(NAME), "old", "hook")
    until(lambda: "No workflow found" in json.dumps(agent_log(lab)))
    assert state(lab) == "PENDING" and status(lab)["agentID"] != lab.machine(NAME).metal.mac


def test_a_shadowed_workflow_is_served_late(start: Start) -> None:
    lab = start("shadowed")
    apply(lab)
    lab.machine(NAME).reboot()
    came(lab.machine(NAME), "old", "hook", "new")
    assert lab.journal.lines("Workflow not in pending or running state") and state(lab) == "SUCCESS"


def test_a_deleted_workflow_stops_the_agent_after_its_action(start: Start) -> None:
    lab = start("installs")
    apply(lab)
    lab.machine(NAME).reboot()
    until(lambda: state(lab) == "RUNNING")
    lab.store.delete("workflows", WORKFLOW)
    until(lambda: "error writing event" in json.dumps(agent_log(lab)))
    came(lab.machine(NAME), "old", "hook")


def test_the_wrong_host_key_is_in_known_hosts(start: Start) -> None:
    lab = start("wrong-host-key")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        on_machine(lab, NAME, "true")
    assert on_machine(lab, NAME, "hostname", check_key=False).out == f"{NAME}\n"


def test_a_machine_that_refuses_keys_or_the_reboot(start: Start) -> None:
    lab = start("installs")
    machine = lab.machine(NAME)
    machine.refuse_reboot()
    assert on_machine(lab, NAME, "reboot").status == 1
    assert on_machine(lab, NAME, "reboot", user="ubuntu").status == 1
    machine.refuses_keys = True
    with pytest.raises(asyncssh.PermissionDenied):
        on_machine(lab, NAME, "true")
    assert [boot.what for boot in machine.boots] == ["old"]


def test_hardware_without_a_netboot_block(start: Start) -> None:
    lab = start("no-netboot-block")
    assert "netboot" not in lab.store.get("hardware", NAME)["spec"]["interfaces"][0]
    lab.machine(NAME).reboot()
    came(lab.machine(NAME), "old", "old")
