"""What a machine may run: the old system, HookOS, the new system; each with files of its own."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import asyncssh

OTHER_MAC = "00:00:5e:00:53:a2"
OLD_AGE = 365 * 86400  # seconds: how long ago the old system was installed
_IMAGE_ROOT = "0b5f4f4e-6d3f-4b0a-9a57-1f8a3f0c24e1"  # an image brings its file system's UUID along
_AGED = ("etc/machine-id", "etc/ssh/ssh_host_ed25519_key.pub", "var/lib/tinkerbell-provisioned")


class SystemKind(Enum):
    """Which of the three."""

    OLD = "old"
    HOOK = "hook"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Metal:
    """What does not change when a machine is re-installed."""

    name: str
    mac: str
    ip: str
    serial: str
    uuid: str


@dataclass(frozen=True, slots=True)
class InstalledSystem:
    """One installed (or netbooted) system: its kind, its files below `root`, its host key."""

    kind: SystemKind
    root: Path
    host_key: asyncssh.SSHKey
    users: tuple[str, ...]

    def boot(self, cmdline: str) -> str:
        """Write what a kernel shows after this boot; return the new boot id."""
        boot_id = str(uuid.uuid4())
        _write(self.root, "proc/sys/kernel/random/boot_id", boot_id)
        _write(self.root, "proc/cmdline", cmdline)
        _write(self.root, ".booted", str(int(time.time())))
        return boot_id


def make_system(
    kind: SystemKind,
    folder: Path,
    metal: Metal,
    *,
    marker: bool = True,
    cloud_init: str = "done",
    other_nic: bool = False,
    baked: bool = False,
) -> InstalledSystem:
    """A fresh system in `folder`: new machine-id, new host key. What was in the folder is gone.

    The new one comes from an image, so its root file system is older than what its first boot makes; `baked`: that has
    been in the image, too. The old one was born OLD_AGE ago, and HookOS lives in memory.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _metal_files(folder, metal, "eth0" if kind is SystemKind.HOOK else "eno1")
    if other_nic:
        _write(folder, "sys/class/net/eno2/address", OTHER_MAC)
    _write(folder, "etc/os-release", _OS_RELEASE[kind])
    _write(folder, "etc/machine-id", uuid.uuid4().hex)
    _write(folder, "etc/hostname", "hookos" if kind is SystemKind.HOOK else metal.name)
    _write(folder, ".cloud-init", cloud_init if kind is SystemKind.NEW else "")
    for name in ("opt", "tmp", "root", "var/log", "var/lib/cloud", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if kind is SystemKind.NEW and marker:
        _write(folder, "var/lib/tinkerbell-provisioned", f"tinkerbell_provisioned={int(time.time())}")
    key = asyncssh.generate_private_key("ssh-ed25519")
    _write(folder, "etc/ssh/ssh_host_ed25519_key.pub", key.export_public_key().decode().strip())
    own = _IMAGE_ROOT if kind is SystemKind.NEW else str(uuid.uuid4())
    _write(folder, ".root", "tmpfs" if kind is SystemKind.HOOK else f"{own} ext4")
    _write(folder, ".born", str(int(time.time()) - OLD_AGE))
    if kind is SystemKind.OLD or baked:
        make_older(folder)
    return InstalledSystem(kind, folder, key, ("root",) if kind is SystemKind.HOOK else ("root", "ubuntu"))


def make_older(root: Path) -> None:
    """Whatever an installation or a first boot has left there was made OLD_AGE ago."""
    moment = time.time() - OLD_AGE
    for path in (root / name for name in _AGED):
        if path.exists():
            os.utime(path, (moment, moment))


def default_cmdline(kind: SystemKind) -> str:
    """The kernel's command line of a system that boots from disk."""
    return f"BOOT_IMAGE=/vmlinuz-{_KERNEL[kind]} root=LABEL=cloudimg-rootfs ro quiet"


def kernel(kind: SystemKind) -> str:
    """What `uname -r` says."""
    return _KERNEL[kind]


def _metal_files(root: Path, metal: Metal, nic: str) -> None:
    _write(root, f"sys/class/net/{nic}/address", metal.mac)
    _write(root, f"sys/class/net/{nic}/operstate", "up")
    _write(root, "sys/class/net/lo/address", "00:00:00:00:00:00")
    _write(root, "sys/class/net/lo/operstate", "unknown")
    _write(root, "sys/class/dmi/id/product_serial", metal.serial)
    _write(root, "sys/class/dmi/id/product_uuid", metal.uuid)
    _write(root, "sys/class/dmi/id/product_name", "PowerEdge R610")
    _write(root, "sys/class/dmi/id/sys_vendor", "Dell Inc.")
    _write(root, "sys/block/sda/size", "976773168")
    _write(root, "sys/block/sda/device/model", "PERC 6/i")
    _write(root, "proc/meminfo", "MemTotal:       49434468 kB\nMemFree:        47210332 kB")
    _write(root, "proc/uptime", "0.00 0.00")
    (root / "sys/firmware/efi").mkdir(parents=True)


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


_KERNEL = {SystemKind.OLD: "5.10.0-28-amd64", SystemKind.HOOK: "6.6.71-linuxkit", SystemKind.NEW: "6.8.0-79-generic"}
_OS_RELEASE = {
    SystemKind.OLD: 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nNAME="Debian GNU/Linux"\nVERSION_ID="11"\n'
    'VERSION="11 (bullseye)"\nVERSION_CODENAME=bullseye\nID=debian',
    SystemKind.HOOK: 'NAME="HookOS"\nVERSION=0.10.0\nID=hookos\nVERSION_ID=0.10.0\nPRETTY_NAME="HookOS 0.10.0"\n'
    'ANSI_COLOR="1;34"\nHOME_URL="https://github.com/tinkerbell/hook"',
    SystemKind.NEW: 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\n'
    'VERSION="24.04.3 LTS (Noble Numbat)"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian',
}
