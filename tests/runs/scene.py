"""A run as Preflight leaves it, with nothing behind it that could be asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from metalfoundry.commands.command import Command
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.script import MARK
from metalfoundry.model.bus import Bus
from metalfoundry.model.documents import workflow_from
from metalfoundry.model.events import Event, Record
from metalfoundry.model.hosts import Host
from metalfoundry.model.inventory import Inventory, Server, VerifyConfig
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.model.site_config import JumpConfig, SiteConfig
from metalfoundry.runs.options import Options
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.target import Target
from metalfoundry.site.machine import Machine
from metalfoundry.site.site import Site, inline
from metalfoundry.transport.clock import FakeClock
from metalfoundry.transport.gates import Gated
from tests.fakes import FakeTransport

MAC = "00:00:5e:00:53:c0"
T0 = 1_795_000_000.0  # by the machine's clock, at the reboot
ELAPSED = 200.0  # seconds since the reboot

OLD = MachineFacts(
    boot_id="boot-old",
    machine_id="id-old",
    hostname="anvil",
    os_id="debian",
    os_name="Debian GNU/Linux 11 (bullseye)",
    uptime=86400.0,
    macs=(MAC,),
    serial="7C6F2K1",
    root="root-old",
    clock=T0,
    born=(("root", T0 - 9e6), ("machine-id", T0 - 9e6), ("host key", T0 - 9e6)),
    host_key="SHA256:old",
)
HOOK = MachineFacts(
    boot_id="boot-hook", os_id="hookos", os_name="HookOS 0.10.0", macs=(MAC,), serial="7C6F2K1", host_key="SHA256:hook"
)
NEW = MachineFacts(
    boot_id="boot-new",
    machine_id="id-new",
    hostname="anvil",
    os_id="ubuntu",
    os_name="Ubuntu 24.04.3 LTS",
    uptime=20.0,
    macs=(MAC,),
    marker="installed 2",
    cloud_init="status: done",
    root="root-image",
    clock=T0 + 200.0,
    born=(("root", T0 - 9e6), ("machine-id", T0 + 185.0), ("host key", T0 + 186.0), ("marker", T0 + 190.0)),
    host_key="SHA256:new",
)


class Scene:
    """`run` and the `events` that it made known."""

    def __init__(self, before: MachineFacts | None = OLD, **verify: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.transport = FakeTransport(self.clock)
        server = Server(name="anvil", hardware="anvil", verify=VerifyConfig(**verify), address="192.0.2.87")
        place = SiteConfig(jump=JumpConfig(host="192.0.2.103", user="ubuntu"))
        inventory = Inventory(site=place, servers={"anvil": server}, path=Path("/inventory.yaml"))
        gated = Gated(self.transport, [], self.clock)
        bus = Bus(lambda: self.clock.now().wall, [self])
        site = Site(inventory, gated, gated, self.clock, bus, background=inline, holder="kevin@laptop")
        self.run = ProvisionRun(site, server, Options(), "run-1")
        interface = {"dhcp": {"mac": MAC}}
        self.run.found = Target(
            hardware=Hardware.of({"metadata": {"name": "anvil"}, "spec": {"interfaces": [interface]}}),
            document=workflow_from(
                server="anvil", template="ubuntu", hardware="anvil", hardware_map={"device_1": MAC},
                namespace="tink-system",
            ),
            boot_action=None,
            machine=Machine(self.run.site, server, None),
            worker=MAC,
            since=self.clock.now().mono - ELAPSED,
            old_systems=(before,) if before and not before.in_hook else (),
            facts_old=before,
            facts_now=before,
        )  # fmt: skip

    def target(self, **fields: Any) -> None:
        """Let Preflight have found this."""
        self.run.found = replace(self.run.target, **fields)

    def known(self, *old: MachineFacts, now: MachineFacts | None = None) -> None:
        """What an earlier run wrote down on the Hardware, for one that finds the machine silent, or as `now`."""
        self.target(old_systems=old, facts_now=now)

    def applied(self) -> None:
        """Let the Workflow be in the cluster, where no agent has taken it, and let that be known."""
        self.workflow("PENDING")
        assert self.run.workflow is not None
        self.transport.on("workflows.", reply=script_reply({"object": json.dumps(self.run.workflow.raw)}))
        self.events.clear()

    def __call__(self, record: Record) -> None:
        self.events.append(record.event)

    def workflow(self, state: str, *states: str, last: str = "reboot-into-os", image: str = "x") -> None:
        """Let the watch have shown this Workflow; its actions have these states, the last one is called `last`."""
        names = [*(f"a{number}" for number in range(1, len(states))), last][: len(states)]
        actions = [{"name": name, "image": image, "state": one} for name, one in zip(names, states, strict=True)]
        current = next((one for one in reversed(actions) if one["state"] != "PENDING"), actions[0] if actions else None)
        status: dict[str, Any] = {"state": state, "tasks": [{"name": "os", "actions": actions}]}
        if current:
            status["currentState"] = {"actionName": current["name"], "taskName": "os", "state": current["state"]}
        self.run.progress.take(
            Workflow.of({"kind": "Workflow", "metadata": {"name": "anvil-ubuntu"}, "status": status})
        )


def script_reply(parts: Mapping[str, str]) -> Callable[[Host, Command], str]:
    """The output of a script whose parts print this."""

    def reply(host: Host, command: Command) -> str:
        mark = f"{MARK} {command.stdin.splitlines()[0].removeprefix('mark=')}"
        return "".join(
            f"{mark} {name} out\n{text}\n{mark} {name} err\n\n{mark} {name} exit 0\n" for name, text in parts.items()
        )

    return reply


def changed(facts: MachineFacts, **more: Any) -> MachineFacts:
    """The same machine, said a little differently."""
    return replace(facts, **more)
