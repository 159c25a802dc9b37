"""The checks of the site: this computer, the jump host, the cluster, Tinkerbell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from metalfoundry.commands import examine, smee
from metalfoundry.commands.gather import why_not
from metalfoundry.commands.guard import read_words
from metalfoundry.commands.guard_cluster import NAME
from metalfoundry.commands.kubernetes import Deployment, Version
from metalfoundry.commands.rights import BMC_ALONE, HELPFUL, NEEDED, are_listed, missing_rights
from metalfoundry.commands.script import Outcome
from metalfoundry.diagnosis.check import Check, Checks
from metalfoundry.diagnosis.known_bugs import bugs_of
from metalfoundry.model.actions import items, mapping, text
from metalfoundry.model.errors import AuthError, ConnectError, HostKeyError, MetalfoundryError, TransportError
from metalfoundry.model.foreign import from_json
from metalfoundry.model.inventory import Server
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.audit import OpenWindow
from metalfoundry.site.refused import may_not, refused
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import ClusterSnapshot
from metalfoundry.transport.clock import Deadline

SITE_CHECKS: Mapping[str, str] = {
    "inventory": "inventory.yaml has no fault",
    "ssh-config": "~/.ssh/config can be used for the jump host",
    "keys": "there is a key to offer: agent, identity, default keys",
    "jump-host": "the jump host's sshd answers",
    "jump-key": "its host key is the known one",
    "jump-login": "it takes one of the keys",
    "jump-shell": "it runs a script of ours",
    "tools": "the programs that our scripts call are there",
    "kubectl": "kubectl is there, as site.kubectl spells it, and is v1.20 or newer",
    "api": "the API server answers",
    "rights": "what the tasks need is granted ([rights.md](rights.md))",
    "rights-to-diagnose": "what a diagnosis looks at may be read",
    "crds": "tinkerbell.org is served as v1alpha1",
    "tinkerbell": "its Deployments are ready; which release it is, and what is known of that",
    "smee": "Smee answers the jump host, and says of each server what its Hardware says",
    "clock": "jump host and this computer agree within 30 s",
    "guard": "the guard in the cluster is ready, or the jump host can carry one",
    "windows": "no netboot is open that nobody holds",
}
OLDEST_KUBECTL = (1, 20)
SKEW_SECONDS = 30.0
_ABSENT = Outcome(1, "", "the reply was cut short")


def check_site(
    site: Site, servers: Sequence[Server], looking: Future[ClusterSnapshot], windows: Future[list[OpenWindow]]
) -> tuple[list[Check], ClusterSnapshot | None]:
    """Every check, in the order of SITE_CHECKS; and what was read, None where the jump host was not reached."""
    checks = Checks()
    checks.passed("inventory", f"{len(site.inventory.servers)} servers in {site.inventory.source}")
    _keys(checks, site)
    seen = _reached(checks, site, looking)
    if seen is not None:
        _kubectl(checks, site, seen)
        _rights(checks, site, seen)
        _crds(checks, site, seen)
        _tinkerbell(checks, site, seen)
        _smee(checks, site, servers, seen)
        _clock(checks, site, seen)
        _guard(checks, site, seen)
        _windows(checks, windows)
    checks.rest(SITE_CHECKS, "what comes before it failed")
    return checks.in_order(SITE_CHECKS), seen


def _keys(checks: Checks, site: Site) -> None:
    from metalfoundry.transport.auth import offers  # here: it brings paramiko, which takes its time

    if site.jump.local:
        checks.passed("ssh-config", "not needed: the jump host is this computer")
        checks.passed("keys", "not needed: the jump host is this computer")
        return
    try:
        found = offers(site.jump, Deadline.after(site.clock, 5.0))
    except AuthError as error:
        checks.passed("ssh-config", "it can be read")
        checks.error("keys", error)
    except ConnectError as error:
        checks.error("ssh-config", error)
    else:
        checks.passed("ssh-config", "it can be read")
        checks.passed("keys", f"to the jump host: {', '.join(found)}")


def _reached(checks: Checks, site: Site, looking: Future[ClusterSnapshot]) -> ClusterSnapshot | None:
    """Reached, known, let in, a shell: which of these it is that fails is told by the error."""
    steps = ["jump-host", "jump-key", "jump-login", "jump-shell"]
    name = site.jump.name
    seen: ClusterSnapshot | None = None
    at = len(steps)
    try:
        seen = looking.result()
    except MetalfoundryError as error:
        kinds = {HostKeyError: 1, AuthError: 2, TransportError: 0}
        at = next((place for kind, place in kinds.items() if isinstance(error, kind)), 3)
        checks.error(steps[at], error)
    fine = ("it answers", "its host key is the known one", "it accepts our key", "it runs our scripts")
    if site.jump.local:
        fine = ("it is this computer", "it is this computer", "it is this computer", "it runs our scripts")
    for step, words in list(zip(steps, fine, strict=True))[:at]:
        checks.passed(step, f"{name}: {words}")
    if seen is None:
        return None
    missing = seen.outcomes.get("tools", _ABSENT).stdout.split()
    if missing:
        checks.failed("tools", f"{name} has no {', '.join(missing)}", f"install {', '.join(missing)} on {name}")
    else:
        checks.passed("tools", "all that our scripts call is there")
    return seen


def _kubectl(checks: Checks, site: Site, seen: ClusterSnapshot) -> None:
    client, server = (seen.outcomes.get(name, _ABSENT) for name in ("client", "server"))
    told = text(mapping(mapping(from_json(client.stdout)).get("clientVersion")).get("gitVersion"))
    version = examine.read_version(told)
    if not client.ok:
        checks.error("kubectl", refused(site, client))
    elif version is not None and version < OLDEST_KUBECTL:
        checks.failed("kubectl", f"kubectl {told} is older than v1.20", f"install a newer one on {site.jump.name}")
    else:
        checks.passed("kubectl", f"kubectl {told or 'of an unknown version'}")
    if not client.ok and not server.ok:
        return
    if server.ok:
        checks.passed("api", f"Kubernetes {text(mapping(from_json(server.stdout)).get('gitVersion')) or 'answers'}")
    else:
        checks.error("api", refused(site, server))


def _rights(checks: Checks, site: Site, seen: ClusterSnapshot) -> None:
    review = seen.outcomes.get("rights", _ABSENT)
    has_bmc = any(Hardware.of(one).bmc_ref for one in seen.items("objects"))
    tables = {"rights": NEEDED, "rights-to-diagnose": HELPFUL}
    for check, table in tables.items():
        wanted = frozenset().union(*table.values()) - (frozenset() if has_bmc else BMC_ALONE)
        missing = missing_rights(review, wanted)
        if missing:
            checks.error(check, may_not(site, missing))
        elif are_listed(review):
            checks.passed(check, f"all {len(wanted)} are granted")
        else:
            checks.unseen(check, f"the API server does not list them: {why_not(review) or 'its list is incomplete'}")


def _crds(checks: Checks, site: Site, seen: ClusterSnapshot) -> None:
    served = seen.outcomes.get("served", _ABSENT)
    versions = [text(one.get("version")) for one in items(mapping(from_json(served.stdout)).get("versions"))]
    if not served.ok:
        checks.error("crds", refused(site, served))
    elif "v1alpha1" in versions:
        checks.passed("crds", f"tinkerbell.org is served as {', '.join(versions)}")
    else:
        what = f"tinkerbell.org is served as {', '.join(versions) or 'nothing'}, and v1alpha1 is what is spoken here"
        checks.failed("crds", what, "serve v1alpha1 as well, as Tinkerbell up to v0.25 does")


def _tinkerbell(checks: Checks, site: Site, seen: ClusterSnapshot) -> None:
    listing = seen.outcomes.get("deployments", _ABSENT)
    parts = [one for one in map(Deployment.of, seen.items("deployments")) if one.is_part]
    if not parts:
        why = why_not(listing) or "no Deployment of it is to be seen, in this namespace or another"
        checks.unseen("tinkerbell", why, site.kubectl_hint("get", "deployments"))
        return
    down = next((one for one in parts if one.ready < one.wanted), None)
    if down is not None:
        what = f"{down.name} has {down.ready} of {down.wanted} pods ready"
        checks.failed("tinkerbell", what, site.kubectl_hint("describe", f"deployments/{down.name}"))
        return
    versions = {Version.of(one.image) for one in parts if one.is_tinkerbell} - {None}
    told = [f"{', '.join(one.name for one in parts)} ready", *sorted(str(version) for version in versions)]
    bugs = {bug.what: None for version in versions if version for bug in bugs_of(version)}
    checks.passed("tinkerbell", "; ".join([*told, *(f"known of it: {bug}" for bug in bugs)]))


def _smee(checks: Checks, site: Site, servers: Sequence[Server], seen: ClusterSnapshot) -> None:
    url = site.inventory.site.smee
    if url is None:
        step = "give site.smee: http://ADDRESS:7171, from Tinkerbell v0.23 on port 7080"
        checks.unseen("smee", "site.smee is not given, so Smee cannot be asked whether netboot is closed", step)
        return
    answers = examine.read_smee(seen.outcomes.get("smee"))
    if not answers:
        checks.unseen("smee", "there is no MAC to ask about")
        return
    silent = all(status == 0 for statuses in answers.values() for status in statuses.values())
    closed = {name for name, hardware in seen.survey.hardware.items() if not hardware.open_interfaces()}
    serving = [name for name, statuses in answers.items() if name in closed and smee.says_open(statuses)]
    if silent:
        step = "correct site.smee in the inventory (port 7171; 7080 from Tinkerbell v0.23 on), or start Smee"
        checks.failed("smee", f"nothing answers at {url} from {site.jump.name}", step)
    elif serving:
        step = "does it read another cluster or namespace? " + site.kubectl_hint("get", "deployments", "-o", "wide")
        checks.failed("smee", f"Smee serves the installer to {', '.join(serving)}, whose netboot is closed", step)
    else:
        checks.passed("smee", f"{url} answers, and says what the Hardware says for {len(answers)} servers")


def _clock(checks: Checks, site: Site, seen: ClusterSnapshot) -> None:
    if abs(seen.ahead) > SKEW_SECONDS:
        what = f"the clock of {site.jump.name} is {abs(seen.ahead):.0f} s {'ahead of' if seen.ahead > 0 else 'behind'}"
        checks.failed("clock", f"{what} this computer's", "set both by NTP: timedatectl set-ntp true")
    else:
        checks.passed("clock", f"jump host and this computer agree within {max(1.0, abs(seen.ahead)):.0f} s")


def _guard(checks: Checks, site: Site, seen: ClusterSnapshot) -> None:
    told = read_words(seen.outcomes.get("guards", _ABSENT).stdout)
    here = [one for one in seen.items("deployments") if _namespace(one) in ("", site.kubectl.namespace)]
    deployed = next((one for one in map(Deployment.of, here) if one.name == NAME), None)
    refused, _, remedy = told.get("method", "").partition("; remedy: ")
    if deployed is not None and deployed.ready < deployed.wanted:
        checks.failed("guard", f"the guard in the cluster has {deployed.ready} pods ready", ours("guard.status"))
    elif deployed is not None:
        checks.passed("guard", "it guards in the cluster")
    elif remedy:
        checks.failed("guard", f"{site.jump.name}: {refused}, and a guard with them", remedy)
    elif not told.get("method"):
        checks.unseen("guard", f"{site.jump.name} does not say how a program outlives its session there")
    elif told.get("state") == "none":
        checks.passed("guard", f"none runs on {site.jump.name}; one is started with the next claim")
    else:
        checks.passed("guard", f"it runs on {site.jump.name}, with {told.get('claims', '')} claims")


def _namespace(obj: Mapping[str, Any]) -> str:
    return text(mapping(obj.get("metadata")).get("namespace"))


def _windows(checks: Checks, windows: Future[list[OpenWindow]]) -> None:
    try:
        opened = windows.result()
    except MetalfoundryError as error:
        checks.unseen("windows", str(error), error.next)
        return
    traps = [window.hardware for window in opened if window.trap]
    if traps:
        what = f"netboot is open and nobody's: the next boot wipes {', '.join(traps)}"
        checks.failed("windows", what, ours("netboot.audit", "--close"))
    else:
        checks.passed("windows", f"{len(opened)} open, all held by a run" if opened else "netboot is closed everywhere")
