"""One provision beside what users would otherwise use, in one run on the same lab.

    python -m benchmarks.others [--runs 5] [--loops 2] [--round-trips 0 20 100] [--write]

metalfoundry; the ten-second loop that it replaces; and the same steps as an Ansible playbook (ansible-core, its own
modules, pipelining, ControlPersist) and as a pyinfra deploy, which look every second. Own share: see
benchmarks/provision.py. Only metalfoundry looks at the new system; the others end when they have seen SUCCESS and
closed netboot, which is too late: their server may be in the installer again by then, and stay there.

Ansible and pyinfra are installed into .cache/bench, once. `--write` puts table and plot into docs/.
"""

from __future__ import annotations

import argparse
import getpass
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path

import yaml

from benchmarks.plot import bars
from benchmarks.provision import SERVER, Moments, Run, loop, of_moments, ours, own_workflow
from metalfoundry.lab.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cache" / "bench"
PAGE, BEGIN, END = ROOT / "docs" / "benchmarks.md", "<!-- others -->\n", "<!-- end of others -->\n"
OURS = "metalfoundry"
PATCH = '[{"op": "replace", "path": "/spec/interfaces/0/netboot/allowPXE", "value": %s}]'
KUBECTL = "kubectl -n tink-system"
STATE = f"{KUBECTL} get workflows.v1alpha1.tinkerbell.org {SERVER}-ubuntu -o jsonpath={{.status.state}}"
DEPLOY = """\
from pyinfra import host
from pyinfra.operations import server

if host.name == "jump":
    server.shell(name="open", commands=[{open!r}])
    server.shell(name="apply", commands=[{apply!r}])
if host.name == "server":
    server.shell(name="reboot", commands=["reboot"])
if host.name == "jump":
    server.shell(name="wait", commands=[{wait!r}])
    server.shell(name="close", commands=[{close!r}])
"""
INVENTORY = """\
common = {{"ssh_key": {key!r}, "ssh_strict_host_key_checking": "off", "ssh_config_file": {config!r}}}
hosts = [
    ("jump", common | {{"ssh_hostname": "127.0.0.1", "ssh_port": {jump}, "ssh_user": {user!r}}}),
    ("server", common | {{"ssh_hostname": "lab-server"}}),
]
"""
SSH_CONFIG = """\
Host lab-server
    HostName 127.0.0.1
    Port {port}
    User root
    ProxyJump lab-jump
Host lab-jump
    HostName 127.0.0.1
    Port {jump}
    User {user}
Host *
    IdentityFile {key}
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    title: str
    run: Callable[[Path, float, float], Run]


def words(lab: Lab) -> dict[str, str]:
    """The steps as shell commands on the jump host."""
    (lab.folder / "workflow.yaml").write_text(own_workflow(lab))
    until = f"until case $({STATE}) in SUCCESS|FAILED|TIMEOUT) true;; *) false;; esac; do sleep 1; done"
    return {
        "open": f"{KUBECTL} patch hardware {SERVER} --type=json -p '{PATCH % 'true'}'",
        "apply": f"{KUBECTL} apply -f {lab.folder}/workflow.yaml",
        "wait": until,
        "close": f"{KUBECTL} patch hardware {SERVER} --type=json -p '{PATCH % 'false'}'",
    }


def other(folder: Path, speed: float, delay: float, prepare: Callable[[Lab], list[str]]) -> Run:
    """One provision by another tool; `prepare` writes what it needs and gives its command."""
    with Lab(folder, "installs", speed=speed) as lab:
        lab.jump.delay = delay
        port, user = lab.machine(SERVER).port, getpass.getuser()
        key = str(lab.folder / "id_ed25519")
        text = SSH_CONFIG.format(port=port, jump=lab.jump.port, user=user, key=key)
        (lab.folder / "ssh_config").write_text(text)
        command = prepare(lab)
        moments = Moments()
        moments.watch(lab)
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=lab.folder, env=_environment(lab), capture_output=True, text=True, timeout=120
        )
        ended = time.monotonic()
        moments.stop.set()
        if not moments.closed or not moments.success:
            raise SystemExit(f"{command[0]} did not do it:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return of_moments(moments, lab, began, ended)


def _environment(lab: Lab) -> dict[str, str]:
    control = "-F ssh_config -o ControlMaster=auto -o ControlPersist=60s"
    return os.environ | {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": control,
        "ANSIBLE_SSH_CONTROL_PATH_DIR": f"/tmp/mf-{os.getpid()}",  # a socket's path is short
        "ANSIBLE_HOME": str(lab.folder / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "HOME": str(lab.folder),
    }


def ansible(folder: Path, speed: float, delay: float) -> Run:
    """The steps as a playbook."""

    def prepare(lab: Lab) -> list[str]:
        steps = words(lab)
        over = {"register": "seen", "until": "seen.stdout in ['SUCCESS', 'FAILED', 'TIMEOUT']"}
        seen = _command(STATE) | over | {"retries": 300, "delay": 1}
        plays = [
            _play("jump", _command(steps["open"]), _command(steps["apply"])),
            _play("server", {"ansible.builtin.raw": "reboot", "ignore_unreachable": True, "ignore_errors": True}),
            _play("jump", seen, _command(steps["close"])),
        ]
        (lab.folder / "play.yaml").write_text(yaml.safe_dump(plays))
        hosts = "jump ansible_host=lab-jump ansible_python_interpreter={}\nserver ansible_host=lab-server\n"
        (lab.folder / "hosts").write_text(hosts.format(sys.executable))
        return [str(TOOLS / "bin" / "ansible-playbook"), "-i", "hosts", "play.yaml"]

    return other(folder, speed, delay, prepare)


def _command(line: str) -> dict[str, object]:
    return {"ansible.builtin.command": line}


def _play(hosts: str, *tasks: Mapping[str, object]) -> dict[str, object]:
    return {"hosts": hosts, "gather_facts": False, "tasks": [dict(task) for task in tasks]}


def pyinfra(folder: Path, speed: float, delay: float) -> Run:
    """The steps as a deploy."""

    def prepare(lab: Lab) -> list[str]:
        (lab.folder / "deploy.py").write_text(DEPLOY.format(**words(lab)))
        known = {"key": str(lab.folder / "id_ed25519"), "config": str(lab.folder / "ssh_config")}
        text = INVENTORY.format(**known, jump=lab.jump.port, user=getpass.getuser())
        (lab.folder / "hosts.py").write_text(text)
        return [str(TOOLS / "bin" / "pyinfra"), "-y", "hosts.py", "deploy.py"]

    return other(folder, speed, delay, prepare)


def install() -> str:
    """Put the others into an environment of their own; what they are, in words."""
    if not (TOOLS / "bin" / "pyinfra").exists():
        venv.create(TOOLS, with_pip=True)
        subprocess.run([TOOLS / "bin" / "pip", "install", "--quiet", "ansible-core", "pyinfra"], check=True)
    seen = subprocess.run([TOOLS / "bin" / "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    known = dict(line.split("==") for line in seen.splitlines() if "==" in line)
    return f"metalfoundry {version('metalfoundry')}, ansible-core {known['ansible-core']}, pyinfra {known['pyinfra']}"


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--round-trips", type=int, nargs="+", default=[0, 20, 100], help="milliseconds")
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    sides = (
        Side("metalfoundry", ours),
        Side("pyinfra", pyinfra),
        Side("Ansible", ansible),
        Side("ten-second loop", loop),
    )
    versions, number = install(), count()
    found: dict[tuple[int, str], list[Run]] = {}
    with tempfile.TemporaryDirectory(prefix="mf-") as folder:
        for turn in range(max(wanted.runs, wanted.loops)):  # in turn: what else this computer does meets all alike
            for trip in wanted.round_trips:
                for side in sides:
                    if turn < (wanted.loops if side.run is loop else wanted.runs):
                        run = side.run(Path(folder) / str(next(number)), wanted.speed, trip / 2000)
                        found.setdefault((trip, side.title), []).append(run)
    table = _table(found)
    print(f"{versions}\n\n{table}")
    if wanted.write:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}{versions}.\n\n{table}{END}{after}", encoding="utf-8")
        rows = {trip: {title: _middle(runs, "own") for (at, title), runs in found.items() if at == trip}
                for trip in wanted.round_trips}  # fmt: skip
        picture = bars("own share of one provision, seconds", {f"{trip} ms": row for trip, row in rows.items()})
        PAGE.with_suffix(".svg").write_text(picture, encoding="utf-8")


def _middle(runs: list[Run], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))


def _table(found: Mapping[tuple[int, str], list[Run]]) -> str:
    heads = ("round trip", "", "n", "to the reboot", "at the end", "own share", "beside ours", "RUNNING to closed",
             "beside ours", "installer booted")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |".replace("|  |", "| |"), "|---" * len(heads) + "|"]
    for (trip, title), runs in sorted(found.items(), key=lambda one: one[0][0]):
        mine, again = found[trip, OURS], sum(run.again for run in runs)
        own, last, reaction = (_middle(runs, name) for name in ("own", "noticed", "reaction"))
        first = statistics.median(run.own - run.noticed for run in runs)
        cells = (
            *(f"{trip} ms", title, f"{len(runs)}", f"{first:.2f} s", f"{last:.2f} s", f"{own:.2f} s"),
            *(f"{own / _middle(mine, 'own'):.1f}", f"{reaction:.3f} s", f"{reaction / _middle(mine, 'reaction'):.0f}"),
            f"twice in {again} of {len(runs)}" if again else "once",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
