"""The guard in the cluster: install it and see it guard, look at it, remove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalfoundry.commands import claims, guard_cluster, workload
from metalfoundry.commands.command import Effect
from metalfoundry.commands.guard_cluster import NAME, SELECTOR, GuardDeployment
from metalfoundry.commands.kubectl import Refusal, read_only, refusal
from metalfoundry.commands.script import Outcome, Part, read_script, script
from metalfoundry.commands.workload import DEPLOYMENTS
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.program import ours
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.refused import refused
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline

PATIENCE_SECONDS = 180.0  # an image of some hundred megabytes has to come first
PAUSE_SECONDS = 1.0
GRACE_SECONDS = 5.0  # a pod may be quicker than the rights that were given to it a moment ago
COMMAND_SECONDS = 60.0


def manifests(site: Site, image: str = "") -> str:
    """What `install` would apply, as YAML."""
    wanted = site.inventory.site.guard
    return guard_cluster.manifests(site.kubectl.namespace, image or wanted.image, wanted.kubectl)


def install(site: Site, image: str = "") -> list[str]:
    """Apply it, wait until it guards, and only then remove what an old version has left in the cluster: return the
    names of that, KIND/NAME. Raises PreflightError when something is refused, or it does not come to guard.
    """
    wanted = site.inventory.site.guard
    applied = _do(site, [guard_cluster.install(site.kubectl, image or wanted.image, wanted.kubectl)], Effect.WRITE)
    _accepted(site, applied, image)
    _await(site)
    old = guard_cluster.read_sweeper(_do(site, [guard_cluster.find_sweeper(site.kubectl)], Effect.READ)["sweeper"])
    if old:
        _accepted(site, _do(site, guard_cluster.delete(site.kubectl, old), Effect.WRITE), image)
    return old


def remove(site: Site, *, force: bool = False) -> None:
    """Delete it; while runs hold servers only by `force`. Raises PreflightError where they do, or it is refused."""
    everything = Cluster(site).all_hardware(Deadline.after(site.clock, COMMAND_SECONDS))
    held = [hardware.name for hardware in everything if claims.claim_of(hardware)]
    if held and not force:
        raise PreflightError(
            f"runs hold {', '.join(held)}: the guard may have to close their windows",
            where=_where(site),
            next=f"{ours('netboot.status')}, and when they are over: {ours('guard.remove')}",
        )
    _accepted(site, _do(site, guard_cluster.remove(site.kubectl), Effect.WRITE), "")


def status(site: Site) -> GuardDeployment | None:
    """As it stands; None when it is not installed. Raises PreflightError when it may not be read."""
    outcomes = _do(site, guard_cluster.look(site.kubectl), Effect.READ)
    if not outcomes["object"].ok:
        raise refused(site, outcomes["object"])
    return guard_cluster.read(outcomes)


def _await(site: Site) -> None:
    deadline, troubles = Deadline.after(site.clock, PATIENCE_SECONDS), list[str]()
    grace = deadline
    while True:
        seen = status(site)
        if seen is not None and seen.guarding:
            return
        if seen is not None and seen.trouble and seen.trouble not in troubles:
            troubles.append(seen.trouble)
        lasts = seen is not None and seen.cause in guard_cluster.LASTING
        grace = grace.within(GRACE_SECONDS) if lasts else deadline
        if seen is None or grace.expired():
            raise _not_guarding(site, seen, troubles)
        site.clock.wait(PAUSE_SECONDS, site.cancel)
        site.cancel.check()


def _not_guarding(site: Site, seen: GuardDeployment | None, troubles: Sequence[str]) -> PreflightError:
    look = site.kubectl_hint("describe", "pods", "-l", SELECTOR)
    match seen.cause if seen else None:
        case None:
            what, step = "somebody has removed it again", ours("guard.install")
        case workload.IMAGE:
            what, step = "its image does not come", ours("guard.install", "--image", "IMAGE")
        case workload.ADMISSION:
            what, step = "the cluster admits no pod of it", site.kubectl_hint("describe", f"{DEPLOYMENTS}/{NAME}")
        case workload.START:
            what, step = "its pod does not start", look
        case guard_cluster.RIGHTS:
            what = "it may not read Hardware and Workflows"
            step = f"{ours('guard.print')}, and compare its Role and RoleBinding with those in the cluster"
        case _:
            what, step = f"its pod is not ready after {PATIENCE_SECONDS:.0f} s", look
    return PreflightError(
        f"the guard does not guard: {what}", where=_where(site), next=step, evidence="\n".join(troubles)
    )


def _do(site: Site, parts: Sequence[Part], effect: Effect) -> dict[str, Outcome]:
    command = read_only(*parts) if effect is Effect.READ else script(parts, effect=effect)
    result = site.transport.run(site.jump, command, Deadline.after(site.clock, COMMAND_SECONDS))
    outcomes = read_script(result.stdout)
    if parts[0].name not in outcomes:
        raise PreflightError(
            "the jump host did not run our script", where=site.jump.name, next="run it again", evidence=result.stderr
        )
    return outcomes


def _accepted(site: Site, outcomes: Mapping[str, Outcome], image: str) -> None:
    failed = [outcome for outcome in outcomes.values() if not outcome.ok]
    if not failed:
        return
    evidence = "\n".join(outcome.stderr for outcome in failed)
    if all(refusal(outcome.exit_status, outcome.stderr) is not Refusal.FORBIDDEN for outcome in failed):
        raise refused(site, failed[0])
    shown = ours("guard.print", *(("--image", image) if image else ()))
    raise PreflightError(
        f"this user may not do all that {NAME} needs; what was accepted stays",
        where=_where(site),
        next=f"{shown}, and have it applied by somebody who may make a Role and a Deployment",
        evidence=evidence,
    )


def _where(site: Site) -> str:
    return f"jump host {site.jump.name}, namespace {site.kubectl.namespace}, {DEPLOYMENTS.partition('.')[0]}/{NAME}"
