from __future__ import annotations

from pathlib import Path

import pytest

from metalfoundry.commands.command import Effect
from metalfoundry.commands.machine import REBOOT, MachineFacts, facts, read_facts
from tests.commands.shells import folder_of, run

UBUNTU = """boot_id=6b7c1b6a-7a39-4e8e-9f40-1d0f8f6b0a11
machine_id=0f3a
hostname=colo-server-01
uptime=61.32 200.11
cmdline=BOOT_IMAGE=/vmlinuz-6.8.0-79-generic root=LABEL=cloudimg-rootfs ro quiet
serial=ABC123
uuid=4c4c4544-0000
clock=1764730000
os.PRETTY_NAME="Ubuntu 24.04.3 LTS"
os.NAME="Ubuntu"
os.VERSION_ID="24.04"
os.ID=ubuntu
mac=00:00:5E:00:53:4B
mac=00:00:00:00:00:00
root=6a1c-22 ext4
born=1764000000 1764700000 2049 /
born=0 1764729950 2049 /etc/machine-id
born=1764729960 1764729955 2049 /etc/ssh/ssh_host_rsa_key.pub
born=? 1764729999 2049 /var/lib/tinkerbell-provisioned
born=odd
marker.text=tinkerbell_provisioned=1764729999
cloud_init=status: done
check=0 0
check=1 7 no such folder: /opt now
check=2 -
check=x y z
check=3 99999999999999999999 z
"""
HOOK = """boot_id=b1
hostname=hookos
cmdline=console=ttyS0 worker_id=00:00:5e:00:53:4b grpc_authority=10.0.0.2:42113 worker_id=later
os.NAME="HookOS"
os.ID=hookos
os.VERSION_ID=0.10.0
mac=00:00:5e:00:53:4b
"""
CAPTAIN = """boot_id=b2
cmdline=worker_id=00:00:5e:00:53:4b grpc_authority=10.0.0.2:42113 tinkerbell_tls=false
os.ID=captainos
os.NAME=CaptainOS
os.VERSION_ID=1
"""


def test_ubuntu() -> None:
    seen = read_facts(UBUNTU)
    assert seen == MachineFacts(
        boot_id="6b7c1b6a-7a39-4e8e-9f40-1d0f8f6b0a11",
        machine_id="0f3a",
        hostname="colo-server-01",
        os_id="ubuntu",
        os_name="Ubuntu 24.04.3 LTS",
        cmdline="BOOT_IMAGE=/vmlinuz-6.8.0-79-generic root=LABEL=cloudimg-rootfs ro quiet",
        serial="ABC123",
        uuid="4c4c4544-0000",
        uptime=61.32,
        clock=1764730000.0,
        macs=("00:00:5e:00:53:4b",),
        marker="tinkerbell_provisioned=1764729999 1764729999",
        cloud_init="status: done",
        checks=((0, ""), (7, "no such folder: /opt now"), (None, "")),
        root="6a1c-22",
        born=(("root", 1764e6), ("machine-id", 1764729950.0), ("host key", 1764729960.0), ("marker", 1764729999.0)),
    )
    assert not seen.in_hook


@pytest.mark.parametrize("root", ["tmpfs", "odd ramfs"])
def test_what_lives_in_memory_was_not_installed(root: str) -> None:
    assert read_facts(f"root={root}\nborn=5 6 1 /\nborn=5 6 1 /etc/machine-id\n").born == ()


def test_a_machine_id_that_is_mounted_over_the_root_was_not_installed() -> None:
    assert read_facts("born=5 6 1 /\nborn=5 6 24 /etc/machine-id\n").born == (("root", 5.0),)


def test_hookos_and_its_kernel_arguments() -> None:
    seen = read_facts(HOOK)
    assert seen.in_hook
    assert seen.os_name == "HookOS 0.10.0"
    assert seen.kernel_args["worker_id"] == "later"


def test_an_installer_of_another_name_is_known_by_its_arguments() -> None:
    seen = read_facts(CAPTAIN)
    assert (seen.os_id, seen.os_name, seen.in_hook) == ("captainos", "CaptainOS 1", True)


def test_one_argument_of_a_worker_alone_is_no_installer() -> None:
    assert not read_facts("cmdline=worker_id=x\n").in_hook


@pytest.mark.parametrize("text", ["", "\n", "no pairs here\n", "uptime=\nclock=soon\n", "check=\ncheck=0\n"])
def test_nothing_readable_is_no_facts(text: str) -> None:
    assert read_facts(text) == MachineFacts()


def test_what_is_said() -> None:
    assert (REBOOT.argv, REBOOT.effect) == (("reboot",), Effect.WRITE)
    command = facts()
    assert (command.argv, command.effect) == (("sh", "-s"), Effect.READ)
    assert command.stdin.startswith("MARKER=/var/lib/tinkerbell-provisioned\nCLOUD_INIT=\n")
    assert facts("/a b", True).stdin.startswith("MARKER='/a b'\nCLOUD_INIT=yes\n")


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="no Linux")
def test_here(shell: str, tmp_path: Path) -> None:
    """The script as it is, on this very machine."""
    marker = tmp_path / "it's there"
    marker.write_text("installed=1\n")
    checks = ["exit 3", "test -d /", "echo one; echo 'last line'; false", "cat", f"test -e '{tmp_path}'"]
    seen = read_facts(run(facts(str(marker), True, checks), shell), str(marker))
    assert seen.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert seen.cmdline == Path("/proc/cmdline").read_text().strip()
    assert seen.clock is not None
    assert seen.uptime is not None
    assert seen.clock > seen.uptime > 0
    assert seen.marker == f"installed=1 {int(marker.stat().st_mtime)}"
    assert dict(seen.born)["marker"] >= int(marker.stat().st_mtime)
    assert seen.os_name
    assert "lo" not in seen.macs
    assert [status for status, _ in seen.checks] == [3, 0, 1, 0, 0]
    assert seen.checks[2] == (1, "last line")


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="no Linux")
def test_a_check_that_has_only_a_moment_is_not_waited_for(shell: str) -> None:
    seen = read_facts(run(facts(checks=["sleep 30", "exit 3"], check_seconds=1), shell))
    assert seen.checks == ((None, ""), (3, ""))


def test_a_machine_with_almost_nothing_still_answers(tmp_path: Path) -> None:
    tools = folder_of(tmp_path / "bin", ["cat", "tr", "sh", "tail"])
    seen = read_facts(run(facts("/nowhere", True, ["false", "no-such-program"]), "dash", tools))
    assert seen.boot_id
    assert (seen.hostname, seen.macs, seen.marker, seen.cloud_init) == ("", (), "", "")
    assert [status for status, _ in seen.checks] == [1, 127]
