"""What `fab doctor` finds, broken in the lab and mended as it says; run as a module it writes the table of the docs.

Cases with the same number are broken at once, found in one look, mended, and seen to pass in a second one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import yaml

from metalfoundry import Check, Foundry
from metalfoundry.commands.claims import RUN, WINDOW
from metalfoundry.lab import fixtures
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.lab.scenarios import scenario
from metalfoundry.model.resources import FLUX_NAME
from metalfoundry.runs.doctor_server import SERVER_CHECKS
from metalfoundry.runs.doctor_site import SITE_CHECKS
from tests.lab.bench import NAME, tune
from tests.lab.client import on_machine

DOC = Path(__file__).parents[2] / "docs" / "doctor.md"
HEAD = "| check | what is looked at | fails in the tests when | and passes after |\n|---|---|---|---|\n"
OLD_RUN = "20260102T030405Z-old"
Work = Callable[[Lab], object]


@dataclass(frozen=True)
class Case:
    """`check` fails once `spoil` was done, with `step` in its remedy; `mend` does what the remedy says."""

    together: int
    check: str
    when: str
    spoil: Work
    step: str
    remedy: str
    mend: Work


def site(**keys: Any) -> Work:
    return lambda lab: tune(lab, site=keys)


def jump(lab: Lab, **keys: Any) -> None:
    known = yaml.safe_load(lab.inventory.read_text())
    known["site"]["jump"] |= keys
    lab.inventory.write_text(yaml.safe_dump(known))


def server(**keys: Any) -> Work:
    return lambda lab: tune(lab, server=keys)


def change(lab: Lab, kind: str, name: str, edit: Callable[[Object], object]) -> None:
    obj = lab.store.get(kind, name)
    edit(obj)
    lab.store.replace(kind, obj)


def hardware(edit: Callable[[Object], object]) -> Work:
    return lambda lab: change(lab, "hardware", NAME, edit)


def template(old: str, new: str) -> Work:
    def edit(obj: Object) -> None:
        text = obj["spec"]["data"]
        assert old in text
        obj["spec"]["data"] = text.replace(old, new)

    return lambda lab: change(lab, "templates", "ubuntu-2404", edit)


def document(old: str, new: str) -> Work:
    def write(lab: Lab) -> None:
        path = lab.folder / "workflows.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return write


def denied(*pairs: tuple[str, str]) -> Work:
    def deny(lab: Lab) -> None:
        assert lab.door is not None
        lab.door.faults.denied = set(pairs)

    return deny


def api(up: bool) -> Work:
    def switch(lab: Lab) -> None:
        assert lab.door is not None
        (lab.door.faults.api_up if up else lab.door.faults.api_down)()

    return switch


def known_hosts(text: str | None) -> Work:
    return lambda lab: (lab.folder / "known_hosts").write_text(lab.known_hosts() if text is None else text)


def foreign_key(lab: Lab) -> None:
    path = lab.folder / "other"
    path.touch(0o600)
    path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    jump(lab, identity=str(path))


def own_key(lab: Lab) -> None:
    jump(lab, identity=str(lab.folder / "id_ed25519"))


def old_claim(obj: Object) -> None:
    note = json.dumps({"holder": "ann@desk", "opened": "2026-01-02T03:04:05Z", "expires": "2026-01-02T03:14:05Z"})
    obj["metadata"].setdefault("annotations", {}).update({RUN: OLD_RUN, WINDOW: note})


def netboot(allowed: bool) -> Work:
    return hardware(lambda obj: obj["spec"]["interfaces"][0]["netboot"].update(allowPXE=allowed))


def ready(pods: int) -> Work:
    return lambda lab: change(lab, "deployments", "tinkerbell", lambda obj: obj["status"].update(readyReplicas=pods))


def logind_kills(lingers: str) -> Work:
    """A jump host whose logind ends a user's programs at logout; whether this user's linger."""
    logind = f"case $1 in show-session) echo yes ;; show-user) echo {lingers} ;; esac"
    user = "case $1 in -u) echo 1000 ;; *) echo lea ;; esac"

    def work(lab: Lab) -> None:
        for name, text in (("loginctl", logind), ("id", user), ("systemd-run", "exit 1")):
            (lab.folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (lab.folder / "bin" / name).chmod(0o755)

    return work


def late_date(lab: Lab) -> None:
    date = lab.folder / "bin" / "date"
    date.write_text(f"#!/bin/sh\nexec {shutil.which('date')} -d '+90 seconds' \"$@\"\n")
    date.chmod(0o755)


def disk_first(lab: Lab) -> None:
    """A firmware of which the lab's has no scenario: the disk first, unless asked for once."""
    path = lab.folder / "machines" / NAME / "bin" / "old" / "efibootmgr"
    path.write_text(
        f'#!/bin/sh\nasked={lab.folder}/bootnext\n[ "$1" != -n ] || : >$asked\n'
        "[ ! -e $asked ] || echo 'BootNext: 0003'\n"
        "printf 'BootOrder: 0001,0003\\nBoot0001* ubuntu\\nBoot0003* Network: IPv4 eno1\\n'\n"
    )


