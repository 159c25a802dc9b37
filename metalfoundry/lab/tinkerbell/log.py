"""The control plane's log: JSON lines of the same shapes as Tinkerbell 0.21 writes."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from metalfoundry.lab.clock import fine_stamp

Sink = Callable[[str], None]


class ControlPlaneLog:
    """Keeps every line and hands it on to `sink`, where a store keeps pod logs. Safe for many threads."""

    def __init__(self, namespace: str = "tink-system", sink: Sink | None = None) -> None:
        self._namespace = namespace
        self._sink = sink
        self._lines: list[str] = []
        self._lock = threading.Lock()

    def lines(self, containing: str = "") -> list[str]:
        """The lines so far that hold `containing`."""
        with self._lock:
            return [line for line in self._lines if containing in line]

    def write(self, logger: str, caller: str, msg: str, level: int = 0, **fields: Any) -> None:
        """One line; `fields` follow the logger's name."""
        head = {"time": fine_stamp(), "level": str(level), "caller": caller, "msg": msg}
        line = json.dumps({**head, "logger": logger, **fields}, separators=(",", ":"))
        with self._lock:
            self._lines.append(line)
            if self._sink is not None:
                self._sink(line)

    def smee_response(self, uri: str, client: str, status: int) -> None:
        """Smee answered a request."""
        self.write(
            "smee",
            "internal/ipxe/http/middleware.go:37",
            "response",
            method="GET",
            uri=uri,
            client=client,
            duration=381788,
            status=status,
        )

    def smee_denied(self, mac: str) -> None:
        """Smee refuses a script. It names the machine by the base64 of the MAC's six bytes."""
        client = base64.b64encode(bytes.fromhex(mac.replace(":", ""))).decode()
        text = "the hardware data for this machine, or lack there of, does not allow it to pxe"
        self.write("smee", "internal/ipxe/script/ipxe.go:153", text, client=client, error=None)

    def syslog(self, host: str, app: str, text: str, severity: str = "INFO") -> None:
        """A line that a machine sent to Smee's syslog."""
        entry = {"app-name": app, "facility": "daemon", "host": host, "msg": text, "procid": "1", "severity": severity}
        self.write("smee", "internal/syslog/receiver.go:167", "syslog message received", logEntry=entry)

    def sending_action(self, agent: str, action: dict[str, Any]) -> None:
        """tink-server hands out an action."""
        caller = "server/internal/grpc/grpc.go:262"
        self.write("tink-server", caller, "sending action", agent=agent, action=action, actionID=action["action_id"])

    def get_action(self, agent: str, steps: Iterable[str]) -> None:
        """tink-server's V(1) journal of one GetAction: the only place where a refusal is seen."""
        source = {"function": "doGetAction()", "file": "grpc.go", "line": 144}
        journal = [{"msg": step, "source": source, "time": fine_stamp()} for step in steps]
        caller = "server/internal/grpc/grpc.go:88"
        self.write("tink-server", caller, "GetAction code flow journal", -1, agent=agent, journal=journal)

    def reconcile(self, name: str, steps: Iterable[str]) -> None:
        """The controller looked at a Workflow: its line, and its V(1) journal."""
        who = self._workflow(name)
        base = "controller/internal/workflow/reconciler.go"
        source = {"function": "Reconcile()", "file": "reconciler.go", "line": 122}
        journal = [{"msg": step, "source": source, "time": fine_stamp()} for step in ("starting reconcile", *steps)]
        self.write("tink-controller", f"{base}:121", "Reconcile", **who)
        self.write("tink-controller", f"{base}:119", "Reconcile code flow journal", -1, **who, journal=journal)

    def reconcile_error(self, name: str, err: str, *, template: str = "") -> None:
        """The controller could not go on with a Workflow."""
        who = self._workflow(name)
        if template:
            self.write(
                "tink-controller",
                "controller/internal/workflow/reconciler.go:240",
                "error getting Template object in processNewWorkflow function",
                8,
                **who,
                err=f'Template.tinkerbell.org "{template}" not found',
            )
        caller = "sigs.k8s.io/controller-runtime@v0.21.0/pkg/internal/controller/controller.go:353"
        self.write("tink-controller", caller, "Reconciler error", 8, **who, err=err)

    def _workflow(self, name: str) -> dict[str, Any]:
        return {
            "controller": "workflow",
            "controllerGroup": "tinkerbell.org",
            "controllerKind": "Workflow",
            "Workflow": {"name": name, "namespace": self._namespace},
            "namespace": self._namespace,
            "name": name,
            "reconcileID": str(uuid.uuid4()),
        }
