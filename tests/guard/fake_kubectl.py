"""A kubectl over a folder ($FAKE_CLUSTER): just what guard.sh says, printed in guard.sh's own form.

Objects are hardware/NAME.json and workflows/NAME.json. A file `away` makes every call fail and every watch end;
`refuse` makes patches fail; a change of `cut` ends the watches. Anything unknown is an error. What the template
itself prints is tested against a real kubectl, in test_real.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

CLUSTER = Path(os.environ["FAKE_CLUSTER"])
FOLDERS = {"hardware.v1alpha1.tinkerbell.org": "hardware", "workflows.v1alpha1.tinkerbell.org": "workflows"}


def load(path: Path) -> dict[str, Any] | None:
    while True:
        try:
            return json.loads(path.read_text())  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None
        except json.JSONDecodeError:
            time.sleep(0.005)


def fields(obj: dict[str, Any]) -> str:
    meta, status = obj["metadata"], obj.get("status", {})
    interfaces = obj.get("spec", {}).get("interfaces", [])
    pxe = "".join(("true" if item.get("netboot", {}).get("allowPXE") else "") + "," for item in interfaces)
    run = meta.get("annotations", {}).get("metalfoundry.dev/run", "")
    action = status.get("currentState", {}).get("actionName", "")
    words = (obj["kind"], meta["uid"], meta["resourceVersion"], status.get("state", ""), pxe, run, action)
    return "|".join(words) + "\n"


def read(targets: list[str], form: str) -> int:
    if (CLUSTER / "away").exists():
        print("connection refused", file=sys.stderr)
        return 1
    start = form.removeprefix("{{range .items}}").split("|READ|")[0]
    for target in targets:
        kind, name = target.split("/")
        obj = load(CLUSTER / FOLDERS[kind] / f"{name}.json")
        if obj:
            sys.stdout.write(f"{start}|READ|{fields(obj)}")
    return 0


def watch(kind: str, name: str, form: str) -> int:
    start = form.split("|{{.type}}")[0]
    cut = (CLUSTER / "cut").read_text()
    seen: dict[str, Any] | None = None
    while not (CLUSTER / "away").exists() and (CLUSTER / "cut").read_text() == cut:
        obj = load(CLUSTER / FOLDERS[kind] / f"{name}.json")
        if obj != seen:
            event = "ADDED" if seen is None else "MODIFIED" if obj else "DELETED"
            line = f"{start}|{event}|{fields(obj or seen or {})}"
            sys.stdout.write(line[:9])  # in pieces, as kubectl does
            sys.stdout.flush()
            sys.stdout.write(line[9:])
            sys.stdout.flush()
            seen = obj
        time.sleep(0.01)
    return 0


def patch(name: str) -> int:
    operations = json.loads(Path("/dev/stdin").read_text())
    with (CLUSTER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = CLUSTER / "hardware" / f"{name}.json"
        obj = load(path)
        if obj is None or (CLUSTER / "away").exists() or (CLUSTER / "refuse").exists():
            return 1
        for operation in operations:
            parts = [part.replace("~1", "/") for part in operation["path"].split("/")[1:]]
            parent: Any = obj
            for part in parts[:-1]:
                if isinstance(parent, dict) and part not in parent:
                    print("The request is invalid", file=sys.stderr)
                    return 1
                parent = parent[int(part) if isinstance(parent, list) else part]
            if operation["op"] == "test" and parent.get(parts[-1]) != operation["value"]:
                return 1
            if operation["op"] == "add":
                parent[parts[-1]] = operation["value"]
        obj["metadata"]["resourceVersion"] = str(int(obj["metadata"]["resourceVersion"]) + 1)
        path.with_suffix(".new").write_text(json.dumps(obj))
        path.with_suffix(".new").replace(path)
        with (CLUSTER / "writes").open("a") as writes:
            writes.write(json.dumps(operations) + "\n")
    return 0


def main(words: list[str]) -> int:
    option = {word.split("=")[0]: word.split("=", 1)[1] for word in words if word.startswith("--") and "=" in word}
    if words[0] == "patch" and option["--type"] == "json" and option["--field-manager"] == "metalfoundry":
        return patch(words[2])
    if words[0] == "get":
        form = words[words.index("-o") + 1].removeprefix("go-template=")
        if "-w" in words:
            name = words[words.index("--field-selector") + 1].removeprefix("metadata.name=")
            return watch(words[1], name, form)
        return read([word for word in words if "/" in word and word.split("/")[0] in FOLDERS], form)
    raise SystemExit(f"unknown: {words}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
