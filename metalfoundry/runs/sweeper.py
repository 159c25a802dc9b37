"""The sweeper: install it, look at it, remove it."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.commands import sweeper
from metalfoundry.commands.command import Effect
from metalfoundry.commands.kubectl import read_list
from metalfoundry.commands.script import Outcome, Part, read_script, script
from metalfoundry.commands.sweeper import SweeperSeen
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.program import ours
from metalfoundry.site.site import Site
from metalfoundry.transport.clock import Deadline


def manifests(site: Site) -> str:
    """What `install` would apply, as YAML."""
    wanted = site.inventory.site.sweeper
    return sweeper.manifests(site.kubectl.namespace, wanted.image, wanted.schedule)


def install(site: Site) -> None:
    """Apply it. Raises PreflightError when it is refused."""
    wanted = site.inventory.site.sweeper
    _do(site, [sweeper.install(site.kubectl, wanted.image, wanted.schedule)], Effect.WRITE)


def remove(site: Site) -> None:
    """Delete it. Raises PreflightError when it is refused."""
    _do(site, sweeper.remove(site.kubectl), Effect.WRITE)


def status(site: Site) -> SweeperSeen | None:
    """The CronJob as it stands; None when it is not installed."""
    found = read_list(_do(site, [sweeper.look(site.kubectl)], Effect.READ)["object"])
    return sweeper.read(found[0]) if found else None


def _do(site: Site, parts: Sequence[Part], effect: Effect) -> dict[str, Outcome]:
    command = script(parts, effect=effect)
    outcomes = read_script(site.transport.run(site.jump, command, Deadline.after(site.clock, 60.0)).stdout)
    refused = [outcome.stderr for outcome in outcomes.values() if not outcome.ok]
    if refused or not outcomes:
        raise PreflightError(
            "kubectl refused this for the sweeper",
            where=f"jump host {site.jump.name}, namespace {site.kubectl.namespace}",
            next=ours("netboot.sweeper", "--print")
            + ", and have it applied by somebody who may make a Role and a CronJob",
            evidence="\n".join(refused),
        )
    return outcomes
