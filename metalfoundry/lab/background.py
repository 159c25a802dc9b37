"""The lab in the background: `up` starts it and returns when it stands, `down` ends it.

Files in the lab's folder: `lab.pid` (who runs), `lab.lock` (held as long as it runs), `lab.log`, `lab.error`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from metalfoundry.lab.clock import LabError
from metalfoundry.lab.processes import MarkedProcesses
from metalfoundry.lab.scenarios import scenario as find_scenario

HOURS = 8.0
"""A lab that nobody ends ends by itself after this time."""


def up(folder: Path, scenario: str = "installs", speed: float = 1.0, hours: float = HOURS) -> Path:
    """Start a lab in the background and return its inventory's path once it stands.

    One that runs in that folder already is ended first. Raises LabError with the reason.
    """
    find_scenario(scenario)
    if importlib.util.find_spec("asyncssh") is None:
        raise LabError("the lab needs asyncssh; in a checkout: pip install '.[lab]'")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    down(folder)
    for name in ("lab.error", "lab.ready", "inventory.yaml"):
        (folder / name).unlink(missing_ok=True)
    words = [sys.executable, "-m", "metalfoundry.lab.background"]
    words += [json.dumps({"folder": str(folder), "scenario": scenario, "speed": speed, "hours": hours})]
    with (folder / "lab.log").open("wb") as log:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder, env=_env()
        )
    return _await(child, folder)


def running(folder: Path) -> bool:
    """Whether a lab runs in that folder."""
    return (folder / "lab.pid").exists() and _locked(folder)


def down(folder: Path) -> bool:
    """End the lab of that folder, with every process it started; False when none runs there."""
    folder = folder.resolve()
    if not (folder / "lab.pid").exists():
        return False
    who = json.loads((folder / "lab.pid").read_text())
    was_running = _locked(folder)
    if was_running:
        os.kill(who["pid"], signal.SIGTERM)
        if not _until(lambda: not _locked(folder), 15):
            os.killpg(who["pid"], signal.SIGKILL)
            _until(lambda: not _locked(folder), 5)
    MarkedProcesses(who["mark"]).kill()
    (folder / "lab.pid").unlink(missing_ok=True)
    return was_running


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
            from metalfoundry.lab.lab import Lab

            lab = Lab(folder, said["scenario"], said["speed"])
            (folder / "lab.pid").write_text(json.dumps({"pid": os.getpid(), "mark": lab.mark}))
            with lab:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
