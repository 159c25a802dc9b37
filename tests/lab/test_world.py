"""The lab as a whole: its jump host, its files, its faults on cue, its beginning and end."""

from __future__ import annotations

import asyncio
import getpass
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
import yaml

from metalfoundry.lab.background import down, up
from metalfoundry.lab.clock import LabError
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.lab.ssh.server import MAX_SESSIONS, JumpHost
from metalfoundry.model.inventory_reader import load
from tests.lab.client import on_jump, on_machine, options, until

NAME = "colo-server-01"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "lab", speed=40, each={"anvil": "action-fails"}) as lab:
        yield lab


def test_the_inventory_is_one_that_metalfoundry_takes(lab: Lab) -> None:
    inventory = load(lab.inventory)
    assert set(inventory.servers) == {NAME, "anvil"}
    documents = list(yaml.safe_load_all((lab.folder / "workflows.yaml").read_text()))
    assert [document["spec"]["hardwareRef"] for document in documents] == [NAME, "anvil"]
    assert all(document["spec"]["bootOptions"]["toggleAllowNetboot"] for document in documents)
    assert (lab.folder / "id_ed25519").stat().st_mode & 0o077 == 0


def test_hardware_is_closed_and_without_annotations(lab: Lab) -> None:
    first, second = (lab.store.get("hardware", name) for name in (NAME, "anvil"))
    assert first["spec"]["interfaces"][0]["netboot"] == {"allowPXE": False, "allowWorkflow": False}
    assert second["spec"]["interfaces"][0]["netboot"] == {"allowPXE": False}
    assert "annotations" not in first["metadata"]


def test_the_jump_host_is_a_real_shell_with_its_own_home(lab: Lab) -> None:
    seen = on_jump(lab, 'echo "$HOME"; echo no >&2; cat; exit 3', stdin="x" * 300_000)
    assert seen.out == f"{lab.folder}/home\n" + "x" * 300_000
    assert (seen.status, seen.err) == (3, "no\n")
    assert on_jump(lab, "kill -TERM $$").status == -1
    assert on_jump(lab, "command -v kubectl").out.strip() == str(lab.folder / "bin/kubectl")
    assert 'echo "$HOME"; echo no >&2; cat; exit 3' in lab.jump.log


def test_the_control_planes_log_is_kubectl_logs(lab: Lab) -> None:
    lab.machine(NAME).reboot()
    machine = lab.machine(NAME)
    assert machine.wait(lambda: len(machine.boots) == 2)
    seen = on_jump(lab, "kubectl -n tink-system logs tinkerbell-0")
    assert "does not allow it to pxe" in seen.out, seen.err


def test_each_server_has_its_own_scenario(lab: Lab) -> None:
    assert lab.machine("anvil").scenario.name == "action-fails"
    assert on_machine(lab, "anvil", "hostname").out == "anvil\n"


def test_a_lost_link_closes_stdin_and_does_not_signal(lab: Lab) -> None:
    mark = lab.folder / "home" / "ended"

    async def leave() -> None:
        async with asyncssh.connect("127.0.0.1", lab.jump.port, options=options(lab, getpass.getuser())) as link:
            line = f"sleep 1000 & kid=$!; echo up; cat >/dev/null; kill $kid; echo over >{mark}"
            process = await link.create_process(line)
            assert await process.stdout.readline() == "up\n"
            await link.create_process("sleep 1001")
            await asyncio.get_running_loop().run_in_executor(None, lambda: until(lambda: bool(asleep("1001"))))
            lab.jump.cut_links()
            await link.wait_closed()

    def asleep(seconds: str) -> list[str]:
        return [process.command for process in lab.processes.alive(f"sleep {seconds}")]

    asyncio.run(leave())
    until(mark.exists)
    until(lambda: not asleep("1000"))
    assert asleep("1001"), "a command that reads no stdin lives on, as with sshd"
    lab.stop()
    assert not asleep("1001")


def test_silence_and_delay(lab: Lab) -> None:
    async def talk() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        async with asyncssh.connect("127.0.0.1", lab.jump.port, options=options(lab, getpass.getuser())) as link:
            lab.jump.delay = 0.05
            began = loop.time()
            await link.run("true")
            took = loop.time() - began
            lab.jump.delay = 0.0
            lab.jump.freeze()
            silent = False
            pending = asyncio.ensure_future(link.run("echo back"))
            done, _ = await asyncio.wait({pending}, timeout=0.3)
            silent = not done
            lab.jump.thaw()
            assert (await asyncio.wait_for(pending, 5)).stdout == "back\n"
            return took, silent

    took, silent = asyncio.run(talk())
    assert took >= 0.1 and silent


def test_sessions_are_limited_as_sshd_does(lab: Lab) -> None:
    async def crowd() -> None:
        async with asyncssh.connect("127.0.0.1", lab.jump.port, options=options(lab, getpass.getuser())) as link:
            held = [await link.create_process("cat") for _ in range(MAX_SESSIONS)]
            with pytest.raises(asyncssh.ChannelOpenError):
                await link.create_process("true")
            held[0].stdin.write_eof()
            await held[0].wait()
            assert await asyncio.wait_for(again(link), 5) == "again\n"

    async def again(link: asyncssh.SSHClientConnection) -> str:
        while True:
            try:
                return str((await link.run("echo again")).stdout)
            except asyncssh.ChannelOpenError:
                await asyncio.sleep(0.01)  # our end of the channel closes before the host's

    asyncio.run(crowd())


def test_a_strange_key_is_refused_and_the_hardwares_address_leads_to_the_machine(lab: Lab) -> None:
    jump = lab.jump
    assert isinstance(jump, JumpHost)

    async def by_address() -> str:
        async with asyncssh.connect("127.0.0.1", jump.port, options=options(lab, getpass.getuser())) as link:
            address = lab.machine(NAME).metal.ip
            async with link.connect_ssh(address, 22, options=options(lab, "root")) as machine:
                return str((await machine.run("hostname")).stdout)

    assert asyncio.run(by_address()) == f"{NAME}\n"
    jump.refused.add(getpass.getuser())
    with pytest.raises(asyncssh.PermissionDenied):
        on_jump(lab, "true")


def test_a_real_cluster_needs_both_its_parts(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="both"):
        Lab(tmp_path, kubectl=Path("/usr/bin/kubectl"))
    with pytest.raises(LabError, match="installs, reboot-last"):
        Lab(tmp_path, "no-such-story")


def test_up_and_down_in_the_background(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    assert not down(folder)
    inventory = up(folder, "action-fails", 20)
    try:
        first = load(inventory).site.jump.port
        again = [str(Path(sys.executable).with_name("metalfoundry")), "lab.up", "--dir", str(folder)]
        asked = subprocess.run(again, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        assert asked.returncode == 12, asked.stdout
        assert f"metalfoundry lab.up --scenario installs --dir {folder} --yes" in asked.stderr
        assert load(inventory).site.jump.port == first
        assert load(up(folder, "installs", 20)).site.jump.port != first, "the first one was ended"
    finally:
        assert down(folder)
    assert not down(folder) and not (folder / "lab.pid").exists()


def test_every_scenario_has_a_story() -> None:
    assert {"installs", "never-netboots", "dead", "slow"} <= set(SCENARIOS)
    assert all(scenario.story for scenario in SCENARIOS.values())
