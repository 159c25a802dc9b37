"""hook-bootkit in HookOS: pulls the agent's image and starts its container; its log has the shape of zerolog's."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from metalfoundry.lab.clock import MachineClock, stamp
from metalfoundry.lab.scenarios import Trouble

IMAGE = "ghcr.io/tinkerbell/tink-agent:v0.21.0"
_NO_IMAGE = (
    "cannot pull image for tink-worker, 'docker_registry' and/or 'tink_worker_image' NOT specified in /proc/cmdline"
)
_DENIED = (
    'Error response from daemon: Head "https://ghcr.io/v2/tinkerbell/tink-agent/manifests/v0.21.0": denied: '
    "pull access denied for ghcr.io/tinkerbell/tink-agent"
)


class Bootkit:
    """One run of hook-bootkit on the HookOS whose files are below `root`."""

    def __init__(self, root: Path, trouble: Trouble | None, pace: MachineClock) -> None:
        self._root = root
        self._trouble = trouble
        self._pace = pace

    def run(self, down: threading.Event) -> bool:
        """Start the agent's container and return True; where that does not work, try until the machine goes down."""
        self._say("info", "starting BootKit: the tink-worker bootstrapper")
        while self._trouble in (Trouble.NO_IMAGE, Trouble.PULL):
            if self._trouble is Trouble.PULL:
                self._say("info", "Pulling image", imageName=IMAGE)
                self._say("error", "image pull failure", error=_DENIED, imageName=IMAGE)
            text = _NO_IMAGE if self._trouble is Trouble.NO_IMAGE else _DENIED
            self._say("error", "bootstrapping tink-worker failed", error=text)
            self._say("info", "will retry in 5 seconds")
            if self._pace.wait(5.0, down):
                return False
        for text in ("Removing any existing", "Creating", "Starting"):
            self._say("info", f"{text} tink-worker container")
        (self._root / ".containers").write_text(f"tink-worker\tUp 2 minutes\t{IMAGE}\n", encoding="utf-8")
        self._say("info", "BootKit: the tink-worker bootstrapper finished")
        return True

    def _say(self, level: str, message: str, **fields: Any) -> None:
        entry = {"level": level, **fields, "caller": "/src/main.go:63", "time": stamp(), "message": message}
        with (self._root / "var/log/hook-bootkit.log").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry, separators=(",", ":")) + "\n")
