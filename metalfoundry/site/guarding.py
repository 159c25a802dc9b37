"""The guard of one window: armed and seen alive before netboot opens, extended while we live, disarmed at the end."""

from __future__ import annotations

import secrets

from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.guard import REFUSED_BY_LOGIND, Guard, read_words, reap_guards
from metalfoundry.commands.script import Part
from metalfoundry.model.errors import PreflightError, TransportError
from metalfoundry.model.events import GuardChanged
from metalfoundry.model.inventory import Server
from metalfoundry.model.states import GuardChange
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

CAP_GRACE_SECONDS = 600.0
ARM_SECONDS = 30.0


class Guarding:
    """One guard on the jump host. `armed` from the moment that it may be there.

    `shut`: why it has shut the window already ("" as a rule); it closes again whatever is opened after that.
    """

    def __init__(self, site: Site, server: Server, run: str) -> None:
        self._site = site
        self._server = server
        self._guard = Guard(run, secrets.token_hex(8))
        self.armed = False
        self.shut = ""

    @property
    def hard_cap(self) -> float:
        """Seconds after which it closes whatever we say: all timeouts together, and some grace."""
        limits = self._site.inventory.timeouts
        return limits.netboot + limits.install + limits.boot + limits.verify + CAP_GRACE_SECONDS

    def arm(self, workflow: str, boot_action: str | None, lease: float) -> None:
        """Start it and see it guard, over a new exec. Raises PreflightError when it does not; it is ended then."""
        deadline = Deadline.after(self._site.clock, ARM_SECONDS)
        if not self.armed:
            self._start(self.arming(workflow, boot_action, lease), deadline)
        alive = self._site.transport.run(self._site.jump, self._guard.alive(), deadline)
        words = read_words(alive.stdout)
        self.shut = words.get("shut", "")
        if not alive.ok:
            raise self._not_armed(f"{alive.stderr}\n{alive.stdout}".strip(), alive.exit_status)
        self._site.bus.emit(GuardChanged(GuardChange.ARMED, f"pid {words.get('pid', '?')} on {self._site.jump.name}"))

    def arming(self, workflow: str, boot_action: str | None, lease: float) -> Part:
        """The part that starts it: for a claim on a window that may be open already, so that both are one exec.

        `arm` has to follow, and then only sees it guard.
        """
        self.armed = True
        return self._guard.arm(
            kubectl=self._site.kubectl.words,
            namespace=self._site.kubectl.namespace,
            hardware=self._server.hardware,
            workflow=workflow,
            boot_action=boot_action or "",
            until_end=self._server.netboot_until == "end",
            lease=lease,
            hard_cap=self.hard_cap,
        )

    def extend(self, lease: float) -> list[Part]:
        """The part that lets it hold for `lease` more seconds; none where it is not armed."""
        return [self._guard.extend(lease)] if self.armed else []

    def disarm(self) -> list[Part]:
        """The parts that end it, and remove what guards of earlier runs on this server left; none if not armed."""
        return [self._guard.disarm(), reap_guards(self._server.hardware)] if self.armed else []

    def disarmed(self) -> None:
        """Its end was asked for together with the release of the claim, without which it ends by itself."""
        if self.armed:
            self.armed = False
            self._site.bus.emit(GuardChanged(GuardChange.DISARMED))

    def _start(self, part: Part, deadline: Deadline) -> None:
        try:
            command = Command(part.argv, stdin=part.stdin, effect=Effect.WRITE)
            armed = self._site.transport.run(self._site.jump, command, deadline)
            if not armed.ok:
                self.armed = False
                raise self._not_armed(armed.stderr, armed.exit_status)
        except TransportError as error:
            if not error.sent:
                self.armed = False
                raise

    def _not_armed(self, said: str, status: int) -> PreflightError:
        step = "look at ~/.local/state/metalfoundry/guards there; is there room, and are sh, mkfifo and setsid?"
        if status == REFUSED_BY_LOGIND and "remedy:" in said:
            step = "on the jump host: " + said.split("remedy:", 1)[1].strip()
        return PreflightError(
            "the guard could not be armed, so netboot stays closed",
            where=f"jump host {self._site.jump.name}",
            next=step,
            evidence=said,
        )
