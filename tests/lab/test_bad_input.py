"""What an operator, a key, a cluster or a file can have wrong before anything is written: message, exit code, nothing
changed."""

from __future__ import annotations

import contextlib
import copy
import getpass
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from metalfoundry import Foundry, MetalfoundryError, Options
from metalfoundry.commands.claims import OLD_SYSTEMS
from metalfoundry.commands.history import HISTORY
from metalfoundry.lab.kubernetes.store import Object
from metalfoundry.lab.lab import Lab
from metalfoundry.model import errors
from metalfoundry.model.inventory_reader import load
from metalfoundry.transport.clock import Cancel, Instant
from metalfoundry.transport.connection import SshTimeouts
from metalfoundry.transport.ssh import SshTransport
from metalfoundry.ui.tasks.errors import described
from tests.lab.bench import NAME, SPEED, hardware, provision, tune, version

Spoil = Callable[[Lab], "contextlib.AbstractContextManager[None]"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), "no-toggle", speed=SPEED) as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    """The shared lab; its files and its cluster are put back after each test."""
    files = {path: path.read_bytes() for path in (shared.inventory, shared.folder / "known_hosts")}
    before = version(shared)
    yield shared
    for path, text in files.items():
        path.write_bytes(text)
    assert version(shared) == before, "something was written"


def refused(lab: Lab, *, code: int = 10, **options: Any) -> MetalfoundryError:
    """The error of a run that must end in Preflight."""
    report = provision(lab, options=Options(**options)).report
    assert report is not None
    assert isinstance(report.error, MetalfoundryError), report.error
    assert (report.exit_code, report.error.exit_code) == (code, code), described(report.error)
    assert [phase["title"] for phase in report.phases] == ["Preflight"]
    assert report.closed is not False  # None: nobody had looked yet
    text = described(report.error)
    assert text.startswith("error: ")
    for word in ("\n  where: ", "\n  now:   "):
        assert word in text, text
    return report.error


def documents(lab: Lab, change: Callable[[list[Object]], object], name: str = "mine.yaml") -> Path:
    """The lab's Workflow file, changed."""
    found = list(yaml.safe_load_all((lab.folder / "workflows.yaml").read_text()))
    change(found)
    path = lab.folder / name
    path.write_text(yaml.safe_dump_all(found))
    return path


def test_no_such_hardware(lab: Lab) -> None:
    tune(lab, server={"hardware": "colo-server-1"})
    error = refused(lab)
    assert error.what == "there is no Hardware colo-server-1; did you mean colo-server-01?"
    assert "anvil, colo-server-01" in error.next


def test_no_such_template(lab: Lab) -> None:
    path = documents(lab, lambda all: all[0]["spec"].update(templateRef="ubuntu-2044"))
    error = refused(lab, workflow=path)
    assert error.what == "there is no Template ubuntu-2044; did you mean ubuntu-2404?"
    assert "Workflow colo-server-01-ubuntu" in error.where
    assert refused(lab, template="nothing-like-it").what == "there is no Template nothing-like-it"


def test_no_workflow_and_no_template(lab: Lab) -> None:
    tune(lab, server={"workflow": None})
    error = refused(lab)
    assert NAME in error.what
    assert error.where == str(lab.inventory)
    assert "--workflow FILE" in error.next


def test_no_such_workflow_file(lab: Lab) -> None:
    error = refused(lab, workflow=lab.folder / "nowhere.yaml")
    assert "No such file" in error.what
    assert error.where.endswith("nowhere.yaml")


def test_a_workflow_file_without_this_server(lab: Lab) -> None:
    error = refused(lab, workflow=documents(lab, lambda all: all.pop(0)))
    assert NAME in error.what
    assert "mine.yaml" in error.where


def test_a_workflow_file_with_several_for_this_server(lab: Lab) -> None:
    def twice(all: list[Object]) -> None:
        second = copy.deepcopy(all[0])
        second["metadata"]["name"] = "the-other"
        all.append(second)

    path = documents(lab, twice)
    error = refused(lab, workflow=path)
    told = described(error)
    assert "colo-server-01-ubuntu" in told
    assert "the-other" in told
    assert "--workflow-name" in error.next
    wrong = refused(lab, workflow=path, workflow_name="the-othre")
    assert "the-other" in described(wrong)


@pytest.mark.parametrize("text", ["kind: [Workflow\n", "\tkind: x\n", "a: b: c\n"])
def test_a_workflow_file_that_does_not_parse(lab: Lab, text: str) -> None:
    path = lab.folder / "broken.yaml"
    path.write_text(text)
    error = refused(lab, workflow=path)
    assert str(path) in described(error)


