"""The history on the Hardware: bounded as it is written, and read whatever stands there."""

from __future__ import annotations

import json
from typing import Any

import asyncssh
import pytest

from metalfoundry.commands import claims, netboot
from metalfoundry.commands.claims import WindowNote
from metalfoundry.commands.happenings import MOST_LETTERS, Happening, event, happening
from metalfoundry.commands.history import HISTORY, MOST_BYTES, MOST_RUNS, HistoryEntry, past_runs, with_run
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.commands.published_keys import HOST_KEYS, publication, published_keys
from metalfoundry.model.host_keys import read_key, read_pin
from metalfoundry.model.resources import Hardware
from metalfoundry.transport.clock import FakeClock

NOTE = WindowNote("kevin@laptop", "new disk", "2026-01-02T03:04:05Z", "2026-01-02T03:14:05Z")


def public_line(algorithm: str) -> str:
    return asyncssh.generate_private_key(algorithm).export_public_key().decode().strip()


def hardware(**annotations: str) -> Hardware:
    keys = {f"metalfoundry.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return Hardware.of(
        {
            "metadata": {"name": "anvil", "annotations": keys},
            "spec": {"interfaces": [{"netboot": {"allowPXE": True}}]},
        }
    )


def grown(runs: int, **words: Any) -> Hardware:
    seen = hardware()
    for number in range(runs):
        seen = hardware(history=with_run(seen, HistoryEntry(f"run-{number}", **words)))
    return seen


def test_the_last_ten_are_kept_the_last_one_first() -> None:
    told = past_runs(grown(13, who="kevin@laptop", verdict="provisioned", exit_code=0))
    assert [run.run for run in told] == [f"run-{number}" for number in range(12, 2, -1)]
    assert len(told) == MOST_RUNS and told[0].exit_code == 0


@pytest.mark.parametrize("word", ("x" * 5000, "ä" * 5000, "\U0001f600" * 5000, "\x1b[31m\n" * 1000))
def test_whatever_a_cause_holds_it_stays_within_its_bytes_and_on_one_line(word: str) -> None:
    seen = grown(12, who=word, reason=word, cause=word, verdict="failed", exit_code=31)
    assert len(seen.annotations[HISTORY].encode()) <= MOST_BYTES
    told = past_runs(seen)
    assert told and told[0].run == "run-11"
    assert all(character not in told[0].cause for character in "\x1b\n")


def test_a_run_that_is_told_twice_stands_once() -> None:
    seen = hardware(history=with_run(grown(2), HistoryEntry("run-0", verdict="failed")))
    assert [(run.run, run.verdict) for run in past_runs(seen)] == [("run-0", "failed"), ("run-1", "")]


def test_no_secret_gets_in() -> None:
    (run,) = past_runs(grown(1, cause="curl failed: password=hunter2-hunter2"))
    assert "hunter2" not in run.cause


@pytest.mark.parametrize(
    "text",
    (
        "", "{", "7", "null", "[[]]", '{"run": "r"}', '[{"run": 7}, null, {"who": "x"}]', "[" * 9999, '["r"]',
        '[{"run": ""}]',
    ),
)  # fmt: skip
def test_what_cannot_be_read_is_passed_over(text: str) -> None:
    assert past_runs(hardware(history=text)) == ()
    assert [run.run for run in past_runs(hardware(history=with_run(hardware(history=text), HistoryEntry("r"))))] == [
        "r"
    ]


def test_odd_fields_are_left_out_and_their_run_is_not() -> None:
    text = json.dumps([{"run": "r", "who": ["x"], "exit_code": "1e999", "cause": None, "more": 1, "verdict": "failed"}])
    assert past_runs(hardware(history=text)) == (HistoryEntry("r", verdict="failed"),)


