"""What stands in the lab's cluster and in its inventory: Hardware, Templates, Workflow documents, timeouts."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from metalfoundry.lab.clock import stamp
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.machine.operating_systems import Metal
from metalfoundry.lab.scenarios import Last, Scenario
from metalfoundry.lab.tinkerbell.template import render, template_values

NOBODY = "00:00:5e:00:53:ad"
_KNOWN = {
    "colo-server-01": ("00:00:5e:00:53:4b", "192.0.2.85"),
    "anvil": ("00:00:5e:00:53:c0", "192.0.2.87"),
}
_SUFFIX = {Last.WAITDAEMON: "", Last.REBOOT: "-reboot", Last.KEXEC: "-kexec", Last.STAY: "-stay"}


def metal(name: str, place: int) -> Metal:
    """The machine of that name; other names than the rack's own get addresses by their place (from 0)."""
    mac, ip = _KNOWN.get(name, (f"02:00:00:00:{place // 256:02x}:{place % 256:02x}", f"192.0.2.{100 + place % 150}"))
    seed = hashlib.sha256(name.encode()).hexdigest()
    return Metal(name, mac, ip, seed[:7].upper(), str(uuid.UUID(seed[:32])))


def hardware(metal: Metal, scenario: Scenario, *, allow_workflow: bool) -> Object:
    """The Hardware object; `netboot` is closed, or absent where the scenario wants that."""
    netboot = {"allowPXE": scenario.stray} | ({"allowWorkflow": False} if allow_workflow else {})
    interface: Object = {
        "dhcp": {
            "arch": "x86_64",
            "hostname": metal.name,
            "ip": {"address": metal.ip, "gateway": "192.0.2.1", "netmask": "255.255.255.0"},
            "mac": metal.mac,
            "uefi": True,
        },
        "disableDhcp": False,
    }
    if scenario.netboot_block:
        interface["netboot"] = netboot
    bmc = {"bmcRef": {"apiGroup": "bmc.tinkerbell.org", "kind": "Machine", "name": bmc_name(metal)}}
    return {
        "apiVersion": "tinkerbell.org/v1alpha1",
        "kind": "Hardware",
        "metadata": {"name": metal.name},
        "spec": (bmc if scenario.bmc else {})
        | {
            "disks": [{"device": "/dev/sda"}],
            "interfaces": [interface],
            "metadata": {
                "facility": {"facility_code": "colo"},
                "instance": {"hostname": metal.name, "id": metal.mac},
            },
        },
    }


def bmc_name(metal: Metal) -> str:
    """The Machine that is its BMC."""
    return f"bmc-{metal.name}"


def bmc_machine(metal: Metal) -> Object:
    """That object, of which Rufio has seen nothing yet."""
    secret = {"name": bmc_name(metal), "namespace": "tink-system"}
    return {
        "apiVersion": "bmc.tinkerbell.org/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": bmc_name(metal)},
        "spec": {"connection": {"host": "192.0.2.250", "insecureTLS": True, "authSecretRef": secret}},
    }


def template_name(scenario: Scenario) -> str:
    """The Template that ends as the scenario wants it."""
    extra = "" if scenario.global_timeout == 1800 else f"-{scenario.global_timeout}s"
    return f"ubuntu-2404{_SUFFIX[scenario.last]}{extra}"


def template(scenario: Scenario) -> Object:
    """The Template object of that name."""
    actions = [_STREAM, _NETPLAN, *_LAST[scenario.last]]
    name = template_name(scenario)
    task = {
        "name": "os-installation",
        "worker": "{{.device_1}}",
        "volumes": ["/dev:/dev", "/dev/console:/dev/console", "/lib/firmware:/lib/firmware:ro"],
        "actions": actions,
    }
    body = {"version": "0.1", "name": name, "global_timeout": scenario.global_timeout, "tasks": [task]}
    return {
        "apiVersion": "tinkerbell.org/v1alpha1",
        "kind": "Template",
        "metadata": {"name": name},
        "spec": {"data": yaml.safe_dump(body, sort_keys=False, width=200)},
    }


def workflow(metal: Metal, scenario: Scenario, namespace: str = "tink-system") -> Object:
    """The server's Workflow document."""
    agent = metal.mac if scenario.right_agent else NOBODY
    spec: Object = {
        "templateRef": template_name(scenario) if scenario.template else "ubuntu-2204",
        "hardwareRef": metal.name,
        "hardwareMap": ({"device_1": agent} if scenario.map_key else {}) | {"hostname": metal.name},
    }
    if scenario.toggle:
        spec["bootOptions"] = {"toggleAllowNetboot": True}
    return {
        "apiVersion": "tinkerbell.org/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": f"{metal.name}-ubuntu", "namespace": namespace},
        "spec": spec,
    }


def rival_workflow(metal: Metal, scenario: Scenario) -> Object:
    """Another Workflow of the same agent, as somebody else applied it before."""
    document = workflow(metal, scenario)
    del document["metadata"]["namespace"]
    document["metadata"]["name"] = f"{metal.name}-debian"
    return document


