"""Cases of rules as data: what is said there replaces a part of one quiet world, in which everything was looked at.

That world: Tinkerbell 0.21.0, colo-server-01 with netboot closed and nobody's claim, its Workflow PENDING for 600 s,
logs without lines, SSH silent. Where netboot is said to be `open`, a live claim and its guard hold it. Times are
said as seconds before `now`. `unseen` takes facts away again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from metalfoundry.commands.claims import ClaimSeen, WindowNote, stamp
from metalfoundry.commands.kubernetes import (
    BmcJob,
    Container,
    Deployment,
    Flux,
    GuardSeen,
    KubernetesEvent,
    MachineProbe,
)
from metalfoundry.commands.log_parser import SOURCES, LogLine, read_log
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.smee import paths
from metalfoundry.diagnosis.facts import Configured, Facts, KeyRefused, NotSeen, Seen, split
from metalfoundry.model.inventory import Timeouts, VerifyConfig
from metalfoundry.model.resources import Hardware, Template, Workflow
from metalfoundry.model.states import BmcState, ClaimPhase, GuardState, SshAnswer

HERE = Path(__file__).parent
RECORDED = HERE.parents[2] / "shared" / "data" / "recorded"
NOW = datetime(2026, 11, 23, 2, 0, 0, tzinfo=UTC)
MAC, ADDRESS, NAMESPACE = "00:00:5e:00:53:4b", "10.77.0.11", "tink-system"
SYSTEMS = {
    "hook": {"os_id": "hookos", "os_name": "HookOS 0.10.0", "hostname": "00-00-5e-00-53-4b"},
    "old": {"os_id": "debian", "os_name": "Debian GNU/Linux 11", "hostname": "old", "machine_id": "old"},
    "new": {"os_id": "ubuntu", "os_name": "Ubuntu 24.04.1 LTS", "hostname": "colo-server-01", "machine_id": "new"},
}


@dataclass(frozen=True)
class Case:
    """One case of one rule: `fires` or is a near miss; `said` holds what it expects."""

    rule: str
    fires: bool
    why: str
    facts: Facts
    said: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.rule}: {'' if self.fires else 'not '}{self.why}"


def load() -> list[Case]:
    """All cases of all files."""
    found = []
    for path in sorted((HERE / "cases").glob("*.yaml")):
        for rule, kinds in yaml.safe_load(path.read_text()).items():
            assert set(kinds) == {"fires", "near"}, f"{path.name}: {rule}"
            for kind, items in kinds.items():
                found += [
                    Case(rule, kind == "fires", item["why"], facts(item.get("facts") or {}), item) for item in items
                ]
    return found


def facts(said: Mapping[str, Any]) -> Facts:
    """The quiet world with what is said replaced."""
    now = datetime.fromisoformat(said["now"]) if "now" in said else NOW
    hardware = _hardware(said)
    listed = [_workflow(item, now) for item in said.get("others", [])]
    workflow = _workflow(said.get("workflow") or {}, now) if said.get("workflow") != "absent" else None
    world = Facts(
        name="colo-server-01",
        now=now,
        configured=_configured(said.get("configured") or {}),
        hardware=Seen(hardware),
        template=Seen(None if said.get("template") == "absent" else _template(said)),
        workflow=Seen(workflow),
        workflows=Seen((*((workflow,) if workflow else ()), *listed)),
        claim=Seen(_claim(said.get("claim", {} if said.get("open") else None), now)),
        guards=Seen(
            tuple(
                GuardSeen(run, hardware, GuardState(state))
                for run, hardware, state in said.get("guards", [["run-1", "colo-server-01", "guarding"]])
            )
        ),
        events=Seen(
            tuple(
                KubernetesEvent("Warning", item[0], item[1], "Workflow/w", stamp(now))
                for item in said.get("events", [])
            )
        ),
        deployments=Seen(_deployments(said)),
        bmc=Seen(tuple(_job(item, now) for item in said.get("bmc", []))),
        flux=Seen(Flux("tinkerbell", "flux-system", said["flux"]["suspended"]) if "flux" in said else None),
        smee=Seen(dict.fromkeys(paths(MAC), said["smee"])) if "smee" in said else NotSeen("no site.smee"),
        ssh=Seen(SshAnswer(said.get("ssh", "ok" if "machine" in said else "silent"))),
        machine=Seen(_machine(said["machine"])) if "machine" in said else NotSeen("SSH is silent"),
        before=Seen(_machine(said["before"]).facts) if "before" in said else NotSeen("no run asks"),
        key_refused=KeyRefused(**said["key_refused"]) if "key_refused" in said else None,
        started=Seen(now - timedelta(seconds=said["started"])) if "started" in said else NotSeen("no run asks"),
        logs=_logs(said.get("logs") or {}, now),
    )
    return without(world, said.get("unseen", []))


def without(world: Facts, names: list[str]) -> Facts:
    """The same facts with some of them not looked at (`logs.agent` for a log)."""
    logs = {key: NotSeen("knocked out") if f"logs.{key}" in names else value for key, value in world.logs.items()}
    gone: dict[str, Any] = {name: NotSeen("knocked out") for name in names if not name.startswith("logs.")}
    return replace(world, logs=logs, **gone)


def _hardware(said: Mapping[str, Any]) -> Hardware | None:
    if said.get("hardware") == "absent":
        return None
    if isinstance(said.get("hardware"), str):
        return Hardware.of(recorded(said["hardware"]))
    given = said.get("hardware") or {}
    interface: dict[str, Any] = {"dhcp": {"mac": given.get("mac", MAC), "ip": {"address": ADDRESS}}}
    if given.get("netboot", True):
        interface["netboot"] = {"allowPXE": said.get("open", False), "allowWorkflow": said.get("open", False)}
    labels = {"kustomize.toolkit.fluxcd.io/name": "tinkerbell"} if "flux" in said else {}
    meta = {
        "name": "colo-server-01",
        "namespace": NAMESPACE,
        "labels": labels,
        "annotations": given.get("annotations", {}),
    }
    return Hardware.of({"metadata": meta, "spec": {"interfaces": [interface], **given.get("spec", {})}})


def _template(said: Mapping[str, Any]) -> Template:
    text = (
        "name: t\ntasks:\n- name: os\n  actions:\n  - {name: stream-image, image: example/image2disk, timeout: 300}\n"
    )
    data = said.get("template", text)
    return Template.of({"metadata": {"name": "ubuntu-2404", "namespace": NAMESPACE}, "spec": {"data": data}})


def _workflow(given: Mapping[str, Any] | str, now: datetime) -> Workflow:
    if isinstance(given, str):
        return Workflow.of(recorded(given))
    created = stamp(now - timedelta(seconds=given.get("age", 600)))
    name, state = given.get("name", "colo-server-01-ubuntu"), given.get("state", "PENDING")
    agent = given.get("agent", MAC)
    actions = [
        _action(item, now) for item in given.get("actions", [["stream-image", "PENDING"], ["reboot", "PENDING"]])
    ]
    status: dict[str, Any] = {"state": state, **given.get("status", {})}
    if agent:
        status["agentID"] = agent
    if state or "actions" in given:
        status["tasks"] = [{"name": "os", "volumes": given.get("volumes", ["/dev:/dev"]), "actions": actions}]
    at = next((item for item in actions if item["state"] in ("RUNNING", "FAILED", "TIMEOUT")), None)
    if given.get("at"):
        at = next(item for item in actions if item["name"] == given["at"])
    if at is not None:
        status["currentState"] = {
            "actionID": at["id"],
            "actionName": at["name"],
            "taskName": "os",
            "state": at["state"],
        }
    status["conditions"] = [
        {"type": item[0], "status": item[1], "message": item[2], "time": created}
        for item in given.get("conditions", [])
    ]
    spec = {"templateRef": "ubuntu-2404", "hardwareRef": "colo-server-01", **given.get("spec", {})}
    meta = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "creationTimestamp": created}
    return Workflow.of({"metadata": meta, "spec": spec, "status": status})


_IMAGES = {
    "stream-image": "quay.io/tinkerbell/actions/image2disk:latest",
    "write-netplan": "quay.io/tinkerbell/actions/writefile:latest",
    "install-grub": "quay.io/tinkerbell/actions/cexec:latest",
    "reboot": "ghcr.io/jacobweinstock/waitdaemon:latest",
    "kexec": "quay.io/tinkerbell/actions/kexec:latest",
}


def _action(given: list[Any], now: datetime) -> dict[str, Any]:
    """[name, state, further fields]; `ended: s` and `took: s` become Tinkerbell's own fields."""
    name, state, more = given[0], given[1], dict(given[2]) if len(given) > 2 else {}
    action = {
        "id": f"id-{name}",
        "name": name,
        "state": state,
        "image": _IMAGES.get(name, "example/action"),
        "timeout": 300,
    }
    if "ended" in more:
        stop = now - timedelta(seconds=more.pop("ended"))
        took = more.pop("took", 20)
        action |= {"executionStop": stamp(stop), "executionStart": stamp(stop - timedelta(seconds=took))}
    return action | more


