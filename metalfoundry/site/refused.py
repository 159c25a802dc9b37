"""What kubectl's failures mean here: an error of the tree for each, with the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalfoundry.commands import ssh
from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import HARDWARE, Refusal, never_arrived, refusal
from metalfoundry.commands.rights import Right
from metalfoundry.commands.script import Outcome
from metalfoundry.model.errors import ApiAway, PreflightError
from metalfoundry.model.program import ours
from metalfoundry.site.site import Site
from metalfoundry.transport.base import Result

_REQUESTS = ("patch", "apply", "create", "delete", "object", "objects", "machine", "tasks")


def api_away(site: Site, outcomes: Mapping[str, Outcome], effect: Effect) -> ApiAway | None:
    """The error for a script in which the API server did not answer one request; None where it answered all.

    `sent` is False only where no request of it can have had an effect.
    """
    requests = [outcomes[name] for name in _REQUESTS if name in outcomes]
    away = next((outcome for outcome in requests if not outcome.ok and _kind(outcome) is Refusal.API_AWAY), None)
    if away is None:
        return None
    arrived = any(outcome.ok or not never_arrived(outcome.stderr) for outcome in requests)
    what, step = _words(site, Refusal.API_AWAY)
    return ApiAway(
        what, where=_where(site), next=step, evidence=away.stderr, sent=arrived and effect is not Effect.READ
    )


def refused(site: Site, outcome: Outcome) -> PreflightError:
    """The error for a request that failed."""
    what, step = _words(site, _kind(outcome))
    return PreflightError(what, where=_where(site), next=step, evidence=outcome.stderr or outcome.stdout[-500:])


def may_not(site: Site, missing: Sequence[Right]) -> PreflightError:
    """The error where kubectl lacks these rights."""
    return PreflightError(
        f"kubectl on the jump host may not {', '.join(map(str, missing))}",
        where=f"{_where(site)}, namespace {site.kubectl.namespace}",
        next=_apply_role(),
    )


def script_unrun(site: Site, result: Result) -> PreflightError:
    """The error for a jump host that ran nothing of our script."""
    return PreflightError(
        "the jump host did not run our script",
        where=site.jump.name,
        next=ssh.remotely(site.jump, ("sh", "-c", "true")),
        evidence=(result.stderr or result.stdout)[-2000:],
    )


def _words(site: Site, kind: Refusal) -> tuple[str, str]:
    words, hint = " ".join(site.kubectl.words), site.kubectl_hint
    return {
        Refusal.NO_KUBECTL: (f"there is no `{words}`", "install kubectl there, or spell it right in site.kubectl"),
        Refusal.API_AWAY: ("kubectl does not reach the API server", hint("get", "--raw", "/readyz")),
        Refusal.FORBIDDEN: ("kubectl may not do this", _apply_role()),
        Refusal.UNAUTHORIZED: ("the API server does not know this user", hint("config", "view", "--minify")),
        Refusal.NO_CRD: ("this cluster has no Tinkerbell objects", hint("api-resources", "--api-group=tinkerbell.org")),
        Refusal.NOT_FOUND: ("kubectl did not find it", hint("get", HARDWARE)),
        Refusal.OTHER: ("kubectl failed", hint("get", HARDWARE)),
    }[kind]


def _apply_role() -> str:
    return f"have an administrator apply what this prints: {ours('rbac.print', '--user', 'NAME')}"


def _where(site: Site) -> str:
    return f"jump host {site.jump.name}"


def _kind(outcome: Outcome) -> Refusal:
    return refusal(outcome.exit_status, outcome.stderr)
