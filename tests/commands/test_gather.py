"""gather.sh and installer_probe.sh in real shells: what is asked, what a refusal costs, where they look further."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from metalfoundry.commands import gather
from metalfoundry.commands.command import Effect
from metalfoundry.commands.gather import Wanted
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.commands.kubernetes import Container, MachineProbe
from metalfoundry.commands.log_commands import AGENT_LOG
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.script import Outcome, read_script
from metalfoundry.model.inventory import VerifyConfig
from tests.commands.shells import run

SHELLS = ("dash", "busybox", "bash")
MAC = "00:00:5e:00:53:4b"
DENIED = '{"msg":"the hardware data for this machine, or lack there of, does not allow it to pxe","client":"AABeAFNL"}'
# A kubectl of few words: it answers by what stands in its line, and writes that line down.
KUBECTL = r"""#!/bin/sh
printf '%s\n' "$*" >>"$SAID"
case "$*" in
*" logs "*tinkerbell-0*) cat "$LOG"; exit 0 ;;
*" logs "*) echo 'Error from server (Forbidden): pods "x" is forbidden: User "u" cannot get resource "pods/log"' >&2
  exit 1 ;;
*"hardware.v1alpha1.tinkerbell.org/anvil"*) printf 'flux-system\n%s 10.0.0.9 ' "@MAC@" ;;
*"workflows.v1alpha1.tinkerbell.org/anvil-ubuntu"*) printf anvil ;;
*"hardware.v1alpha1"*) echo '{"kind": "List", "items": []}' ;;
*"pods.v1. -n tink"*) printf '%s\n' "$ITS_PODS" ;;
*"pods.v1. --all-namespaces"*) printf '%s\n' "$ALL_PODS" ;;
*"events.v1."*) echo 'Error from server (Forbidden): events is forbidden' >&2; exit 1 ;;
*"jobs."*) echo "error: the server doesn't have a resource type \"jobs\"" >&2; exit 1 ;;
*"deployments"*) echo '{"kind": "List", "items": [], "image": "ghcr.io/tinkerbell/tinkerbell:v0.21.0"}' ;;
*"kustomizations"*) echo '{"kind": "List", "items": []}' ;;
*) echo "not known here: $*" >&2; exit 64 ;;
esac
""".replace("@MAC@", MAC)


class Jump:
    """A jump host of which only kubectl is not real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "kubectl").write_text(KUBECTL)
        (folder / "kubectl").chmod(0o755)
        (folder / "log").write_text("")
        (folder / "home").mkdir()
        self.env = {
            "SAID": str(folder / "said"),
            "LOG": str(folder / "log"),
            "ITS_PODS": "tink tinkerbell-0 ghcr.io/tinkerbell/tinkerbell:v0.21.0",
            "ALL_PODS": "",
            "PATH": f"{folder}:{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "HOME": str(folder / "home"),
        }

    def read(self, wanted: Wanted, shell: str = "sh") -> dict[str, Outcome]:
        command = gather.cluster(Kubectl(("kubectl",), "tink"), wanted)
        assert command.effect is Effect.READ
        return read_script(run(command, shell, env=self.env))

    @property
    def said(self) -> list[str]:
        return (self.folder / "said").read_text().splitlines()