def _deployments(said: Mapping[str, Any]) -> tuple[Deployment, ...]:
    if "deployments" in said:
        return tuple(Deployment(*item) for item in said["deployments"])
    version = said.get("version", "v0.21.0")
    if version is None:
        return (Deployment("tinkerbell", "ghcr.io/tinkerbell/tinkerbell:latest", 1, 1),)
    return (Deployment("tinkerbell", f"ghcr.io/tinkerbell/tinkerbell:{version}", 1, 1),)


def _claim(given: Mapping[str, Any] | None, now: datetime) -> ClaimSeen | None:
    if given is None:
        return None
    expires = stamp(now + timedelta(seconds=given.get("left", 600)))
    return ClaimSeen(
        "run-1",
        WindowNote("kevin@laptop", "provision", stamp(now), expires, ClaimPhase(given.get("phase", ClaimPhase.BOOT))),
    )


def _job(given: list[Any], now: datetime) -> BmcJob:
    kind, name, state, message = given
    return BmcJob(kind, name, "bmc-1", stamp(now - timedelta(seconds=90)), BmcState(state), message)


def _machine(given: Mapping[str, Any] | str) -> MachineProbe:
    said = {"system": given} if isinstance(given, str) else dict(given)
    system = said.pop("system")
    around: dict[str, Any] = {key: said.pop(key) for key in ("disk_free", "grpc", "skew") if key in said}
    if "containers" in said:
        around["containers"] = tuple(Container(*item) for item in said.pop("containers"))
    if "addresses" in said:
        around["addresses"] = tuple(said.pop("addresses"))
    cmdline = f"worker_id={MAC} grpc_authority=10.77.0.2:42113 tink_worker_image=x" if system == "hook" else "ro quiet"
    values = {
        "boot_id": f"boot-{system}",
        "macs": (MAC,),
        "uptime": 60.0,
        "cmdline": cmdline,
        **SYSTEMS[system],
        **said,
    }
    for name in ("macs", "checks", "born"):
        values[name] = tuple(tuple(item) if isinstance(item, list) else item for item in values.get(name, ()))
    return MachineProbe(MachineFacts(**values), **around)


