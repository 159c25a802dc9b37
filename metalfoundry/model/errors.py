"""Every error the library raises: what happened, where, and what to do now.

    MetalfoundryError                    1  unexpected
    ├── UsageError                       2  invalid command-line arguments
    │   └── InventoryError               2  inventory.yaml; carries every fault at once
    ├── PreflightError                  10  nothing was changed; once the claim is taken, the code of the phase it ends
    │   └── TransportError              10  the way to a host
    │       ├── ConnectError                name, route or port does not answer
    │       │   ├── PortClosed              the host is there, and nothing listens on that port
    │       │   ├── AuthError               the host refuses our keys
    │       │   └── HostKeyError            the host's key is unknown or has changed
    │       ├── LinkLost                    the connection was cut; `sent` says whether the command had left
    │       ├── DeadlineExceeded            no answer in time; `sent` as above
    │       │   └── MachineSlow             sshd answers, and needs longer than timeouts.facts
    │       ├── ApiAway                     the jump host answers, the API server behind it does not; `sent` as above
    │       ├── TooMuchOutput               a command printed more than it may
    │       └── WatchBroken                 watches end as soon as they begin
    ├── CommandError                    10  a remote command ended with an exit status that means failure
    ├── IdentityError                   11  the machine is not the one the Hardware record describes
    ├── Declined                        12  protected, or a person said no
    ├── ClaimedError                    20  another run holds the server
    ├── GateClosed                       1  a WRITE was refused at the gate (plan mode, cancelled, claim lost)
    ├── NeverInstalled                  30  the machine never reached the installer
    ├── WorkflowFailed                  31  Tinkerbell ended the Workflow as FAILED, or it was deleted
    ├── WorkflowTimedOut                32  Tinkerbell or our own clock ran out
    ├── VerificationFailed              33  the system that came up is not the new one, or not as asked
    ├── UnsafeError                     40  netboot is not confirmed closed; wins over all others
    ├── FleetFailed                     50  part of a fleet failed
    └── Interrupted                    130  Ctrl-C, SIGTERM (143), or the library's cancel; the window is closed

Judge by type and `exit_code`, never by the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalfoundry.model.hosts import ServerKey

DEBUG = "run it again with METALFOUNDRY_DEBUG=1 in the environment, and report what it prints"


class MetalfoundryError(Exception):
    """Base of the tree: `what` happened, `where` (host, object, file:line), `next` (a step, often a command)."""

    exit_code: int = 1

    def __init__(self, what: str, *, where: str = "", next: str = "", evidence: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next
        self.evidence = evidence

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


class UsageError(MetalfoundryError):
    """Invalid command-line arguments."""

    exit_code = 2


class InventoryError(UsageError):
    """The inventory cannot be used; `faults` holds one line for each fault, all found at once."""

    def __init__(self, what: str, *, where: str = "", next: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(what, where=where, next=next, evidence="\n".join(faults))
        self.faults = faults


class PreflightError(MetalfoundryError):
    """Found wrong before anything was written."""

    exit_code = 10


class TransportError(PreflightError):
    """The way to a host failed. `sent`: whether the command may have taken effect there."""

    def __init__(self, what: str, *, where: str = "", next: str = "", evidence: str = "", sent: bool = False) -> None:
        super().__init__(what, where=where, next=next, evidence=evidence)
        self.sent = sent


class ConnectError(TransportError):
    """The host cannot be reached: name, route, port, or nothing that speaks SSH."""


class PortClosed(ConnectError):
    """The host is there, and nothing listens on that port."""


class AuthError(ConnectError):
    """The host was reached and refuses every key offered."""


class HostKeyError(ConnectError):
    """The host's key is unknown or differs from known_hosts. `unknown`: what known_hosts calls the host, and the
    key that it shows, where known_hosts has none for it. `forget`: the command that takes the known key out of
    known_hosts, where that has another one; "" elsewhere.
    """

    unknown: tuple[str, ServerKey] | None = None
    forget: str = ""


class LinkLost(TransportError):
    """The connection was cut while a command was under way."""


class DeadlineExceeded(TransportError):
    """No answer before the deadline."""


class MachineSlow(DeadlineExceeded):
    """The machine's sshd answers, and what it was asked is not answered in time: it is slow, not silent."""


class ApiAway(TransportError):
    """The API server does not answer the jump host: a lost link, one hop further on."""


class TooMuchOutput(TransportError):
    """A command printed more than it may; what it did there is not known."""


class WatchBroken(TransportError):
    """Watches end as soon as they begin: there is no way to see what happens. `evidence` has their last words."""


class CommandError(MetalfoundryError):
    """A remote command failed; `stderr` is kept whole."""

    exit_code = 10

    def __init__(self, what: str, *, where: str = "", next: str = "", exit_status: int = 1, stderr: str = "") -> None:
        super().__init__(what, where=where, next=next, evidence=stderr.strip())
        self.exit_status = exit_status
        self.stderr = stderr


class IdentityError(MetalfoundryError):
    """The machine that answers is not the one in the Hardware record."""

    exit_code = 11


class Declined(MetalfoundryError):
    """Nobody confirmed, or the server is protected."""

    exit_code = 12


class ClaimedError(MetalfoundryError):
    """Another live run, or a live Workflow of the same agent, holds the server."""

    exit_code = 20


class GateClosed(MetalfoundryError):
    """A WRITE came to the gate while writing is not allowed."""


class NeverInstalled(MetalfoundryError):
    """The machine did not reach the installer."""

    exit_code = 30


class WorkflowFailed(MetalfoundryError):
    """The Workflow ended as FAILED, or disappeared."""

    exit_code = 31


class WorkflowTimedOut(MetalfoundryError):
    """The Workflow ended as TIMEOUT, or did not end before our own deadline."""

    exit_code = 32


class VerificationFailed(MetalfoundryError):
    """The new system was not seen running as asked."""

    exit_code = 33


class UnsafeError(MetalfoundryError):
    """Netboot could not be confirmed closed: the next boot may wipe the server."""

    exit_code = 40


class FleetFailed(MetalfoundryError):
    """Some of several servers failed; each has its own error."""

    exit_code = 50


class Interrupted(MetalfoundryError):
    """Ended by a signal or a cancel, with the window closed; `exit_code` is 128 + the signal."""

    exit_code = 130

    def __init__(self, what: str, *, next: str = "", signal: int = 2) -> None:
        super().__init__(what, next=next)
        self.signal = signal
        self.exit_code = 128 + signal


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, to be treated like Ctrl-C; `signal` is its number."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Cancelled(KeyboardInterrupt):
    """The library's cancel, to be treated like Ctrl-C; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def error_fields(error: BaseException) -> dict[str, str]:
    """`what`, `where`, `next` and `evidence` of any error, as reports hold them; "" for what there is not."""
    if isinstance(error, MetalfoundryError):
        return {"what": error.what, "where": error.where, "next": error.next, "evidence": error.evidence}
    return {"what": f"unexpected: {error!r}", "where": "", "next": DEBUG, "evidence": ""}
