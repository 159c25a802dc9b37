"""What leaves the house in a bundle: secrets are planted, and must be gone; what a diagnosis needs must stay."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings

from metalfoundry.commands.log_commands import without_secrets
from metalfoundry.commands.log_parser import LogLine
from metalfoundry.model import redact
from metalfoundry.model.secret_forms import BASE64, FORMS, PAIR, USERS
from tests.diagnosis.planted import CORPUS, TOKEN, Planted, any_planted, holders, left, planted
from tests.diagnosis.steps import Matcher

ALL_FORMS = (*FORMS, USERS, PAIR, BASE64)
HASH = "$6$rounds=4096$saltsalt$kGv0Wm5tPZ9d8u1m7xTt1YdZbB1kR0lE3zY1Jf2oX9cVh1nQe7uWq1"

HOSTILE = (
    "a", "A1", " ", "\n", "\\", "\\n", '"', '\\"', "'", "a:b ", "a-b.", "/", "x://a:", "password", 'password="',
    'password=\\"', "password: ", "password: |\n ", "--password ", "--token-", "psk ", "chpasswd ", "chpasswd a:b",
    "login -p", "sshpass ", "echo a|", "eyJ-", "eyJaaaaaaaa.", "-----BEGIN ", "-----BEGIN A PRIVATE KEY-----",
    "name: password ", "set -x password ", "machine a login b password ", "cookie: [", "bearer ", "curl -u a:",
    "AAAA" * 20 + "\n", "AAAA" * 20 + "\\n",
)  # fmt: skip
NEEDED = [
    "worker_id=00:00:5e:00:53:4b grpc_authority=10.77.0.2:42113",
    '{"time":"2026-11-23T01:20:00.956687093Z","msg":"does not allow it to pxe","client":"AABeAFNL","error":null}',
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfR kevin@laptop",
    "IMG_URL=http://10.77.0.1/noble.raw.gz DEST_DISK=/dev/sda",
    "pull access denied for missing/image, repository does not exist or may require 'docker login'",
    "authSecretRef: {name: bmc-anvil, namespace: tink-system}",
    "boot id 6f1c0a52-0a0b-4d0c-9a51-7d3c1e7a7b11, machine id 0f3c9e7b",
    "password: ''",
    "lock_passwd: false",
]


@pytest.mark.parametrize("form", sorted(CORPUS))
def test_no_form_of_a_secret_is_left_whatever_holds_it(form: str) -> None:
    for secret in ("hunter2Zq9", "hun,t;e&r|2}Z]q9", "hunter 2 Zq9"):
        may = "" if isinstance(CORPUS[form], str) else CORPUS[form]["may"]
        there = planted(form, "".join(character for character in secret if character in TOKEN + may))
        assert all(word in there.text for word in there.words)
        for holder, text in holders(there.text).items():
            shown = redact.text(text)
            assert not left(shown, there.words), holder
            assert "[hidden]" in shown
            assert redact.text(shown) == shown, holder


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(any_planted)
def test_no_secret_leaves_as_text_or_as_data(there: Planted) -> None:
    for holder, text in holders(there.text).items():
        assert not left(redact.text(text), there.words), holder
    shown = json.dumps(redact.data({"spec": {"list": [{"text": there.text}], "lines": there.text.split("\n")}}))
    assert not left(shown.partition('"lines"')[0], there.words)


@pytest.mark.parametrize("line", NEEDED)
def test_what_a_diagnosis_needs_stays(line: str) -> None:
    assert redact.text(line) == line


def test_json_is_looked_through_by_names_and_by_shape() -> None:
    value = {
        "spec": {
            "userData": f"#cloud-config\nusers:\n- name: ubuntu\n  passwd: {HASH}\n",
            "connection": {"host": "10.0.0.9", "password": "hunter2", "authSecretRef": {"name": "bmc"}},
            "env": [{"name": "REGISTRY_PASSWORD", "value": "hunter2"}, {"name": "DEST_DISK", "value": "/dev/sda"}],
            "nested": {"apiToken": {"value": "hunter2"}},
            "flag": {"password": None, "token": True},
        },
    }
    shown = redact.data(value)
    text = json.dumps(shown)
    assert "hunter2" not in text and "saltsalt" not in text
    assert shown["spec"]["connection"]["host"] == "10.0.0.9"
    assert shown["spec"]["connection"]["authSecretRef"] == {"name": "bmc"}
    assert shown["spec"]["env"][1]["value"] == "/dev/sda"
    assert shown["spec"]["flag"] == {"password": None, "token": True}
    assert "name: ubuntu" in shown["spec"]["userData"]


def test_the_counting_matcher_finds_what_re_finds() -> None:
    for form in sorted(CORPUS):
        text = planted(form, "hunter2Zq9").text[:300]
        for looked_for in _possible(text):
            spans = [found.span() for found in looked_for.finditer(text)]
            assert Matcher(looked_for).search_all(text) == spans, (form, looked_for.pattern)


@pytest.mark.parametrize("piece", HOSTILE)
def test_twice_the_text_costs_twice_the_steps(piece: str) -> None:
    text = piece * (400 // len(piece) + 1)
    for looked_for in _possible(text):
        short, double = _steps(looked_for, text), _steps(looked_for, text + text)
        assert double < 2.6 * short + 1000, looked_for.pattern


def test_the_count_shows_a_pattern_that_costs_more_than_that() -> None:
    looked_for = re.compile(r"^\s*x", re.MULTILINE)
    assert _steps(looked_for, "\n" * 400) > 3.5 * _steps(looked_for, "\n" * 200)


def _possible(text: str) -> list[re.Pattern[str]]:
    low = text.lower()
    return [form.pattern for form in ALL_FORMS if any(word in low for word in form.needs)]


def _steps(looked_for: re.Pattern[str], text: str) -> int:
    matcher = Matcher(looked_for)
    matcher.search_all(text)
    return matcher.steps


def test_a_long_text_is_read_to_its_end() -> None:
    for piece in ("a-b.", "token-", "password", "\n", " ", "chpasswd ", "eyJaaaaaaaa-", 'password=\\"', "login -p "):
        assert redact.text(piece * 20_000).strip() or piece.isspace()


def test_a_secret_over_several_lines_of_a_log_is_hidden_line_by_line() -> None:
    body = ["b3BlbnNzaC1rZXktdjEAAAAA", "AAAB"]
    texts = ["begin", "-----BEGIN OPENSSH PRIVATE KEY-----", *body, "-----END OPENSSH PRIVATE KEY-----", "password: |",
             "  hunter2Zq9", "done: yes"]  # fmt: skip
    lines = [LogLine(None, source, text, raw=f"x {text}") for text in texts for source in ("agent", "smee")]
    shown = [line for line in without_secrets(lines) if line]
    assert len(shown) == len(lines)
    for word in (*body, "hunter2Zq9"):
        assert not any(word in line.text or word in line.raw for line in shown)
    assert [line.text for line in shown[-2:]] == ["done: yes"] * 2
    assert shown[0].text == "begin"


def test_the_words_of_a_command_and_what_a_secret_of_kubernetes_holds_go() -> None:
    assert redact.data(["mount", "--password", "hunter2Zq9", "-o", "rw"]) == [
        "mount", "--password", "[hidden]", "-o", "rw"
    ]  # fmt: skip
    assert redact.data({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}, "type": "Opaque"})["data"] == "[hidden]"


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    assert redact.data({"line": "it said s3same"}, ["s3same"]) == {"line": "it said [hidden]"}
