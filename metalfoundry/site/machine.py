"""One server over its own SSH: what it is, reboot, and who answers when it comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from metalfoundry.commands import machine as said
from metalfoundry.commands.boot_order import BOOT_ORDER, boot_next, read_boot_order
from metalfoundry.commands.command import Command
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.published_keys import published_keys
from metalfoundry.model.errors import (
    AuthError,
    CommandError,
    ConnectError,
    DeadlineExceeded,
    HostKeyError,
    LinkLost,
    MachineSlow,
    NeverInstalled,
    TransportError,
    VerificationFailed,
)
from metalfoundry.model.events import Notice
from metalfoundry.model.hosts import Host, HostKeyPolicy, ServerKey
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.site.site import Site
from metalfoundry.transport.base import Transport
from metalfoundry.transport.clock import Deadline
from metalfoundry.transport.ssh_config import record_key

VERIFY_SECONDS = 60.0
SLOW_SECONDS = 5.0
MOST_LOOKS = 4
HANGING_SECONDS = 0.75
REBOOT_SECONDS = 20.0
ANSWERS = (AuthError, HostKeyError)
"""The machine lives, and who it is, or who we are, is in doubt: nobody cuts its power unasked."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The verbs on one server; `address` is where it answers, `published` the host keys that its Hardware publishes."""

    site: Site
    server: Server
    address: str | None
    published: tuple[ServerKey, ...] = ()

    @classmethod
    def of(cls, site: Site, server: Server, hardware: Hardware | None) -> Machine:
        """The machine of this Hardware; None where it is not known, or not yet."""
        return cls(site, server, hardware.address if hardware else None, published_keys(hardware))

    @property
    def host(self) -> Host:
        """As root, with the host key that is known: pinned, in known_hosts, or published."""
        return replace(self.server.host(self.site.inventory.site, self.address), published=self.published)

    @property
    def newcomer(self) -> Host:
        """The same address while it is being re-installed: its key is the pinned one, else new, and learned."""
        return replace(self.host, host_key=HostKeyPolicy.LEARN, published=())

    def facts(self, deadline: Deadline) -> MachineFacts:
        """What the machine says before anything is done to it, its host key checked.

        HookOS makes new keys at each boot: where the key has changed, the one question whether this is HookOS is
        asked all the same; any other system's changed key stays the error that it is. Raises TransportError.
        """
        try:
            return self._ask(self.host, deadline.within(self._limit), self.site.transport)
        except HostKeyError as changed:
            return self._hook_alone(changed, deadline.within(self._limit), self.site.transport)

    def reboot(self, deadline: Deadline, force: bool = False) -> None:
        """Send `reboot` as root; with `force` past its init, which may hang.

        A link that dies, or a silence, is what a reboot looks like, and no error here.

        Raises NeverInstalled when the machine refuses to, and ConnectError when it cannot be asked.
        """
        try:
            self._reboot(self.host, said.FORCED_REBOOT if force else said.REBOOT, deadline)
        except CommandError as error:
            raise NeverInstalled(
                f"{self.server.name} refused to reboot (exit status {error.exit_status})",
                where=self.host.name,
                next=f"reboot it by hand, with: {ours('provision', self.server.name, '--no-reboot')}",
                evidence=error.evidence,
            ) from error

    def boot_network_next(self, mac: str, deadline: Deadline) -> str:
        """Have its firmware boot once from the network, by the interface with that MAC. Return why it does not: the
        firmware, or efibootmgr, has no such entry; "" where it does. Raises TransportError.
        """
        told = self.site.transport.run(self.host, BOOT_ORDER, deadline.within(REBOOT_SECONDS))
        order = read_boot_order(told.stdout) if told.ok else None
        if order is None:
            return "efibootmgr tells no boot order: not UEFI, or it is not installed"
        number = order.network_entry(mac)
        if not number:
            return f"its firmware knows no network entry for {mac}"
        done = self.site.transport.run(self.host, boot_next(number), deadline.within(REBOOT_SECONDS))
        return "" if done.ok else f"efibootmgr -n {number} ended with {done.exit_status}"

    def reboot_new(self, deadline: Deadline) -> None:
        """As `reboot`, said to the new system by the user who verifies, with sudo where that is not root. Raises
        VerificationFailed when it refuses to.
        """
        host, command = self._verifier, self.reboots_new
        try:
            self._reboot(host, command, deadline)
        except CommandError as error:
            raise VerificationFailed(
                f"the new system of {self.server.name} refused to reboot (exit status {error.exit_status})",
                where=f"{host.user}@{host.address}",
                next=f"let {host.user} run `{command.line}` there without a password, or leave verify.reboot out",
                evidence=error.evidence,
            ) from error

    def _reboot(self, host: Host, command: Command, deadline: Deadline) -> None:
        """Raises CommandError where it is refused."""
        try:
            self.site.transport.run(host, command, deadline.within(REBOOT_SECONDS)).check("refused")
        except (LinkLost, DeadlineExceeded) as error:
            if not error.sent:
                raise
        except CommandError as error:
            if 0 <= error.exit_status <= 128:  # else it was killed by the shutdown that it started
                raise
        finally:
            self.site.transport.disconnect(host)

    def look(self) -> MachineFacts:
        """What answers now as root, whoever it is: its key is learned, for it must be new, but where one is pinned:
        then HookOS alone may show another. Raises TransportError.
        """
        deadline = Deadline.after(self.site.clock, self._limit)
        try:
            return self._ask(self.newcomer, deadline, self.site.lookout)
        except HostKeyError as changed:
            return self._hook_alone(changed, deadline, self.site.lookout)

    def verify(self) -> MachineFacts:
        """As `look`, as the user who verifies, with the operator's own checks run; where that user is refused, root
        is asked what this system is."""
        deadline = Deadline.after(self.site.clock, max(VERIFY_SECONDS, self._limit))
        try:
            return self._ask(self._verifier, deadline, self.site.lookout, self.server.verify.commands)
        except AuthError:
            if self._verifier.user == self.host.user:
                raise
            return self._ask(self.newcomer, deadline, self.site.lookout)
        except HostKeyError as changed:
            return self._hook_alone(changed, deadline, self.site.lookout)

    def server_key(self) -> ServerKey | None:
        """The key of the system that answered last."""
        return self.site.transport.server_key(self._verifier)

    def record_key(self, key: ServerKey) -> str | None:
        """Write the new system's key into known_hosts in place of the old one; return what it replaced.

        Raises TransportError or OSError when that cannot be done.
        """
        return record_key(self.host, key)

    @property
    def reboots_new(self) -> Command:
        """What reboots the new system."""
        return said.REBOOT if self._verifier.user == "root" else said.REBOOT_AS_USER

    @property
    def answers(self) -> bool:
        """Whether a connection to it stands, so that there is nothing to try again but to wait."""
        return any(self.site.lookout.server_key(host) for host in (self.newcomer, self._verifier))

    @property
    def _limit(self) -> float:
        return self.site.inventory.timeouts.facts

    @property
    def _verifier(self) -> Host:
        return replace(self.newcomer, user=self.server.verify.user or self.host.user)

    def _hook_alone(self, changed: HostKeyError, deadline: Deadline, transport: Transport) -> MachineFacts:
        """What HookOS says, where it is what answers with a key that is not the known one; raises `changed` otherwise.
        A revoked key answers nothing.
        """
        anybody = self.host.anybody
        try:
            seen = self._ask(anybody, deadline, transport)
        except TransportError:
            raise changed from None
        if not seen.in_hook:
            transport.disconnect(anybody)
            raise changed from None
        return seen

    def _ask(self, host: Host, deadline: Deadline, transport: Transport, checks: Sequence[str] = ()) -> MachineFacts:
        wanted = self.server.verify
        command = said.facts(wanted.marker or said.DEFAULT_MARKER, wanted.cloud_init, checks)
        given = deadline.remaining()
        try:
            result = transport.run(host, command, deadline)
        except DeadlineExceeded as error:
            if not error.sent:
                raise
            raise MachineSlow(
                f"{host.name} answers SSH, but has not said what it is within {given:.0f} s",
                where=error.where,
                next="wait for it, or raise timeouts.facts in the inventory",
                sent=True,
            ) from error
        if result.seconds >= SLOW_SECONDS:
            self.site.bus.emit(Notice(f"{host.name} is slow: it took {result.seconds:.0f} s to say what it is"))
        seen = said.read_facts(result.stdout, wanted.marker or said.DEFAULT_MARKER)
        if not seen.boot_id:
            raise ConnectError(
                f"{host.name} answers SSH, but does not report a boot id",
                where=host.address,
                next=f"ssh {host.user}@{host.address} cat /proc/sys/kernel/random/boot_id",
                evidence=(result.stderr or result.stdout)[-500:],
            )
        key = transport.server_key(host)
        return replace(seen, host_key=key.fingerprint if key else "")


