"""Facts, their helpers, and the readers beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from metalfoundry.commands.kubernetes import (
    BmcJob,
    Container,
    Deployment,
    Flux,
    KubernetesEvent,
    Version,
    read_containers,
)
from metalfoundry.commands.log_parser import ACTION, AGENT, CONSOLE, CONTROLLER, SERVER, SMEE, read_line, read_log
from metalfoundry.diagnosis.facts import NotSeen, Seen, about, absent, seen
from metalfoundry.diagnosis.findings import Range
from metalfoundry.diagnosis.summary import summarize
from tests.diagnosis.cases import MAC, facts


@pytest.mark.parametrize(
    ("line", "source", "text"),
    [
        ('{"level":"info","ts":1795399190.5,"msg":"x","error":"y"}', AGENT, "x: y"),
        ('{"time":"2026-11-23T01:59:50.5Z","logger":"tink-server","msg":"x","agent":"a"}', SERVER, "x agent=a"),
        ('{"time":"2026-11-23T01:59:50.5Z","logger":"tink-controller/x","msg":"x"}', CONTROLLER, "x"),
        ("2026-11-23T01:59:50.5Z plain words", AGENT, "plain words"),
        ("2026-11-23T01:59:50.500000000Z E1123 01:59:50.500000       1 reflector.go:200] bad", AGENT, "bad"),
        ('time="2026-11-23T01:59:50.5Z" level=error msg="a \\"b\\""', AGENT, 'a "b"'),
        ("<30>1 2026-11-23T01:59:50.5Z 10.77.0.11 tinkerbell_x 1 - - hello", ACTION, "tinkerbell_x: hello"),
        ("<30>1 2026-11-23T01:59:50.5Z 10.77.0.11 ipxe 1 - - Failed to load kernel", CONSOLE, "Failed to load kernel"),
    ],
)
def test_a_line_of_each_kind(line: str, source: str, text: str) -> None:
    found = read_line(AGENT, line)
    assert (found.source, found.text) == (source, text)
    assert found.time == datetime(2026, 11, 23, 1, 59, 50, 500000, tzinfo=UTC)
    assert found.raw == line


@pytest.mark.parametrize(
    "line", ["{broken", "[1]", "{}", '{"time":"x","msg":null}', "<30>", "\x00\x07", '{"ts":1e400}']
)
def test_no_line_breaks_the_reader(line: str) -> None:
    assert read_line(SMEE, line).time is None


def test_the_agents_own_json_inside_smees_syslog_is_the_agents() -> None:
    inner = json.dumps(
        {"time": "2026-11-23T01:59:00Z", "msg": "received action", "action": {"name": "stream", "id": "i"}}
    )
    entry = {"app-name": "tink-worker", "host": "10.77.0.11", "msg": inner}
    line = read_line(SMEE, json.dumps({"time": "2026-11-23T01:59:01Z", "logger": "smee", "logEntry": entry}))
    assert (line.source, line.host, line.get("action", "id")) == (AGENT, "10.77.0.11", "i")


def test_smees_two_ways_to_name_a_machine() -> None:
    denial = read_line(SMEE, '{"logger":"smee","msg":"x does not allow it to pxe","client":"AABeAFNL"}')
    answer = read_line(
        SMEE, '{"logger":"smee","msg":"response","uri":"/00:00:5E:00:53:4B/auto.ipxe","client":"10.0.0.1","status":200}'
    )
    assert denial.host == answer.host == MAC


def test_about_takes_whole_names_only() -> None:
    lines = read_log(SMEE, "from 10.77.0.11\nfrom 10.77.0.1\nname=colo-server-01-b\nname=colo-server-01\n")
    assert [line.text for line in about(lines, ["10.77.0.1", "colo-server-01"])] == [
        "from 10.77.0.1",
        "name=colo-server-01",
    ]


def test_absent_is_not_unseen() -> None:
    assert absent(Seen(None)) and not absent(NotSeen("no"))
    assert not absent(facts({}).hardware)
    assert seen(NotSeen("no")) is None
    assert facts({"unseen": ["smee"]}).unseen()["smee"] == "knocked out"


def test_versions_from_images() -> None:
    assert Version.of("ghcr.io/tinkerbell/tinkerbell:v0.21.1-f2610bdd") == Version((0, 21, 1), "f2610bdd")
    assert Version.of("localhost:5000/tink-server:v0.12.2") == Version((0, 12, 2))
    assert Version.of("quay.io/tinkerbell/tink-server:sha-1a2b3c") is None
    assert Version.of("tinkerbell@sha256:abc") is None
    assert str(Version((0, 21, 1), "f2610bdd")) == "v0.21.1-f2610bdd"


def test_a_range_narrows_only_by_a_version_that_was_seen() -> None:
    until = Range(since=(0, 19, 0), before=(0, 22, 0))
    assert until.has(None) and until.has(Version((0, 21, 9))) and not until.has(Version((0, 22, 0)))
    assert not until.has(Version((0, 18, 9)))
    assert Range(since=(0, 22, 0)).has(Version((0, 21, 1), "f2610bdd"))
    assert str(until) == "from v0.19.0, before v0.22.0"


def test_readers_of_objects() -> None:
    spec = {"replicas": 2, "template": {"spec": {"containers": [{"image": "ghcr.io/tinkerbell/tinkerbell:v0.21.0"}]}}}
    one = Deployment.of({"metadata": {"name": "tinkerbell"}, "spec": spec, "status": {"readyReplicas": 1}})
    assert (one.ready, one.wanted, one.is_controller, one.is_tinkerbell) == (1, 2, True, True)
    held = [{"type": "Running", "status": "True"}, {"type": "Failed", "status": "True", "message": "why"}]
    job = BmcJob.of({"kind": "Task", "metadata": {"name": "t"}, "status": {"conditions": held}})
    assert (job.state, job.message) == ("Failed", "why")
    event = KubernetesEvent.of({"reason": "R", "message": "m", "involvedObject": {"kind": "Workflow", "name": "w"}})
    assert (event.reason, event.about) == ("R", "Workflow/w")
    assert Flux.of({"metadata": {"name": "k"}, "spec": {"suspend": True}}).suspended
    assert Deployment.of({}).name == KubernetesEvent.of({}).reason == BmcJob.of({}).state == Flux.of({}).name == ""


def test_containers_as_docker_lists_them() -> None:
    listing = "tink-worker\tExited (1) 2 minutes ago\ttink-agent\nx\tUp 3 minutes\ty\n\nodd line\n"
    assert read_containers(listing) == (
        Container("tink-worker", "Exited (1) 2 minutes ago", "tink-agent"),
        Container("x", "Up 3 minutes", "y"),
    )
    assert [item.running for item in read_containers(listing)] == [False, True]


def test_the_two_witnesses() -> None:
    done = {"state": "SUCCESS", "actions": [["stream-image", "SUCCESS", {"ended": 900}]]}
    both = summarize(facts({"workflow": done, "machine": {"system": "new", "uptime": 800}, "before": "old"}))
    assert both.tinkerbell == "Tinkerbell says that colo-server-01-ubuntu succeeded. Netboot is closed."
    assert both.machine == "The machine says that it is Ubuntu 24.04.1 LTS, up for 800 s, the new system."
    assert both.agree is True
    liar = summarize(
        facts({"workflow": done, "machine": {"system": "old", "uptime": 800, "boot_id": "b"}, "before": "old"})
    )
    assert liar.agree is False and "the very system of before" in liar.machine
    silent = summarize(facts({"workflow": done}))
    assert silent.agree is None and silent.machine == "The machine does not answer."
    again = summarize(facts({"workflow": done, "machine": {"system": "hook", "uptime": 100}}))
    assert again.agree is False
    running = {"state": "RUNNING", "actions": [["stream-image", "RUNNING"], ["x", "PENDING"]]}
    assert summarize(facts({"workflow": running, "machine": "hook"})).agree is True
    assert "is running at 'stream-image' (0 of 2 actions done)" in summarize(facts({"workflow": running})).tinkerbell
    blind = summarize(facts({"unseen": ["workflow"]}))
    assert blind.tinkerbell == "Tinkerbell could not be asked: knocked out."


def test_the_boot_action_is_the_rendered_one() -> None:
    world = facts({"workflow": {"actions": [["stream-image", "PENDING"]]}})
    assert world.boot_action is None
    rebooting = replace(world.configured, boot_action="reboot")
    assert replace(world, configured=rebooting).boot_action == "reboot"