@pytest.mark.parametrize("missing", ["hardwareRef", "templateRef"])
def test_a_workflow_without_its_references(lab: Lab, missing: str) -> None:
    path = documents(lab, lambda all: [one["spec"].pop(missing) for one in all])
    assert missing in refused(lab, workflow=path).what


@contextlib.contextmanager
def program(lab: Lab, text: str | None) -> Iterator[None]:
    """Another `kubectl` on the jump host, or none."""
    path = lab.folder / "bin" / "kubectl"
    kept = path.with_name(".kubectl")
    path.rename(kept)
    if text is not None:
        path.write_text(text)
        path.chmod(0o755)
    try:
        yield
    finally:
        kept.replace(path)


def test_no_kubectl(lab: Lab) -> None:
    tune(lab, site={"kubectl": "k8s-nowhere"})
    error = refused(lab)
    assert error.what == "there is no `k8s-nowhere`"
    assert "jump host 127.0.0.1" in error.where
    assert "site.kubectl" in error.next
    assert "not found" in error.evidence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho hello\n", "not JSON"),
        ("#!/bin/sh\necho 'no idea' >&2; exit 1\n", "kubectl failed"),
        ("#!/bin/sh\necho 'error: You must be logged in to the server (Unauthorized)' >&2; exit 1\n", "not know this"),
        (
            "#!/bin/sh\necho 'error: the server doesn'\"'\"'t have a resource type \"hardware\"' >&2; exit 1\n",
            "no Tinkerbell objects",
        ),
    ],
)
def test_a_kubectl_that_is_none(lab: Lab, text: str, words: str) -> None:
    with program(lab, text):
        assert words in refused(lab).what


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        ({("list", "hardware")}, "may not list hardware.tinkerbell.org"),
        ({("patch", "hardware")}, "may not patch hardware"),
        (
            {("create", "workflows"), ("delete", "workflows")},
            "may not create workflows.tinkerbell.org, delete workflows.tinkerbell.org",
        ),
    ],
)
def test_not_allowed(lab: Lab, denied: set[tuple[str, str]], words: str) -> None:
    assert lab.door is not None
    lab.door.faults.denied = denied
    try:
        error = refused(lab)
    finally:
        lab.door.faults.denied = set()
    assert words in error.what
    assert "fab rbac.print" in error.next


def test_the_api_server_is_away(lab: Lab) -> None:
    assert lab.door is not None
    lab.door.faults.api_down()
    try:
        error = refused(lab)
    finally:
        lab.door.faults.api_up()
    assert error.what == "kubectl does not reach the API server"
    assert "was refused" in error.evidence


def test_the_jump_host_refuses_the_key(lab: Lab) -> None:
    lab.jump.refused.add(getpass.getuser())
    try:
        error = refused(lab)
    finally:
        lab.jump.refused.clear()
    assert isinstance(error, errors.AuthError)
    assert "id_ed25519" in described(error)


@pytest.mark.parametrize("kind", ["unknown", "changed"])
def test_the_jump_hosts_key(lab: Lab, kind: str) -> None:
    path = lab.folder / "known_hosts"
    lines = path.read_text().splitlines()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    path.write_text(
        "\n".join(["# mine", *([f"[127.0.0.1]:{lab.jump.port} {other}"] * (kind == "changed")), *lines[1:]])
    )
    error = refused(lab)
    assert isinstance(error, errors.HostKeyError)
    assert {"unknown": "is not known", "changed": "has changed"}[kind] in error.what
    assert f"{path}:2" in described(error) if kind == "changed" else str(path) in described(error)
    assert "ssh-key" in error.next or "ssh " in error.next


def test_a_servers_key_is_unknown(lab: Lab) -> None:
    path = lab.folder / "known_hosts"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    error = refused(lab)
    assert isinstance(error, errors.HostKeyError)
    assert NAME in error.what
    assert str(path) in described(error)


def test_nothing_listens_at_the_jump_host(lab: Lab) -> None:
    known = yaml.safe_load(lab.inventory.read_text())
    known["site"]["jump"]["port"] = 1
    lab.inventory.write_text(yaml.safe_dump(known))
    error = refused(lab)
    assert isinstance(error, errors.ConnectError)
    assert "port 1" in described(error)


SHORT = SshTimeouts(connect=0.7)