def finished_workflow(metal: Metal, scenario: Scenario) -> Object:
    """A Workflow of the same agent that has ended long ago, with its status."""
    document = workflow(metal, scenario)
    del document["metadata"]["namespace"]
    document["metadata"]["name"] = f"{metal.name}-last-year"
    values = template_values(document["spec"], hardware(metal, scenario, allow_workflow=True))
    seconds, tasks = render(document["metadata"]["name"], template(scenario)["spec"]["data"], values)
    for action in tasks[0]["actions"]:
        action.update(
            state="SUCCESS",
            message="action completed",
            executionStart=stamp(),
            executionStop=stamp(),
            executionDuration="1s2ms",
        )
    last = tasks[0]["actions"][-1]
    document["status"] = {
        "agentID": tasks[0]["agentID"],
        "currentState": {
            "actionID": last["id"],
            "actionName": last["name"],
            "agentID": tasks[0]["agentID"],
            "state": "SUCCESS",
            "taskID": tasks[0]["id"],
            "taskName": tasks[0]["name"],
        },
        "globalTimeout": seconds,
        "state": "SUCCESS",
        "tasks": tasks,
        "templateRendering": "successful",
    }
    return document


@dataclass(frozen=True, slots=True)
class Places:
    """What the inventory needs to know of a lab that stands."""

    folder: Path
    jump_port: int
    jump_user: str
    smee: str
    kubectl: str
    namespace: str
    speed: float
    ports: Mapping[str, int]


def inventory(places: Places, servers: Iterable[tuple[Metal, Scenario]]) -> str:
    """The text of inventory.yaml; timeouts are twice what a healthy machine takes, and some real seconds more."""
    servers = list(servers)
    slowest = max(scenario.action_factor for _, scenario in servers)
    entries = {metal.name: _server(metal, places) for metal, _ in servers}
    keys = {"identity": str(places.folder / "id_ed25519"), "known_hosts": str(places.folder / "known_hosts")}
    document = {
        "site": {
            "name": "lab",
            "jump": {
                "host": "127.0.0.1",
                "user": places.jump_user,
                "port": places.jump_port,
                **keys,
                "host_key": "yes",
            },
            "kubectl": places.kubectl,
            "namespace": places.namespace,
            "smee": places.smee,
        },
        "defaults": {"user": "root", "via": "jump", **keys, "host_key": "yes"},
        "timeouts": {
            "netboot": _span(4, 12, places.speed),
            "install": _span(8, 12 + 8 * slowest, places.speed),
            "boot": _span(10, 12, places.speed),
            "verify": _span(8, 4, places.speed),
        },
        "servers": entries,
    }
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=200)


def _server(metal: Metal, places: Places) -> Object:
    return {
        "hardware": metal.name,
        "address": "127.0.0.1",
        "port": places.ports[metal.name],
        "mac": metal.mac,
        "workflow": "workflows.yaml",
        "verify": {
            "user": "ubuntu",
            "os": "Ubuntu 24.04",
            "hostname": metal.name,
            "marker": "/var/lib/tinkerbell-provisioned",
            "cloud_init": True,
            "commands": ["test -d /opt"],
        },
    }


def _span(real: float, machine: float, speed: float) -> str:
    return f"{math.ceil(real + machine / speed)}s"


_HEAD = "# Written by the lab for itself: it holds as long as this lab is up.\n"
_STREAM = {
    "name": "stream-ubuntu-image",
    "image": "quay.io/tinkerbell/actions/image2disk:latest",
    "timeout": 300,
    "environment": {
        "DEST_DISK": "{{ index .Hardware.Disks 0 }}",
        "IMG_URL": "http://10.77.0.1/noble.raw.gz",
        "COMPRESSED": "true",
    },
}
_NETPLAN = {
    "name": "write-netplan",
    "image": "quay.io/tinkerbell/actions/writefile:latest",
    "timeout": 90,
    "environment": {
        "DEST_DISK": "{{ formatPartition ( index .Hardware.Disks 0 ) 1 }}",
        "FS_TYPE": "ext4",
        "DEST_PATH": "/etc/netplan/50-cloud-init.yaml",
        "CONTENTS": "network: {version: 2}\n",
        "UID": "0",
        "GID": "0",
        "MODE": "0644",
        "DIRMODE": "0755",
    },
}
_NSENTER = ["/usr/bin/nsenter", "-t", "1", "-m", "-u", "-i", "-n", "--", "/bin/sh", "-c", "sync && reboot -f"]
_LAST: Mapping[Last, list[Object]] = {
    Last.WAITDAEMON: [
        {
            "name": "reboot-into-os",
            "image": "ghcr.io/jacobweinstock/waitdaemon:latest",
            "timeout": 30,
            "pid": "host",
            "command": _NSENTER,
            "environment": {"IMAGE": "justincormack/nsenter1", "WAIT_SECONDS": "2"},
            "volumes": ["/var/run/docker.sock:/var/run/docker.sock"],
        }
    ],
    Last.REBOOT: [
        {
            "name": "reboot-into-os",
            "image": "ghcr.io/jacobweinstock/nsenter1:latest",
            "timeout": 90,
            "pid": "host",
            "command": ["/bin/sh", "-c", "sync && reboot -f"],
        }
    ],
    Last.KEXEC: [
        {
            "name": "kexec-into-os",
            "image": "quay.io/tinkerbell/actions/kexec:latest",
            "timeout": 90,
            "pid": "host",
            "environment": {"BLOCK_DEVICE": "{{ formatPartition ( index .Hardware.Disks 0 ) 1 }}", "FS_TYPE": "ext4"},
        }
    ],
    Last.STAY: [],
}