def test_who_breaks_a_claim_ends_its_run_in_the_history() -> None:
    seen = hardware(run="run-1", window=NOTE.to_json())
    when = FakeClock().now().wall
    told = happening(netboot.break_(seen, "run-1", NOTE, "eve@desk", "wrong image", when), "eve@desk")
    assert told == Happening(
        "ClaimBroken", "the run run-1 of kevin@laptop ended as broken: by eve@desk: wrong image", warning=True
    )
    by_hand = WindowNote("kevin", "", "", "", phase=claims.BY_HAND)
    assert happening(netboot.break_(seen, "run-1", by_hand, "eve", "", when), "eve") == Happening(
        "Released", "given back by eve after the run run-1, with netboot closed"
    )


def test_each_patch_tells_what_it_does_and_no_more() -> None:
    who, seen = "kevin@laptop", hardware(run="run-1", window=NOTE.to_json())
    claim = happening(netboot.claim(hardware(), "run-1", NOTE), who)
    assert claim == Happening("Claimed", "claimed by kevin@laptop for the run run-1: new disk")
    opened = happening(netboot.open_(seen, "run-1", None, NOTE), who)
    assert opened is not None and opened.reason == "NetbootOpened" and NOTE.expires in opened.message
    closed = happening(netboot.close(seen, "run-1"), who)
    assert closed == Happening("NetbootClosed", "netboot closed by kevin@laptop for the run run-1")
    assert happening(netboot.close(hardware(), None), who) == Happening(
        "NetbootClosed", "netboot closed by kevin@laptop"
    )
    assert happening(netboot.rewrite("run-1", NOTE), who) is None
    assert happening([], who) is None
    good = {HISTORY: with_run(seen, HistoryEntry("run-1", who, verdict="provisioned", exit_code=0)), HOST_KEYS: None}
    ended = happening(netboot.release(seen, "run-1", NOTE, True, good), who)
    assert ended == Happening("Provisioned", "the run run-1 of kevin@laptop ended as provisioned")


def test_an_event_is_one_that_the_api_server_takes() -> None:
    kubectl = Kubectl(("kubectl",), "tink-system")
    part = event(kubectl, "anvil." + "x" * 240, "u-1", Happening("R", "ä" * 3000), FakeClock().now().wall)
    made = json.loads(part.stdin)
    assert len(made["metadata"]["name"]) <= 253
    assert len(made["message"].encode()) <= MOST_LETTERS + 3
    assert made["involvedObject"]["uid"] == "u-1"
    assert made["involvedObject"]["namespace"] == made["metadata"]["namespace"] == "tink-system"
    assert part.after == "patch" and any("--request-timeout" in str(word) for word in part.argv)


def test_published_keys_are_read_back_and_what_is_none_is_passed_over() -> None:
    lines = map(public_line, ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"))
    keys = tuple(key for key in map(read_key, lines) if key)
    assert len(keys) == 3
    assert published_keys(hardware(host_keys=publication(keys))) == keys
    (ed25519, _, rsa) = keys
    good, other = f"{ed25519.type} {ed25519.base64}", rsa.base64
    odd = ["# x", "", "ssh-ed25519 AAAA", f"ssh-ed25519 {other}", f"* {good}", f"ssh-dss {other}", f"@revoked {good}"]
    odd += [f"{good} a comment \x1b[31m", "ssh-rsa ====", good[:-8]]
    assert published_keys(hardware(host_keys="\n".join(odd))) == (ed25519,)
    assert published_keys(hardware(host_keys=f"{publication(keys)}\n" * 99)) == ()
    assert published_keys(hardware()) == published_keys(None) == ()


def test_a_pin_is_a_whole_key_or_its_fingerprint() -> None:
    line = public_line("ssh-ed25519")
    key = read_key(line)
    assert key is not None
    assert read_pin(f" {line} kevin@laptop") == f"{key.type} {key.base64}"
    assert read_pin(f"{key.fingerprint}=") == key.fingerprint
    for odd in ("", "yes", "ssh-ed25519", "SHA256:short", "MD5:00", f"{key.type} {key.base64[:-8]}", key.base64):
        assert read_pin(odd) is None