@pytest.fixture
def jump(tmp_path: Path) -> Jump:
    return Jump(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_part_succeeds_or_says_why_and_nothing_is_left_behind(jump: Jump, shell: str) -> None:
    found = jump.read(Wanted(hardware="anvil", mac=MAC, smee="http://127.0.0.1:1/"), shell)
    why = {name: gather.why_not(outcome) for name, outcome in found.items() if gather.why_not(outcome)}
    assert why == {
        "events": "Error from server (Forbidden): events is forbidden",
        "bmc": 'error: the server doesn\'t have a resource type "jobs"',
    }
    assert [name for name in found if gather.no_such_type(found[name])] == ["bmc"]
    assert {"objects", "logs", "deployments", "flux", "smee0", "smee1", "guards", "addresses", "clock"} <= set(found)
    assert gather.read_clock(found["clock"]) is not None
    assert sorted(item.name for item in jump.folder.iterdir()) == ["home", "kubectl", "log", "said"]


def test_every_request_has_a_limit_of_time(jump: Jump) -> None:
    jump.read(Wanted(hardware="anvil"))
    assert jump.said
    assert all(line.startswith(f"--request-timeout={gather.REQUEST_SECONDS}s ") for line in jump.said)


def test_only_lines_about_the_machine_travel(jump: Jump) -> None:
    mine = [f"a line about {MAC}", "one about 10.0.0.9", "one about ANVIL", DENIED]
    (jump.folder / "log").write_text("\n".join([*mine, "one about somebody else"]) + "\n")
    found = jump.read(Wanted(hardware="anvil"))
    assert found["logs"].stdout.splitlines() == mine
    (line,) = [line for line in jump.said if " logs " in line]
    assert line.endswith(f"logs -n tink pods/tinkerbell-0 --all-containers --prefix --timestamps --tail={gather.TAIL}")


def test_other_machines_lines_do_not_push_its_own_out(jump: Jump) -> None:
    mine = [f"{MAC} number {number}" for number in range(gather.OURS + 1)]
    (jump.folder / "log").write_text("\n".join([*mine, *["one about somebody else"] * 5000]) + "\n")
    assert jump.read(Wanted(hardware="anvil"))["logs"].stdout.splitlines() == mine[1:]


def test_a_workflow_leads_to_its_hardware(jump: Jump) -> None:
    (jump.folder / "log").write_text(f"a line about {MAC}\nanother\n")
    found = jump.read(Wanted(workflow="anvil-ubuntu"))
    assert found["logs"].stdout == f"a line about {MAC}\n"


def test_a_pod_that_may_not_be_read_does_not_cost_the_others(jump: Jump) -> None:
    jump.env["ITS_PODS"] = "tink smee-1 quay.io/smee:v1\ntink tinkerbell-0 tinkerbell:v0.21.0\ntink other-1 nginx"
    (jump.folder / "log").write_text(f"{MAC}\n")
    found = jump.read(Wanted(hardware="anvil"))
    assert found["logs"].ok
    assert found["logs"].stdout == f"{MAC}\n"
    assert "cannot get resource" in found["logs"].stderr
    assert not [line for line in jump.said if "other-1" in line]
    jump.env["ITS_PODS"] = "tink smee-1 quay.io/smee:v1"
    assert 'cannot get resource "pods/log"' in gather.why_not(jump.read(Wanted(hardware="anvil"))["logs"])


def test_tinkerbell_may_run_in_another_namespace(jump: Jump) -> None:
    jump.env |= {
        "ITS_PODS": "tink web-1 nginx",
        "ALL_PODS": "tinkerbell tinkerbell-0 ghcr.io/tinkerbell/tinkerbell:v0.22.0",
    }
    (jump.folder / "log").write_text(f"{MAC}\n")
    assert jump.read(Wanted(hardware="anvil"))["logs"].stdout == f"{MAC}\n"
    assert [line for line in jump.said if "logs -n tinkerbell pods/tinkerbell-0" in line]
    jump.env["ALL_PODS"] = ""
    assert gather.why_not(jump.read(Wanted(hardware="anvil"))["logs"]) == "no pod of Tinkerbell is to be seen"


@pytest.mark.parametrize(
    ("text", "seconds"), [("17.5\n", 17.5), ("17.N", 17.0), ("17.%N", 17.0), ("17.", 17.0), ("", None)]
)
def test_clocks(text: str, seconds: float | None) -> None:
    assert gather.read_clock(Outcome(0, text, "")) == seconds


# ---- the machine: a HookOS whose programs are scripts, and of which only some are there

NERDCTL = f"""#!/bin/sh
echo "nerdctl $*" >>"$SAID"
case "$*" in
"{" ".join(AGENT_LOG[1:])} --tail=50") echo '{json.dumps({"msg": "starting Agent"})}' ;;
*"docker ps -a"*) printf 'tink-worker\\tUp 2 minutes\\tghcr.io/tinkerbell/tink-agent:v0.21.0\\n' ;;
*) exit 1 ;;
esac
"""
CTR = """#!/bin/sh
echo "ctr $*" >>"$SAID"
case "$*" in
*"tasks exec --exec-id "*" hook-docker docker logs tink-worker --tail=50") echo 'an old worker' ;;
*) exit 1 ;;
esac
"""
NO_CONTAINERD = '#!/bin/sh\necho "$0: cannot access containerd socket" >&2\nexit 1\n'
NSENTER = '#!/bin/sh\necho "nsenter $*" >>"$SAID"\nshift 4\nPATH=$OUTER:$PATH exec "$@"\n'
JOURNALCTL = '#!/bin/sh\necho "journalctl $*" >>"$SAID"\necho "the unit of the agent"\n'
CAT = """#!/bin/sh
case "$*" in
*os-release*) printf 'ID=%s\\n' "$OS" ;;
/proc/cmdline) echo "worker_id=w grpc_authority=127.0.0.1:1" ;;
*) exec /bin/cat "$@" ;;
esac
"""


def machine(folder: Path, shell: str = "sh", os_id: str = "hookos", **programs: str) -> dict[str, Outcome]:
    for name, text in {"cat": CAT, **programs}.items():
        path = folder / name.replace("outer_", "outer/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    env = {"PATH": f"{folder}:/usr/bin:/bin", "SAID": str(folder / "said"), "OUTER": str(folder / "outer"), "OS": os_id}
    command = gather.machine(VerifyConfig())
    # A busybox that is a system of its own takes its own cat before that of PATH; a function comes before both.
    command = replace(command, stdin=f'cat() {{ "{folder}/cat" "$@"; }}\n{command.stdin}')
    return read_script(run(command, shell, env=env))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_rung_is_the_missions_own_command(tmp_path: Path, shell: str) -> None:
    found = machine(tmp_path, shell, nerdctl=NERDCTL)
    assert found["agent"].stdout == '{"msg": "starting Agent"}\n'
    said = (tmp_path / "said").read_text().splitlines()
    assert "nerdctl -n services.linuxkit exec hook-docker docker logs tink-worker --tail=50" in said
    assert not [line for line in said if " -t" in line or "-it" in line]
    around = gather.read_probe(found, MachineProbe(MachineFacts()))
    assert around.containers == (Container("tink-worker", "Up 2 minutes", "ghcr.io/tinkerbell/tink-agent:v0.21.0"),)


def test_older_hook_has_ctr(tmp_path: Path) -> None:
    assert machine(tmp_path, ctr=CTR)["agent"].stdout == "an old worker\n"


def test_from_within_an_sshd_container(tmp_path: Path) -> None:
    programs = {"nerdctl": NO_CONTAINERD, "nsenter": NSENTER, "outer_nerdctl": NERDCTL}
    found = machine(tmp_path, **programs)
    assert found["agent"].stdout == '{"msg": "starting Agent"}\n'
    assert "nsenter -t 1 -m -- nerdctl -n services.linuxkit exec" in (tmp_path / "said").read_text()


def test_captainos_has_neither(tmp_path: Path) -> None:
    found = machine(tmp_path, os_id="captainos", journalctl=JOURNALCTL)
    assert found["agent"].stdout == "the unit of the agent\n"
    assert "journalctl -u tink-agent -u tink-agent-setup --no-pager -o cat -n 50" in (tmp_path / "said").read_text()


def test_a_container_that_is_not_there_is_said_as_docker_says_it(tmp_path: Path) -> None:
    gone = '#!/bin/sh\necho "Error response from daemon: No such container: tink-worker" >&2\nexit 1\n'
    found = machine(tmp_path, nerdctl=gone, ctr=CTR)
    assert gather.why_not(found["agent"]) == "Error response from daemon: No such container: tink-worker"


def test_any_other_system_is_left_alone(tmp_path: Path) -> None:
    other = CAT.replace("worker_id=w grpc_authority=127.0.0.1:1", "quiet")
    found = machine(tmp_path, os_id="debian", cat=other, nerdctl=NERDCTL)
    assert gather.why_not(found["agent"]) == "this machine is not in the installer"
    assert not (tmp_path / "said").exists()


def test_a_hardware_ref_is_never_an_option(jump: Jump) -> None:
    program = jump.folder / "kubectl"
    program.write_text(KUBECTL.replace("printf anvil ;;", "printf -- --kubeconfig=/x ;;"))
    jump.read(Wanted(workflow="anvil-ubuntu"))
    asked = [word for line in jump.said for word in line.split()]
    assert "hardware.v1alpha1.tinkerbell.org/--kubeconfig=/x" in asked
    assert "--kubeconfig=/x" not in asked
