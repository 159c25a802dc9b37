"""The lab in the background: `up` starts it and returns when it stands, `down` ends it.

Files in the lab's folder: `lab.pid` (who runs), `lab.lock` (held as long as it runs), `lab.log`, `lab.error`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalfoundry.lab.pace import LabError
from metalfoundry.lab.processes import Marked
from metalfoundry.lab.scenarios import SCENARIOS
from metalfoundry.lab.scenarios import scenario as find_scenario

if TYPE_CHECKING:
    from metalfoundry.lab.world import Lab

HOURS = 8.0
"""A lab that nobody ends ends by itself after this time."""


def up(folder: Path, scenario: str = "installs", speed: float = 1.0, real: bool = False, hours: float = HOURS) -> Path:
    """Start a lab in the background and return its inventory's path once it stands.

    One that runs in that folder already is ended first. Raises LabError with the reason. `real`: OpenSSH's sshd,
    kube-apiserver and kubectl instead of the embedded parts.
    """
    find_scenario(scenario)
    if importlib.util.find_spec("asyncssh") is None:
        raise LabError("the lab needs asyncssh: pip install 'metalfoundry[lab]'")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    down(folder)
    for name in ("lab.error", "lab.ready", "inventory.yaml"):
        (folder / name).unlink(missing_ok=True)
    words = [sys.executable, "-m", "metalfoundry.lab.process"]
    words += [json.dumps({"folder": str(folder), "scenario": scenario, "speed": speed, "real": real, "hours": hours})]
    with (folder / "lab.log").open("wb") as log:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder, env=_env()
        )
    return _await(child, folder)


def down(folder: Path) -> bool:
    """End the lab of that folder, with every process it started; False when none runs there."""
    folder = folder.resolve()
    if not (folder / "lab.pid").exists():
        return False
    who = json.loads((folder / "lab.pid").read_text())
    running = _locked(folder)
    if running:
        os.kill(who["pid"], signal.SIGTERM)
        if not _until(lambda: not _locked(folder), 15):
            os.killpg(who["pid"], signal.SIGKILL)
            _until(lambda: not _locked(folder), 5)
    Marked(who["mark"]).kill()
    (folder / "lab.pid").unlink(missing_ok=True)
    return running


def main(argv: list[str]) -> int:
    """The background process itself; its one argument is what `up` says, as JSON."""
    said = json.loads(argv[0])
    folder = Path(said["folder"])
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    with (folder / "lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with ExitStack() as stack:
                lab = _real_lab(said, stack) if said["real"] else _lab(said)
                (folder / "lab.pid").write_text(json.dumps({"pid": os.getpid(), "mark": lab.mark}))
                stack.enter_context(lab)
                (folder / "lab.ready").touch()
                ended.wait(said["hours"] * 3600)
        except LabError as error:
            (folder / "lab.error").write_text(str(error))
            return 1
        except Exception:
            (folder / "lab.error").write_text(traceback.format_exc(limit=-1))
            raise
        finally:
            (folder / "lab.ready").unlink(missing_ok=True)
    return 0


def _lab(said: dict[str, Any]) -> Lab:
    from metalfoundry.lab.world import Lab

    return Lab(Path(said["folder"]), said["scenario"], said["speed"])


def _real_lab(said: dict[str, Any], stack: ExitStack) -> Lab:
    """A lab on a kube-apiserver of its own, with real kubectl and sshd; raises LabError where one is missing."""
    from metalfoundry.lab.kube import Kube, KubeError, find_assets
    from metalfoundry.lab.world import Lab

    assets, folder = find_assets(), Path(said["folder"])
    if assets is None:
        raise LabError(
            "KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver (`setup-envtest use -p path` prints one)"
        )
    kubectl = shutil.which("kubectl", path=os.pathsep.join((str(assets), os.environ.get("PATH", ""))))
    if kubectl is None:
        raise LabError("no kubectl on PATH")
    shutil.rmtree(folder / "kube", ignore_errors=True)
    try:
        kube = stack.enter_context(Kube(assets, folder / "kube"))
        kube.apply_crds()
    except KubeError as error:
        raise LabError(f"no kube-apiserver: {error}") from error
    kubeconfig = str(kube.kubeconfig(folder / "kube" / "kubeconfig"))
    return Lab(
        folder,
        said["scenario"],
        said["speed"],
        store=kube.store(),
        kubectl=kubectl,
        kubeconfig=kubeconfig,
        real_sshd=True,
    )


def _await(child: subprocess.Popen[bytes], folder: Path) -> Path:
    ready = folder / "lab.ready"
    if _until(lambda: ready.exists() or child.poll() is not None, 60) and ready.exists():
        child.returncode = 0  # it is on its own from here: nobody will wait for it
        return folder / "inventory.yaml"
    child.kill()
    child.wait()
    error = folder / "lab.error"
    text = error.read_text() if error.exists() else (folder / "lab.log").read_text(errors="replace")
    raise LabError(f"the lab did not come up: {text.strip() or 'no word in a minute'} (log: {folder / 'lab.log'})")


def _locked(folder: Path) -> bool:
    try:
        with (folder / "lab.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= ends:
            return False
        time.sleep(0.02)
    return True


def _env() -> dict[str, str]:
    """This process's environment, with this very package importable whatever the working directory."""
    here = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def stories() -> dict[str, str]:
    """Every scenario's name and what happens in it."""
    return {name: scenario.story for name, scenario in SCENARIOS.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
