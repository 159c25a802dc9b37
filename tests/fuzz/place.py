"""A cluster, a jump host and a machine that answer every question with whatever they like."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from metalfoundry.commands.command import Command
from metalfoundry.commands.script import MARK
from metalfoundry.lab.fixtures import finished_workflow, hardware, metal, template
from metalfoundry.lab.scenarios import scenario
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory, Server, VerifyConfig
from metalfoundry.model.site_config import JumpConfig, SiteConfig
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline
from tests.fakes import Unwatched

EXAMPLES = int(os.environ.get("METALFOUNDRY_FUZZ", "50"))
"""How many worlds are tried; `make fuzz` tries more."""

NAME = "anvil"
STORY = scenario("installs")
METAL = metal(NAME, 1)
SERVER = Server(
    name=NAME, hardware=NAME, address="10.77.0.9", mac=METAL.mac, verify=VerifyConfig(marker="/var/lib/done")
)
INVENTORY = Inventory(
    site=SiteConfig(jump=JumpConfig(host="192.0.2.103", user="ubuntu"), smee="http://10.77.0.2:7171"),
    servers={NAME: SERVER},
    path=Path("/inventory.yaml"),
)
KINDS = ("Hardware", "Template", "Workflow")


@dataclass(frozen=True)
class World:
    """What is answered: the objects, and a part's (exit status, stdout, stderr) by its name."""

    objects: list[Any]
    parts: dict[str, tuple[int, str, str]] = field(default_factory=dict)