def bmc(lab: Lab) -> None:
    condition = {"type": "Contactable", "status": "True"}
    lab.store.create("machines", {"metadata": {"name": "bmc-1"}, "status": {"conditions": [condition]}})


def rival(lab: Lab) -> None:
    live = fixtures.finished_workflow(lab.machines[NAME].metal, scenario("installs"))
    live["metadata"]["name"] = "rival"
    first = live["status"]["tasks"][0]["actions"][0]
    first["state"] = "RUNNING"
    live["status"]["currentState"] |= {"actionID": first["id"], "actionName": first["name"], "state": "RUNNING"}
    live["status"]["state"] = "RUNNING"
    lab.store.create("workflows", live)


def flux_owns(lab: Lab) -> None:
    tune(lab, site={"flux": "off"})
    change(lab, "hardware", NAME, lambda obj: obj["metadata"].update(labels={FLUX_NAME: "metal"}))


def mac(address: str) -> Work:
    return hardware(lambda obj: obj["spec"]["interfaces"][0]["dhcp"].update(mac=address))


def other_mac(lab: Lab) -> None:
    tune(lab, server={"mac": None})
    mac("00:00:5e:00:53:ae")(lab)


def foundry(work: Callable[[Foundry], object]) -> Work:
    def run(lab: Lab) -> None:
        with Foundry.load(lab.inventory) as one:
            work(one)

    return run


