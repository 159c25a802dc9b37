"""tink-controller's rules (v0.21): renders a Workflow, toggles allowPXE, ends what has run out of time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from metalfoundry.lab.clock import MachineClock, stamp
from metalfoundry.lab.kubernetes.informer import Informer, amend
from metalfoundry.lab.kubernetes.store import NotFound, Object, Store, StoreError
from metalfoundry.lab.tinkerbell.log import ControlPlaneLog
from metalfoundry.lab.tinkerbell.rufio import JOBS
from metalfoundry.lab.tinkerbell.template import RenderError, render, template_values

SETTLED = ("PENDING", "SUCCESS", "FAILED", "TIMEOUT")


class Controller:
    """Reconciles every Workflow of the store, in a thread, from `start` to `stop`."""

    def __init__(self, store: Store, pace: MachineClock, journal: ControlPlaneLog) -> None:
        self._store = store
        self._pace = pace
        self._journal = journal
        self._workflows = Informer(store, "workflows")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-controller", daemon=True)
        self._done: dict[str, str] = {}  # uid -> resourceVersion that was looked at
        self._ends: dict[str, datetime] = {}  # uid -> when its global timeout strikes
        self._booting: set[str] = set()  # uids of those whose machine Rufio switches

    def start(self) -> None:
        """Begin to reconcile."""
        self._workflows.start()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._workflows.stop()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        seen = -1
        while not self._stop.is_set():
            seen = self._workflows.wait(seen, 0.1 if self._ends or self._booting else 1.0)
            for workflow in self._workflows.all():
                if self._due(workflow):
                    self._try(workflow)

    def _due(self, workflow: Object) -> bool:
        meta = workflow["metadata"]
        strikes = self._ends.get(meta["uid"])
        changed = self._done.get(meta["uid"]) != meta["resourceVersion"] or meta["uid"] in self._booting
        return changed or (strikes is not None and datetime.now(UTC) >= strikes)

    def _try(self, seen: Object) -> None:
        meta = seen["metadata"]
        try:
            self.reconcile(meta["name"])
            self._done[meta["uid"]] = meta["resourceVersion"]
        except NotFound:
            self._done[meta["uid"]] = meta["resourceVersion"]  # deleted meanwhile
        except StoreError as error:
            self._journal.reconcile_error(meta["name"], str(error))
            self._stop.wait(0.2)

    def reconcile(self, name: str) -> None:
        """Look at one Workflow once and do what its state asks for; raises StoreError."""
        workflow = self._store.get("workflows", name)
        state = workflow.get("status", {}).get("state", "")
        if state in SETTLED:
            self._ends.pop(workflow["metadata"]["uid"], None)
            self._journal.reconcile(name, ["controller will not trigger another reconcile"])
        elif state == "":
            self._new(workflow)
        elif state == "PREPARING":
            self._prepare(workflow)
        elif state == "RUNNING":
            self._running(workflow)
        elif state == "POST":
            self._post(workflow)

    def _write(self, workflow: Object, **status: object) -> None:
        """Merge `status`; `conditions` are added to those that stand there."""

        def change(obj: Object) -> bool:
            held = obj.setdefault("status", {})
            before = dict(held)
            for condition in status.get("conditions", ()):  # type: ignore[attr-defined]
                others = [old for old in held.get("conditions", []) if old["type"] != condition["type"]]
                same = [old for old in held.get("conditions", []) if _like(old, condition)]
                held["conditions"] = [*others, *(same or [condition])]
            held.update({key: value for key, value in status.items() if key != "conditions"})
            return bool(held != before)

        meta = workflow["metadata"]
        amend(self._store, "workflows", meta["name"], change, uid=meta["uid"])

    def _new(self, workflow: Object) -> None:
        name, spec = workflow["metadata"]["name"], workflow.get("spec", {})
        steps = ["new workflow", "patching status"]
        try:
            hardware = self._hardware(spec.get("hardwareRef", ""))
            if spec.get("disabled"):
                self._journal.reconcile(name, ["workflow is disabled"])
                self._write(workflow, agentID=_mac(hardware))
                return
            template = self._template(name, spec.get("templateRef", ""))
            seconds, tasks = render(name, template["spec"].get("data", ""), template_values(spec, hardware))
        except RenderError as error:
            text = str(error)
            known = text.startswith(("template not found", "hardware not found"))
            text = text if known else f"error rendering template: {text}"
            self._journal.reconcile(name, steps)
            self._journal.reconcile_error(name, text)
            condition = _condition("TemplateRenderedSuccess", text, status="False", reason="Error")
            self._write(workflow, conditions=[condition], templateRendering="failed")
            return
        boot = spec.get("bootOptions", {})
        self._journal.reconcile(name, steps)
        self._write(
            workflow,
            agentID=tasks[0]["agentID"],
            conditions=[_condition("TemplateRenderedSuccess", "template rendered successfully")],
            globalTimeout=seconds,
            state="PREPARING" if boot.get("toggleAllowNetboot") or boot.get("bootMode") else "PENDING",
            tasks=tasks,
            templateRendering="successful",
        )

    def _hardware(self, name: str) -> Object:
        try:
            return self._store.get("hardware", name)
        except NotFound as error:
            text = f'hardware not found: Hardware.tinkerbell.org "{name}" not found'
            raise RenderError(text) from error

    def _template(self, workflow: str, name: str) -> Object:
        try:
            return self._store.get("templates", name)
        except NotFound as error:
            self._journal.reconcile_error(workflow, f"no template found: name={name}", template=name)
            raise RenderError("template not found") from error

    def _prepare(self, workflow: Object) -> None:
        name, spec = workflow["metadata"]["name"], workflow["spec"]
        boot = spec.get("bootOptions", {})
        steps = ["preparing workflow"]
        conditions, done = [], dict(workflow["status"].get("bootOptions", {}))
        if boot.get("toggleAllowNetboot"):
            steps.append("toggling allowPXE true")
            self._allow(spec["hardwareRef"], True)
            conditions.append(_condition("AllowNetbootTrue", "set allowPXE to true"))
            done["allowNetboot"] = {"toggledTrue": True}
        state = "PENDING"
        if boot.get("bootMode"):
            done["jobs"] = {f"{boot['bootMode']}-{name}": {"existingJobDeleted": True}}
            state, condition = self._boot_job(f"{boot['bootMode']}-{name}", spec["hardwareRef"])
            conditions.append(condition)
            (self._booting.add if state == "PREPARING" else self._booting.discard)(workflow["metadata"]["uid"])
        self._journal.reconcile(name, [*steps, "patching status"])
        self._write(workflow, bootOptions=done, conditions=conditions, state=state)

    def _boot_job(self, name: str, hardware: str) -> tuple[str, dict[str, str]]:
        """The state that the Job of that name leaves the Workflow in, and its condition; the Job is created first. What
        the real conditions say while all goes well is not known here, so these say nothing.
        """
        spec = self._hardware(hardware)["spec"]
        if not spec.get("bmcRef"):
            text = f'error creating job: hardware "{hardware}" does not have a BMC'
            return "FAILED", _condition("BootJobSetupFailed", text, reason="Error")
        try:
            job = self._store.get(JOBS, name)
        except NotFound:
            uefi = any(interface.get("dhcp", {}).get("uefi") for interface in spec.get("interfaces", []))
            once = {"oneTimeBootDeviceAction": {"device": ["pxe"], "efiBoot": uefi}}
            tasks = [{"powerAction": "off"}, once, {"powerAction": "on"}]
            machine = {"name": spec["bmcRef"]["name"], "namespace": "tink-system"}
            job = {"metadata": {"name": name}, "spec": {"machineRef": machine, "tasks": tasks}}
            self._store.create(JOBS, job)
        told = {condition["type"] for condition in job.get("status", {}).get("conditions", [])}
        if "Failed" in told:
            return "FAILED", _condition("BootJobFailed", "job failed", reason="Error")
        done = "Completed" in told
        return ("PENDING" if done else "PREPARING"), _condition("BootJobComplete" if done else "BootJobRunning", "")

    def _running(self, workflow: Object) -> None:
        meta, status = workflow["metadata"], workflow["status"]
        steps = ["process running workflow"]
        stop = self._ends.get(meta["uid"])
        if stop is None and "globalExecutionStop" not in status:
            first = status["tasks"][0]["actions"][0]
            if status.get("currentState", {}).get("actionID") == first["id"] and first.get("executionStart"):
                # Armed here and nowhere else: a second action that is quick enough leaves it unarmed for ever.
                ends = datetime.now(UTC) + timedelta(seconds=self._pace.real(status["globalTimeout"]))
                self._ends[meta["uid"]] = ends
                steps += ["global execution times set", "patching status"]
                self._write(workflow, globalExecutionStop=stamp(ends))
        elif stop is not None and datetime.now(UTC) >= stop:
            self._ends.pop(meta["uid"])
            self._write(workflow, state="TIMEOUT")
        self._journal.reconcile(meta["name"], steps)

    def _post(self, workflow: Object) -> None:
        name, spec, status = workflow["metadata"]["name"], workflow["spec"], workflow["status"]
        steps, conditions, done = ["post actions"], [], dict(status.get("bootOptions", {}))
        if spec.get("bootOptions", {}).get("toggleAllowNetboot"):
            steps.append("toggling allowPXE false")
            self._allow(spec["hardwareRef"], False)
            conditions.append(_condition("AllowNetbootFalse", "set allowPXE to false"))
            done["allowNetboot"] = {**done.get("allowNetboot", {}), "toggledFalse": True}
        self._journal.reconcile(name, [*steps, "patching status"])
        changes = {"bootOptions": done} if done else {}
        self._write(workflow, **changes, conditions=conditions, state=status["currentState"]["state"])

    def _allow(self, hardware: str, value: bool) -> None:
        """allowPXE on all interfaces, with a `netboot` block where there is none: Tinkerbell knows no single one."""

        def change(obj: Object) -> bool:
            for interface in obj["spec"].get("interfaces", []):
                interface.setdefault("netboot", {})["allowPXE"] = value
            return True

        amend(self._store, "hardware", hardware, change)


def _condition(kind: str, message: str, *, status: str = "True", reason: str = "Complete") -> dict[str, str]:
    return {"message": message, "reason": reason, "status": status, "time": stamp(), "type": kind}


def _like(one: Object, other: Object) -> bool:
    return all(one.get(key) == other.get(key) for key in ("type", "status", "reason", "message"))


def _mac(hardware: Object) -> str:
    interfaces = hardware["spec"].get("interfaces") or [{}]
    return str(interfaces[0].get("dhcp", {}).get("mac", ""))
