from __future__ import annotations

from datetime import UTC, datetime

from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.commands.log_commands import follow_pod, hook_agent_log, merged, read_pod_line, read_pods
from metalfoundry.commands.log_parser import read_line
from metalfoundry.commands.ssh import words
from metalfoundry.model.hosts import Host

AT = "2026-11-23T01:00:0{}.000000000Z"


def test_the_missions_own_command() -> None:
    command = hook_agent_log()
    assert command.line == "nerdctl -n services.linuxkit exec hook-docker docker logs tink-worker --tail=50"
    assert command.effect is Effect.READ


def test_a_pod_is_followed_without_a_terminal() -> None:
    command = follow_pod(Kubectl(("sudo", "k3s", "kubectl"), "tink"), "other", "smee-1", 61.7)
    assert command.line == (
        "sudo k3s kubectl logs pods/smee-1 -f --all-containers --prefix --timestamps --since=61s -n other"
    )


def test_the_source_is_what_a_line_says_else_its_pod() -> None:
    text = "\n".join(
        [
            f'[pod/tinkerbell-0/tinkerbell] {AT.format(1)} {{"msg":"x","logger":"tink-controller"}}',
            f"[pod/tink-server-1/server] {AT.format(2)} plain words",
            f"[pod/hookos-1/nginx] {AT.format(3)} GET /vmlinuz",
            f"[pod/smee-1/smee] {AT.format(4)} plain words",
            "",
            f"[pod/smee-1/smee] {AT.format(5)} ",
        ]
    )
    lines = read_pods(text)
    assert [line.source for line in lines] == ["controller", "server", "web", "smee"]
    assert lines[0].time == datetime(2026, 11, 23, 1, 0, 1, tzinfo=UTC)
    assert read_pod_line("") is None


def test_lines_are_merged_by_time_and_one_without_stays_behind_its_own() -> None:
    first = [
        read_line("agent", f"{AT.format(1)} a"),
        read_line("agent", "torn"),
        read_line("agent", f"{AT.format(4)} d"),
    ]
    second = [read_line("smee", f"{AT.format(2)} b"), read_line("smee", f"{AT.format(3)} c")]
    assert [line.text for line in merged([first, second])] == ["a", "torn", "b", "c", "d"]


def test_ssh_as_a_person_types_it() -> None:
    jump = Host("jump", "192.0.2.103", "ubuntu")
    assert words(Host("anvil", "10.0.0.9", "root", via=jump)) == ("ssh", "-J", "ubuntu@192.0.2.103", "root@10.0.0.9")
    own = Host("jump", "192.0.2.103", "ubuntu", port=2222, identity="/k", known_hosts="/kh")
    found = words(Host("anvil", "10.0.0.9", "root", via=own), any_key=True)
    assert "ProxyCommand=ssh -i /k -o UserKnownHostsFile=/kh -p 2222 -W %h:%p ubuntu@192.0.2.103" in found
    assert "UserKnownHostsFile=/dev/null" in found
    assert found[-1] == "root@10.0.0.9"