CASES = (
    Case(1, "keys", "the identity of the inventory is no file", lambda lab: jump(lab, identity="/nowhere"),
         "ssh-copy-id", "it names one that is", own_key),
    Case(2, "jump-host", "nothing listens at site.jump.port", lambda lab: jump(lab, port=1),
         "", "the port is the right one", lambda lab: jump(lab, port=lab.jump.port)),
    Case(3, "jump-key", "known_hosts does not know the jump host", known_hosts(""),
         "ssh", "its key was compared and written there", known_hosts(None)),
    Case(4, "jump-login", "the jump host does not know the key", foreign_key, "ssh-copy-id", "it does", own_key),
    Case(5, "kubectl", "site.kubectl names no program", site(kubectl="k0s kubectl"),
         "site.kubectl", "it does", site(kubectl="kubectl")),
    Case(6, "api", "the API server is down", api(False), "get --raw /readyz", "it is up", api(True)),
    Case(7, "hardware", "servers.*.hardware names none", server(hardware="nobody"),
         f"there are: {NAME}", "it names the right one", server(hardware=NAME)),
    Case(8, "workflow", "the Workflow file is not there", server(workflow="nowhere.yaml"),
         "--workflow", "its path is right", server(workflow="workflows.yaml")),
    Case(9, "template", "hardwareMap lacks a key that the Template names", document("device_1", "device_2"),
         "device_1", "the key is given", document("device_2", "device_1")),
    Case(10, "agent", "hardwareMap has another machine's MAC", document("device_1: 00:00:5e:00:53:4b",
         "device_1: 00:00:5e:00:53:ad"), "correct the Workflow's hardwareMap", "it has this one's",
         document("device_1: 00:00:5e:00:53:ad", "device_1: 00:00:5e:00:53:4b")),
    Case(10, "rights-to-diagnose", "a right to look is missing", denied(("list", "events")),
         "rbac.print", "the Role is applied", denied()),
    Case(11, "rights", "a right is missing", denied(("patch", "hardware")), "rbac.print",
         "the Role is applied", denied()),
    Case(12, "tinkerbell", "a Deployment has no pod ready", ready(0), "describe deployments/tinkerbell", "it has",
         ready(1)),
    Case(12, "clock", "the jump host's clock is ahead", late_date, "timedatectl", "it is set",
         lambda lab: (lab.folder / "bin" / "date").unlink()),
    Case(12, "gitops", "Flux manages the Hardware, and site.flux is off", flux_owns, "site.flux: auto",
         "site.flux is auto", site(flux="auto")),
    Case(12, "bmc", "the Hardware names a Machine that is not there",
         hardware(lambda obj: obj["spec"].update(bmcRef={"kind": "Machine", "name": "bmc-1"})),
         "get machines", "it is there, and Rufio reaches it", bmc),
    Case(12, "boot-order", "the disk comes first", disk_first, "efibootmgr -n 0003", "that command",
         lambda lab: on_machine(lab, NAME, "efibootmgr -n 0003")),
    Case(12, "images", "an action's image is no name", template("actions/writefile:latest", "actions/Write File"),
         "edit templates", "it is one", template("actions/Write File", "actions/writefile:latest")),
    Case(12, "timeouts", "an action has no timeout", template("timeout: 90", "pid: host"), "timeout in seconds",
         "it has one", template("pid: host\n", "timeout: 90\n")),
    Case(12, "other-workflows", "another live Workflow is for the same agent", rival, "--replace", "it is gone",
         lambda lab: lab.store.delete("workflows", "rival")),
    Case(12, "claim", "a dead run's claim is there", hardware(old_claim), f"netboot.break {NAME} --run {OLD_RUN}",
         "that command", foundry(lambda one: one.break_claim(NAME, OLD_RUN))),
    Case(13, "guard", "the jump host ends a user's programs at logout", logind_kills("no"),
         "sudo loginctl enable-linger lea", "that command", logind_kills("yes")),
    Case(13, "windows", "netboot is open and nobody's", netboot(True), "netboot.audit --close", "that command",
         foundry(lambda one: one.audit(close=True))),
    Case(13, "smee", "site.smee is another address", site(smee="http://127.0.0.1:1"), "site.smee", "it is Smee's",
         lambda lab: tune(lab, site={"smee": lab.smee.url})),
    Case(14, "ssh", "known_hosts does not know the server",
         lambda lab: (lab.folder / "known_hosts").write_text(lab.known_hosts().splitlines()[0] + "\n"),
         "ssh", "its key was compared and written there", known_hosts(None)),
    Case(15, "identity", "another machine has the address", other_mac, "find out who has",
         "the MAC is this machine's", mac("00:00:5e:00:53:4b")),
)  # fmt: skip


def found(lab: Lab) -> dict[str, Check]:
    """What doctor says of the site and of the one server, by check."""
    with Foundry.load(lab.inventory) as one:
        return {check.check: check for check in one.doctor([NAME])}


def table() -> str:
    """The rows of docs/doctor.md."""
    cases = {case.check: case for case in CASES}
    rows = []
    for check, question in {**SITE_CHECKS, **SERVER_CHECKS}.items():
        case = cases.get(check)
        rows.append(f"| `{check}` | {question} | {case.when if case else ''} | {case.remedy if case else ''} |\n")
    return "".join(rows)


def page() -> str:
    """The page as it should be."""
    before, _, after = DOC.read_text(encoding="utf-8").partition(HEAD)
    rest = after.split("\n\n", 1)[1]
    return f"{before}{HEAD}{table()}\n{rest}"


if __name__ == "__main__":
    DOC.write_text(page(), encoding="utf-8")