class Answers(Unwatched):
    """A Transport to a World."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        mark = command.stdin.split("\n", 1)[0].removeprefix("mark=")
        out = []
        for name in re.findall(r"^part (\S+) ", command.stdin, re.MULTILINE):
            status, said, error = self._part(name)
            head = f"{MARK} {mark} {name}"
            out.append(f"{head} out\n{said}\n{head} err\n{error}\n{head} exit {status}\n")
        return Result(0, "".join(out), "")

    def _part(self, name: str) -> tuple[int, str, str]:
        if name in self._world.parts:
            return self._world.parts[name]
        if name in ("object", "objects"):
            return 0, json.dumps({"kind": "List", "items": self._world.objects}), ""
        return 0, "", ""

    def follow(self, host: Host, command: Command, deadline: Deadline, tick: float = 1.0) -> Iterator[str | None]:
        yield from ()


# ---- what may be said -------------------------------------------------------------------------------------------

HOSTILE = (
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "\x9b31m",
    "[/bold]",
    "[red]x",
    "\r",
    "\u202e",
    "$(reboot)",
    "--kubeconfig=/x",
    "state=guarding\nsince=1\nclaims=x",
)
DEEP = "[" * 100_000
NUMBERS = ("0", "1", "200", "404", "1767323045.5", "999999999999999", "9" * 400, "1e400", "nan", "-1", "\u0661", "00x")
TIMES = ("2026-01-02T03:04:05Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-10:00", "2026-01-02")
text = st.one_of(
    st.sampled_from(["", "RUNNING", "SUCCESS", "true", *TIMES, *NUMBERS, NAME, METAL.mac, *HOSTILE]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.builds(lambda a, b: a + b, st.text(max_size=8).map(lambda t: t.encode("utf-8", "replace").decode()),
              st.sampled_from(HOSTILE)),
)  # fmt: skip
scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.sampled_from([10**400, 1e300]),
    st.floats(allow_nan=False),
    text,
)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=5
)


def _annotated(run: str, note: Any) -> dict[str, Any]:
    obj: dict[str, Any] = hardware(METAL, STORY, allow_workflow=True)
    note = note if isinstance(note, str) else json.dumps(note)
    obj["metadata"]["annotations"] = {f"metalfoundry.dev/{key}": note for key in ("window", "broken", "old-system")}
    obj["metadata"]["annotations"] |= {"metalfoundry.dev/run": run, "tinkerbell.org/agent-attributes": note}
    obj["spec"]["interfaces"][0]["netboot"] = {"allowPXE": True}
    return obj


note = st.one_of(
    text,
    st.just(DEEP),
    value,
    st.fixed_dictionaries(
        {
            key: st.one_of(text, scalar)
            for key in ("holder", "reason", "opened", "expires", "phase", "workflow", "before", "machine")
        }
    ),
)
seed = st.one_of(
    st.just(hardware(METAL, STORY, allow_workflow=True)),
    st.builds(_annotated, text, note),
    st.just(finished_workflow(METAL, STORY)),
    st.just(template(STORY)),
)


def _paths(obj: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items: Any = obj.items() if isinstance(obj, dict) else enumerate(obj) if isinstance(obj, list) else ()
    for key, item in items:
        found += _paths(item, (*path, key))
    return found


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """An object of Tinkerbell's with some of its fields replaced by anything, or left out. It keeps kind and name,
    without which a real API server stores nothing.
    """
    obj = copy.deepcopy(draw(seed))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(_paths(obj)))
        if path in (("kind",), ("metadata",), ("metadata", "name"), ("apiVersion",)):
            continue
        inner = obj
        for key in path[:-1]:
            inner = inner[key]
        if draw(st.booleans()):
            inner[path[-1]] = draw(value)
        elif isinstance(inner, dict):
            inner.pop(path[-1], None)
    return obj


lines = st.lists(
    st.one_of(
        text,
        st.builds(lambda msg, more: json.dumps({"msg": msg, "time": "2026-01-02T03:04:05Z", **more}), text,
                  st.dictionaries(text, scalar, max_size=3)),
        st.builds(lambda msg: f"[pod/tink-0/tink] 2026-01-02T03:04:05.000000000Z {NAME} {msg}", text),
    ),
    max_size=5,
).map("\n".join)  # fmt: skip
births = st.builds("{} {} {} {}".format, text, text, text, st.sampled_from(["/", "/etc/machine-id", "/var/lib/done"]))
KEYS = ("boot_id", "machine_id", "hostname", "uptime", "clock", "mac", "serial", "uuid", "os.PRETTY_NAME", "cmdline",
        "marker.text", "root", "os.ID", "cloud_init", "check", "born")  # fmt: skip
said = st.one_of(text, births, st.builds("{} {} {}".format, text, text, text))
facts = st.lists(st.tuples(st.sampled_from(KEYS), said), max_size=14).map(
    lambda pairs: "boot_id=b-1\n" + "".join(f"{key}={value}\n" for key, value in pairs)
)

# What Kubernetes and others hold beside Tinkerbell's objects: a list with whatever in it, under the names they use.
META = ("name", "namespace", "creationTimestamp", "uid")
SPEC = ("replicas", "template", "machineRef", "suspend", "containers", "spec", "image", "status", "readyReplicas",
        "conditions", "type", "message", "reason", "involvedObject", "lastTimestamp", "lastTransitionTime")  # fmt: skip
inside = st.recursive(
    st.one_of(scalar, st.sampled_from(["ghcr.io/tinkerbell/tinkerbell:v0.22.0", f"x:{'9' * 5000}.1.1"])),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(SPEC + META), inner, max_size=4),
    max_leaves=8,
)
listed = st.one_of(
    st.just(DEEP),
    st.lists(st.fixed_dictionaries(dict.fromkeys(("kind", "metadata", "spec", "status", "type"), inside)), max_size=3)
    .map(lambda items: json.dumps({"kind": "List", "items": items})),
)  # fmt: skip

rows = st.lists(st.lists(text, min_size=3, max_size=7).map("\t".join), max_size=4).map("\n".join)
WORDS = ["memory_kib", "disk_free_kib", "dns", "grpc", "address", "addresses", "state", "since", "claims", "closed"]
pairs = st.lists(st.builds("{}={}".format, st.sampled_from(WORDS), text), max_size=6).map("\n".join)
OWN = {"guards": pairs, "containers": rows, "around": pairs, "clock": text, "smee0": text, "smee1": text,
       "addresses": text, "deployments": listed, "events": listed, "bmc": listed, "flux": listed}  # fmt: skip
PARTS = ("logs", "agent", "bootkit", *OWN)
status = st.sampled_from([0, 0, 0, 0, 1])
anything = st.one_of(lines, value.map(json.dumps))


def _answer(part: str) -> st.SearchStrategy[tuple[int, str, str]]:
    return st.tuples(status, st.one_of(OWN.get(part, lines), OWN.get(part, lines), anything), lines)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Anything that a site may answer."""
    objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in draw(st.lists(changed(), min_size=1, max_size=4))}
    parts = {part: draw(_answer(part)) for part in draw(st.lists(st.sampled_from(PARTS), max_size=8, unique=True))}
    parts["facts"] = (0, draw(facts), "")
    return World(list(objects.values()), parts)
