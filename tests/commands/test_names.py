"""Names and addresses from objects, annotations and files: what is none never becomes a word of a command."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalfoundry.commands import log_commands
from metalfoundry.commands.claims import RUN, WINDOW, ClaimSeen, WindowNote, claim_of
from metalfoundry.commands.kubectl import HARDWARE, WORKFLOWS, Kubectl
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.names import is_address, is_object_name
from metalfoundry.model.resources import Hardware
from metalfoundry.site.held import claimed

KUBECTL = Kubectl(("kubectl",), "tink-system")
OPTIONS = ["--kubeconfig=/x", "-f", "a --all", "a,metadata.namespace=b", "a/b", "$(id)", "a\n--all", "", "a" * 254]
NAMES = ["anvil", "colo-server-01", "a.b-c", "0"]
ODD = ["-oProxyCommand=id", "a b", "a;id", "$(id)", "`id`", "a\nb", "", "'x'", "a|b", "user@host", "a" * 254]
ADDRESSES = ["10.0.0.9", "fe80::1%eth0", "2001:db8::1", "host-1.example.org", "my_alias", "::1"]


@pytest.mark.parametrize("name", OPTIONS)
def test_what_no_object_can_be_called_makes_no_command(name: str) -> None:
    assert not is_object_name(name)
    for make in (
        lambda: KUBECTL.get(WORKFLOWS, name),
        lambda: KUBECTL.patch(name, []),
        lambda: KUBECTL.delete_workflow(name),
        lambda: KUBECTL.watch(HARDWARE, name or "-"),
    ):
        with pytest.raises(PreflightError, match="is not a valid object name"):
            make()


@pytest.mark.parametrize("name", NAMES)
def test_one_object_is_one_word_with_its_type(name: str) -> None:
    assert f"{WORKFLOWS}/{name}" in KUBECTL.get(WORKFLOWS, name).argv
    assert f"{HARDWARE}/{name}" in KUBECTL.patch(name, []).argv
    assert f"{WORKFLOWS}/{name}" in KUBECTL.delete_workflow(name).argv
    assert f"metadata.name={name}" in KUBECTL.watch(WORKFLOWS, name).argv
    assert f"pods/{name}" in log_commands.follow_pod(KUBECTL, "tink", name, 1).argv


@settings(deadline=None)
@given(st.text() | st.from_regex(r"-{1,2}[a-z]+(=\S*)?", fullmatch=True))
def test_a_note_names_a_workflow_or_none(text: str) -> None:
    note = WindowNote.from_annotations({WINDOW: json.dumps({"workflow": text})})
    assert note.workflow == (text if is_object_name(text) else "")


@pytest.mark.parametrize(("text", "taken"), [*((odd, False) for odd in ODD), *((good, True) for good in ADDRESSES)])
def test_a_hardwares_address_is_one_or_is_none(text: str, taken: bool) -> None:
    hardware = Hardware.of({"spec": {"interfaces": [{"dhcp": {"ip": {"address": text}}}]}})
    assert hardware.address == (text if taken else None)
    assert is_address(text) is taken


def test_a_run_id_to_paste_is_one_word() -> None:
    run = "x; reboot"
    hardware = Hardware.of({"metadata": {"name": "anvil", "annotations": {RUN: run, WINDOW: "{}"}}})
    seen = claim_of(hardware)
    assert seen == ClaimSeen(run, WindowNote.from_annotations({WINDOW: "{}"}))
    command = claimed("anvil", seen, own=False).next.partition("or: ")[2]
    assert shlex.split(command) == ["fab", "netboot.break", "anvil", "--run", run]