def _configured(given: Mapping[str, Any]) -> Configured:
    more = dict(given)
    timeouts, verify = Timeouts(**more.pop("timeouts", {})), VerifyConfig(**more.pop("verify", {}))
    words: dict[str, Any] = {"server": "colo-server-01", "hardware": "colo-server-01", "namespace": NAMESPACE, **more}
    return Configured(**words, timeouts=timeouts, verify=verify)


def _logs(given: Mapping[str, Any], now: datetime) -> dict[str, Seen[tuple[LogLine, ...]] | NotSeen]:
    """By source: lines as bare text, as [seconds ago, text], or as a mapping of JSON fields with `ago`."""
    lines: list[LogLine] = []
    for source, items in given.items():
        text = _recorded_text(items) if isinstance(items, str) else "\n".join(_line(item, now) for item in items)
        lines += read_log(source, text)
    by_source = split(lines)
    return {source: Seen(by_source.get(source, ()), f"{source} log") for source in SOURCES}


def _line(item: Any, now: datetime) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, list):
        return f"{_at(now, item[0])} {item[1]}"
    fields = dict(item)
    if "ago" in fields:
        fields = {"time": _at(now, fields.pop("ago")), **fields}
    return json.dumps(fields)


def _at(now: datetime, ago: float) -> str:
    return (now - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def recorded(name: str) -> Any:
    """A recorded object."""
    return json.loads((RECORDED / "objects" / f"{name}.json").read_text())


def _recorded_text(name: str) -> str:
    return (RECORDED / name).read_text()
