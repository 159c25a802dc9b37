"""Rufio's rules (v0.21): runs a Job's tasks one after the other on the machine whose BMC it names."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from metalfoundry.lab.clock import MachineClock, stamp
from metalfoundry.lab.kubernetes.informer import Informer, amend
from metalfoundry.lab.kubernetes.store import NotFound, Object, Store, StoreError
from metalfoundry.lab.scenarios import BmcFault
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog

JOBS = "jobs.bmc.tinkerbell.org"
ACTION = 0.5  # machine seconds of one task
_WORDS = {
    BmcFault.UNREACHABLE: "Failed to connect to BMC: Provider: gofish: dial tcp 192.0.2.250:443: i/o timeout",
    BmcFault.TIMEOUT: "bmc task timeout: 10m0s",
    BmcFault.REFUSES: "failed to perform PowerAction: Provider: ipmitool: Set Chassis Power Control failed",
}


class Switched(Protocol):
    """A machine as its BMC sees it. `once`: it asks the network first at its next boot."""

    once: bool

    @property
    def powered(self) -> bool:
        """Whether it is switched on."""

    def power(self, on: bool) -> None:
        """Switch it."""


@dataclass(frozen=True, slots=True)
class _Bmc:
    machine: Switched
    fault: BmcFault


class Rufio:
    """Runs every new Job of the store, each in a thread, from `start` to `stop`; `attach` gives it the BMCs."""

    def __init__(self, store: Store, pace: MachineClock, journal: ControlPlaneLog) -> None:
        self._store, self._pace, self._journal = store, pace, journal
        self._jobs = Informer(store, JOBS)
        self._bmcs: dict[str, _Bmc] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="lab-rufio", daemon=True)]

    def attach(self, name: str, machine: Switched, fault: BmcFault) -> None:
        """Have the Machine `name` be the BMC of `machine`."""
        self._bmcs[name] = _Bmc(machine, fault)
        self._tell_power(name)

    def start(self) -> None:
        """Begin to look for Jobs."""
        self._jobs.start()
        self._threads[0].start()

    def stop(self) -> None:
        """End, with what is under way."""
        self._stop.set()
        self._jobs.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(5)

    def _run(self) -> None:
        seen, taken = -1, set[str]()
        while not self._stop.is_set():
            seen = self._jobs.wait(seen, 1.0)
            for job in self._jobs.all():
                if job["metadata"]["uid"] not in taken:
                    taken.add(job["metadata"]["uid"])
                    self._threads.append(threading.Thread(target=self._work, args=(job,), daemon=True))
                    self._threads[-1].start()

    def _work(self, job: Object) -> None:
        name, machine = job["metadata"]["name"], job["spec"]["machineRef"]
        try:
            while not self._has(machine["name"]):
                caller = "sigs.k8s.io/controller-runtime@v0.21.0/pkg/internal/controller/controller.go:353"
                text = f"machine {machine['namespace']}/{machine['name']} not found"
                self._journal.write("rufio", caller, "Reconciler error", 8, name=name, err=text)
                if self._stop.wait(0.5):
                    return
            self._condition(JOBS, name, "Running", startTime=stamp())
            for number, task in enumerate(job["spec"]["tasks"]):
                if not self._do(f"{name}-task-{number}", machine["name"], task):
                    text = f"task {machine['namespace']}/{name}-task-{number} failed"
                    self._condition(JOBS, name, "Failed", text)
                    return
                if self._stop.is_set():
                    return
            self._condition(JOBS, name, "Completed", completionTime=stamp())
        except StoreError as error:  # deleted meanwhile, or the lab ends
            self._journal.write("rufio", "internal/controller/job.go", str(error), 8, name=name)

    def _do(self, name: str, machine: str, task: Object) -> bool:
        """One task; False where it failed."""
        connection = self._store.get("machines", machine)["spec"]["connection"]
        self._store.create("tasks", {"metadata": {"name": name}, "spec": {"connection": connection, "task": task}})
        self._condition("tasks", name, "Running", startTime=stamp())
        bmc = self._bmcs[machine]
        if bmc.fault is BmcFault.STUCK:
            self._stop.wait()
            return True
        self._pace.wait(ACTION, self._stop)
        if text := _WORDS.get(bmc.fault):
            self._condition("tasks", name, "Failed", text)
            return False
        self._act(bmc.machine, task)
        self._tell_power(machine)
        self._condition("tasks", name, "Completed", completionTime=stamp())
        return True

    def _act(self, machine: Switched, task: Object) -> None:
        if "oneTimeBootDeviceAction" in task:
            machine.once = task["oneTimeBootDeviceAction"]["device"] == ["pxe"]
        elif task.get("powerAction") in ("off", "soft"):
            machine.power(False)
        elif task.get("powerAction") in ("cycle", "reset"):
            machine.power(False)
            machine.power(True)
        elif task.get("powerAction") == "on":
            machine.power(True)

    def _has(self, name: str) -> bool:
        try:
            self._store.get("machines", name)
        except NotFound:
            return False
        return name in self._bmcs

    def _tell_power(self, name: str) -> None:
        """What Rufio writes on the Machine when it has looked."""
        bmc = self._bmcs[name]
        reached = bmc.fault is not BmcFault.UNREACHABLE
        power = "on" if bmc.machine.powered else "off"
        message = "" if reached else _WORDS[BmcFault.UNREACHABLE]
        contact = {"type": "Contactable", "status": str(reached), "message": message, "lastUpdateTime": stamp()}

        def change(obj: Object) -> bool:
            obj["status"] = {"powerState": power if reached else "unknown", "conditions": [contact]}
            return True

        amend(self._store, "machines", name, change)

    def _condition(self, kind: str, name: str, what: str, message: str = "", **more: str) -> None:
        """`what` is true now; nothing that was said before is taken away."""

        def change(obj: Object) -> bool:
            status = obj.setdefault("status", {})
            status["conditions"] = [*status.get("conditions", []), {"type": what, "status": "True", "message": message}]
            status.update(more)
            return True

        amend(self._store, kind, name, change)
