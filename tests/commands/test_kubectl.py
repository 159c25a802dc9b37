from __future__ import annotations

import json

import pytest

from metalfoundry.commands import kubectl as said
from metalfoundry.commands.command import Command, Effect, Raw
from metalfoundry.commands.kubectl import Kubectl, Refusal, read_event, read_list, refusal
from metalfoundry.commands.script import Outcome
from metalfoundry.model.redact import HIDDEN

K3S = Kubectl(("sudo", "k3s", "kubectl"), "tink-system")
HARDWARE = "hardware.v1alpha1.tinkerbell.org"
WORKFLOWS = "workflows.v1alpha1.tinkerbell.org"
START = ("sudo", "k3s", "kubectl")
END = ("-n", "tink-system")


def test_what_is_said() -> None:
    kinds = f"{HARDWARE},templates.v1alpha1.tinkerbell.org,{WORKFLOWS}"
    assert K3S.survey().argv == (*START, "get", kinds, "-o", "json", *END)
    assert K3S.get(said.HARDWARE, "anvil").argv == (
        *START, "get", f"{HARDWARE}/anvil", "-o", "json", "--ignore-not-found", *END,
    )  # fmt: skip
    patch = K3S.patch("anvil", [{"op": "test", "path": "/a", "value": None}])
    assert patch.argv == (
        *START, "patch", f"{HARDWARE}/anvil", "--type=json", "--patch-file=/dev/stdin",
        "--field-manager=metalfoundry", "-o", "name", *END,
    )  # fmt: skip
    assert json.loads(patch.stdin) == [{"op": "test", "path": "/a", "value": None}]
    applied = K3S.apply("kind: Workflow\n")
    assert applied.argv == (*START, "apply", "-f", "-", "--field-manager=metalfoundry", "-o", "name", *END)
    assert applied.stdin == "kind: Workflow\n"
    assert K3S.delete_workflow("old").argv == (
        *START, "delete", f"{WORKFLOWS}/old", "--ignore-not-found", "--wait=false", *END,
    )  # fmt: skip
    watch = K3S.watch(said.WORKFLOWS, "new")
    assert watch.effect is Effect.READ
    assert watch.argv == (
        *START, "get", WORKFLOWS, "--field-selector", "metadata.name=new", "-w", "--output-watch-events",
        "-o", "json", *END,
    )  # fmt: skip


def test_rights_are_asked_by_one_review_on_stdin() -> None:
    part = K3S.rights()
    assert part.argv == (*START, "create", "-f", "-", "-o", "json", "--validate=false")
    review = json.loads(part.stdin)
    assert (review["kind"], review["spec"]) == ("SelfSubjectRulesReview", {"namespace": "tink-system"})


def test_reads_in_one_script_are_a_read() -> None:
    command = said.read_only(K3S.survey(), K3S.rights())
    assert (command.argv, command.effect) == (("sh", "-s"), Effect.READ)


def test_a_command_is_quoted_once_and_hides_its_secrets() -> None:
    command = Command(("echo", "a b", Raw("$HOME"), "it's"), stdin="the token\n", secrets=("token",))
    assert command.line == "echo 'a b' $HOME 'it'\"'\"'s'"
    assert command.shown == f"{command.line} <<'EOF'\nthe {HIDDEN}\nEOF"
    with pytest.raises(ValueError, match="stdin"):
        Command(("login", "--token=abc"), secrets=("abc",))


REFUSALS = [
    (127, "sh: 1: kubectl: not found", Refusal.NO_KUBECTL),
    (126, "sh: 1: kubectl: Permission denied", Refusal.NO_KUBECTL),
    (
        1,
        'Error from server (Forbidden): hardware.tinkerbell.org is forbidden: User "lab" cannot list resource '
        '"hardware" in API group "tinkerbell.org" in the namespace "tink-system"',
        Refusal.FORBIDDEN,
    ),
    (1, "error: You must be logged in to the server (Unauthorized)", Refusal.UNAUTHORIZED),
    (
        1,
        "Unable to connect to the server: x509: certificate has expired or is not yet valid: current time",
        Refusal.UNAUTHORIZED,
    ),
    (1, 'error: the server doesn\'t have a resource type "hardware"', Refusal.NO_CRD),
    (1, "Error from server (NotFound): the server could not find the requested resource", Refusal.NO_CRD),
    (1, 'Error from server (NotFound): hardware.tinkerbell.org "x" not found', Refusal.NOT_FOUND),
    (
        1,
        "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?",
        Refusal.API_AWAY,
    ),
    (1, "Unable to connect to the server: dial tcp 10.0.0.9:6443: i/o timeout", Refusal.API_AWAY),
    (1, "Unable to connect to the server: net/http: TLS handshake timeout", Refusal.API_AWAY),
    (1, "Error from server (InternalError): what nobody foresaw", Refusal.OTHER),
    (1, "", Refusal.OTHER),
]


@pytest.mark.parametrize(("status", "stderr", "wanted"), REFUSALS)
def test_a_failure_is_sorted(status: int, stderr: str, wanted: Refusal) -> None:
    assert refusal(status, stderr) is wanted


def test_lists_single_objects_and_nothing_are_read() -> None:
    assert read_list(Outcome(0, '{"items": [{"a": 1}, {"a": 2}], "kind": "List"}', "")) == [{"a": 1}, {"a": 2}]
    assert read_list(Outcome(0, '{"kind": "Hardware"}\n', "")) == [{"kind": "Hardware"}]
    assert read_list(Outcome(0, "\n", "")) == []
    with pytest.raises(ValueError):
        read_list(Outcome(0, "No resources found", ""))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('{"type":"DELETED","object":{"kind":"Workflow"}}', ("DELETED", {"kind": "Workflow"})),
        ('{"type":"ADDED","object":{}}', ("ADDED", {})),
        ('{"type":"ADDED"}', None),
        ('{"type":"ADDED","object":[]}', None),
        ("[]", None),
        ("Unable to connect to the server: EOF", None),
        ('{"type":"ADDED","obj', None),
        ("", None),
    ],
)
def test_a_watch_line_is_an_event_or_nothing(line: str, wanted: object) -> None:
    assert read_event(line) == wanted
