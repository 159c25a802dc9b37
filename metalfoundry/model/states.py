"""The words for a state, each written once: by the product or by Tinkerbell, and compared with by all that judge."""

from __future__ import annotations

from enum import StrEnum


class ClaimPhase(StrEnum):
    """`phase` of the window annotation: the last one that the run wrote down."""

    CLAIM = "Claim"
    BOOT = "Boot"  # written by the very patch that opens netboot
    BY_HAND = "by hand"


class ClaimState(StrEnum):
    """What became of the claim (ClaimChanged)."""

    TAKEN = "taken"
    TAKEN_OVER = "taken over"
    LOST = "lost"
    GIVEN_BACK = "given back"
    BROKEN = "broken"
    FOLLOWED = "followed"


class WindowState(StrEnum):
    """What became of netboot (WindowChanged)."""

    OPEN = "open"
    CLOSED = "closed"
    OPENED_BY_OTHER = "opened by somebody else"
    CLOSED_BY_OTHER = "closed by somebody else"


class GuardState(StrEnum):
    """A guard, by its word on the object and what the jump host knows of its own."""

    GUARDING = "guarding"
    STUCK = "stuck"
    NONE = "none"


class GuardChange(StrEnum):
    """What is known of the guard (GuardChanged)."""

    ARMED = "armed"


class SshAnswer(StrEnum):
    """How a machine's sshd took us; REFUSED: its network answers, and nothing listens."""

    OK = "ok"
    DENIED = "denied"
    KEY_CHANGED = "key-changed"
    REFUSED = "refused"
    SLOW = "slow"
    SILENT = "silent"


class WorkflowState(StrEnum):
    """status.state of a Workflow, without STATE_ (tink before 0.17). NONE: not rendered yet."""

    NONE = ""
    PREPARING = "PREPARING"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    POST = "POST"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"


class BmcState(StrEnum):
    """A Job or Task of Rufio, by its condition that is True."""

    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