class Quick:
    """A clock that runs `times` as fast as the computer's."""

    def __init__(self, times: float) -> None:
        self._times = times
        self._start, self._wall = time.monotonic(), datetime.now(UTC)

    def now(self) -> Instant:
        passed = (time.monotonic() - self._start) * self._times
        return Instant(self._start + passed, self._wall + timedelta(seconds=passed))

    def wait(self, seconds: float, cancel: Cancel) -> None:
        cancel.wait(max(seconds, 0.0) / self._times)


def quickly(lab: Lab, times: float) -> Any:
    """A run on a quick clock."""
    clock = Quick(times)
    with Foundry(load(lab.inventory), clock=clock, transport=SshTransport(clock, timeouts=SHORT)) as foundry:
        return foundry.provision(NAME)


def test_the_jump_host_is_silent(lab: Lab) -> None:
    lab.jump.freeze()
    try:
        report = quickly(lab, 60)
    finally:
        lab.jump.cut_links()
        lab.jump.thaw()
    assert isinstance(report.error, errors.TransportError)
    assert report.exit_code == 10
    assert "no SSH connection in time" in report.error.what
    assert f"ssh -v -p {lab.jump.port}" in report.error.next


def test_the_server_refuses_the_key(lab: Lab) -> None:
    machine = lab.machine(NAME)
    machine.refuses_keys = True
    try:
        error = refused(lab)
    finally:
        machine.refuses_keys = False
    assert isinstance(error, errors.AuthError)
    assert NAME in error.what


def test_another_machine_answers_at_the_servers_address(lab: Lab) -> None:
    known = yaml.safe_load(lab.inventory.read_text())
    known["servers"][NAME]["port"] = known["servers"].pop("anvil")["port"]
    lab.inventory.write_text(yaml.safe_dump(known))
    error = refused(lab, code=11)
    assert "00:00:5e:00:53:c0" in error.what
    assert "00:00:5e:00:53:4b" in error.what


def test_a_person_says_no(lab: Lab) -> None:
    def no(identity: object) -> None:
        raise errors.Declined("no", where="here", next="nothing was changed")

    refused(lab, code=12, confirm=no)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab that may be written to."""
    with Lab(tmp_path / "lab", "no-toggle", speed=SPEED) as lab:
        yield lab


def test_hardware_without_interfaces(own: Lab) -> None:
    own.store.create("hardware", {"metadata": {"name": "bare"}, "spec": {}})
    tune(own, server={"hardware": "bare"})
    before = version(own)
    error = refused(own)
    assert "no interface" in error.what
    assert "kubectl edit hardware.v1alpha1.tinkerbell.org/bare" in error.next
    assert version(own) == before


def test_the_server_refuses_to_reboot(own: Lab) -> None:
    own.machine(NAME).refuse_reboot()
    before = hardware(own)
    ran = provision(own)
    error = ran.json["error"]
    assert (ran.json["exit_code"], ran.json["phases"][-1]["title"]) == (30, "Boot")
    assert "refused to reboot (exit status 1)" in error["what"]
    assert "reboot is refused" in error["evidence"]
    assert "--no-reboot" in error["next"]
    assert ran.json["netboot"]["closed"]
    after = hardware(own)
    assert after["spec"] == before["spec"]
    assert set(after["metadata"]["annotations"]) == {OLD_SYSTEMS, HISTORY}
    assert own.store.list("workflows") == []


def test_no_room_for_the_guard_on_the_jump_host(own: Lab) -> None:
    (own.folder / "home" / ".local").write_text("a file where a folder belongs")
    ran = provision(own)
    assert (ran.json["exit_code"], ran.json["phases"][-1]["title"]) == (30, "Apply")
    assert "no guard acknowledges this claim" in ran.json["error"]["what"]
    assert "cannot make" in ran.json["error"]["evidence"]
    assert ran.json["netboot"]["closed"]
    assert set(hardware(own)["metadata"]["annotations"]) == {OLD_SYSTEMS, HISTORY}
    assert own.store.list("workflows") == []
    assert len(own.machine(NAME).boots) == 1


def test_a_machine_that_is_silent_and_does_not_idle_in_the_installer(own: Lab) -> None:
    machine = own.machine(NAME)
    machine.scenario = machine.scenario.__class__("dead", "", firmware=type(machine.scenario.firmware).DEAD)
    machine.reboot()
    assert machine.wait(lambda: machine.state == "dead")
    report = quickly(own, 10)
    assert report.exit_code == 30
    assert "does not answer SSH and does not idle in HookOS" in report.error.what
    assert "--no-reboot" in report.error.next
    assert report.closed
    assert set(hardware(own)["metadata"]["annotations"]) == {HISTORY}
    assert own.store.list("workflows") == []
