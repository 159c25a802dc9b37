"""A Job as the phases have filled it in, with nothing behind it that could be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from metalfoundry.commands.machine import MachineFacts
from metalfoundry.model.events import Bus, Event, Record
from metalfoundry.model.inventory import Inventory, Jump, Server, SiteConfig, VerifyConfig
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.runs.job import Job, Options
from metalfoundry.runs.provision import new_job
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
    """`job` and the `events` that it made known."""

    def __init__(self, before: MachineFacts | None = OLD, **verify: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.transport = FakeTransport(self.clock)
        server = Server(name="anvil", hardware="anvil", verify=VerifyConfig(**verify), address="192.0.2.87")
        place = SiteConfig(jump=Jump(host="192.0.2.103", user="ubuntu"))
        inventory = Inventory(site=place, servers={"anvil": server}, path=Path("/inventory.yaml"))
        gated = Gated(self.transport, [], self.clock)
        bus = Bus(lambda: self.clock.now().wall, [self])
        site = Site(inventory, gated, gated, self.clock, bus, background=inline, holder="kevin@laptop")
        self.job: Job = new_job(site, server, Options(), "run-1")
        interface = {"dhcp": {"mac": MAC}}
        self.job.hardware = Hardware.of({"metadata": {"name": "anvil"}, "spec": {"interfaces": [interface]}})
        self.job.now = self.job.before = before
        self.job.old = (before,) if before and not before.in_hook else ()
        self.job.began = self.clock.now().mono - ELAPSED

    def known(self, *old: MachineFacts, now: MachineFacts | None = None) -> None:
        """What an earlier run wrote down on the Hardware, for one that finds the machine silent, or as `now`."""
        self.job.old, self.job.now = old, now

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
        self.job.progress.take(
            Workflow.of({"kind": "Workflow", "metadata": {"name": "anvil-ubuntu"}, "status": status})
        )


def changed(facts: MachineFacts, **more: Any) -> MachineFacts:
    """The same machine, said a little differently."""
    return replace(facts, **more)