class Watcher:
    """Looks at a machine again and again in the background.

    A look that hangs, as when the first packets were lost, does not keep the next one back: up to MOST_LOOKS are under
    way at once, unless the machine `answers` already.
    """

    def __init__(
        self,
        site: Site,
        look: Callable[[], MachineFacts],
        every: float = 0.5,
        answers: Callable[[], bool] = lambda: False,
    ) -> None:
        self._site = site
        self._take = look
        self._every = every
        self._answers = answers
        self._next = 0.0
        self._looks: list[Future[MachineFacts]] = []

    def poll(self) -> MachineFacts | TransportError | None:
        """The outcome of a look that has just ended, else None; starts the next look when its time has come."""
        now = self._site.clock.now().mono
        ended = next((look for look in self._looks if look.done()), None)
        if ended is not None:
            self._looks.remove(ended)
            if not self._looks:
                self._next = now + self._every
            return self._outcome(ended)
        hanging = len(self._looks)
        if now >= self._next and (not hanging or (hanging < MOST_LOOKS and not self._answers())):
            self._looks.append(self._site.background(self._take))
            self._next = now + HANGING_SECONDS
        return None

    def _outcome(self, look: Future[MachineFacts]) -> MachineFacts | TransportError:
        error = look.exception()
        if error is None:
            self._looks.clear()  # what the others began before this is older
            return look.result()
        if isinstance(error, TransportError):
            return error
        raise error
