"""What the lab's cluster refuses beyond the store's own errors, in kube-apiserver's words."""

from __future__ import annotations

from metalfoundry.lab.kubernetes.store import Invalid, StoreError


class BadRequest(StoreError):
    """A request that cannot be read: a patch of the wrong form, an unknown field in a strict create."""

    reason, code = "BadRequest", 400


class Forbidden(StoreError):
    """The user may not do this."""

    reason, code = "Forbidden", 403


class InvalidObject(Invalid):
    """An object that breaks its schema."""

    def __init__(self, kind: str, name: str, causes: list[str]) -> None:
        super().__init__(f'The {kind} "{name}" is invalid: ' + _joined(causes))
        self.causes = tuple(causes)


class BarePatch(Invalid):
    """A JSON patch that does not apply. kube-apiserver gives no reason; `why` is for the lab's own logs."""

    def __init__(self, why: str) -> None:
        super().__init__("The request is invalid: the server rejected our request due to an error in our request")
        self.why = why


def _joined(causes: list[str]) -> str:
    return causes[0] if len(causes) == 1 else "\n" + "\n".join(f"* {cause}" for cause in causes)
