"""The guard in the cluster on the terminal."""

from __future__ import annotations

import sys

from metalfoundry.commands.guard_cluster import NAME, GuardDeployment
from metalfoundry.foundry import Foundry
from metalfoundry.model.program import ours
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.confirm import typed


def install(foundry: Foundry, image: str, *, ask: bool) -> None:
    """Install it."""
    place = _place(foundry)
    if ask:
        shown = image or foundry.inventory.site.guard.image
        question = f"This makes the Deployment {NAME} (image {shown}) in {place}. Type install to go on: "
        typed("install", question, ours("guard.install", *(("--image", image) if image else ()), "--yes"))
    removed = foundry.install_guard(image)
    say(f"the guard guards {place}; on the jump host none is started while it does")
    if removed:
        say(f"the sweeper of an earlier version is removed: {', '.join(removed)}")


def remove(foundry: Foundry, force: bool, *, ask: bool) -> None:
    """Remove it."""
    place = _place(foundry)
    if ask:
        question = f"From then on nothing in the cluster closes netboot in {place}. Type remove to go on: "
        typed("remove", question, ours("guard.remove", *(("--force",) if force else ()), "--yes"))
    foundry.remove_guard(force=force)
    say("the guard is removed from the cluster; the next run starts one on the jump host")


def show(foundry: Foundry, image: str) -> None:
    """Print its manifests."""
    say(foundry.guard_manifests(image), end="")


def in_cluster(seen: GuardDeployment | None) -> None:
    """Say how it stands."""
    if seen is None:
        say(f"no guard is installed in the cluster: {ours('guard.install')}")
        return
    state = f"guards since {seen.since}" if seen.guarding else f"does not guard: {seen.trouble or 'it starts'}"
    say(f"the guard in the cluster {state}, pod {seen.pod or 'none'}, restarts {seen.restarts}, version {seen.version}")
    if seen.closed:
        say(f"its last close: {seen.closed}")
    if not seen.current:
        say(f"it carries another version of the script: {ours('guard.install')}", file=sys.stderr)


def _place(foundry: Foundry) -> str:
    site = foundry.inventory.site
    return f"namespace {site.namespace} behind {site.jump.host}"
