"""The guard in the cluster: its Kubernetes objects (guard.yaml, with guard.sh in it), and how it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from textwrap import indent

from metalfoundry.commands import workload
from metalfoundry.commands.guard import script, version
from metalfoundry.commands.kubectl import FIELD_MANAGER, Kubectl, Refusal, refusal
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.commands.workload import ADMISSION, DEPLOYMENTS, IMAGE, START
from metalfoundry.model.actions import text

NAME = "metalfoundry-guard"
VERSION = "metalfoundry.dev/guard-version"
SWEEPER = "metalfoundry-sweeper"
SELECTOR = f"app.kubernetes.io/name={NAME}"
RIGHTS = "rights"
LASTING = (ADMISSION, IMAGE, START, RIGHTS)  # no waiting mends these
_RBAC = ("rolebindings.v1.rbac.authorization.k8s.io", "roles.v1.rbac.authorization.k8s.io", "serviceaccounts")
_OURS = (DEPLOYMENTS, *_RBAC, "configmaps")
_SWEEPERS = ("cronjobs.v1.batch", *_RBAC)
_SWEEPER = re.compile(rf"[a-z.0-9]+/{SWEEPER}")


def manifests(namespace: str, image: str, kubectl: Sequence[str]) -> str:
    """All five objects as YAML, the rights first: for `kubectl apply`, or for a GitOps repository. `kubectl` are its
    words in that image.
    """
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": FIELD_MANAGER}
    words = {
        "meta": {"name": NAME, "namespace": namespace, "labels": labels},
        "labels": labels,
        "namespace": namespace,
        "version": version(),
        "image": image,
        "kubectl": " ".join(kubectl),
    }
    form = files("metalfoundry.commands").joinpath("guard.yaml").read_text(encoding="utf-8")
    values = {name: json.dumps(value) for name, value in words.items()}  # JSON is YAML, whatever stands in it
    return Template(form).substitute(values, script=indent(script(), "    ").rstrip("\n"))


def install(kubectl: Kubectl, image: str, words: Sequence[str]) -> Part:
    """Apply all five objects."""
    return kubectl.apply(manifests(kubectl.namespace, image, words))


def remove(kubectl: Kubectl) -> list[Part]:
    """Delete all five objects; those that are gone already are fine."""
    return delete(kubectl, [f"{kind}/{NAME}" for kind in _OURS])


def find_sweeper(kubectl: Kubectl) -> Part:
    """Look for the CronJob that closed windows before there was a guard in the cluster, and for what belongs to it."""
    names = [f"{kind}/{SWEEPER}" for kind in _SWEEPERS]
    return Part("sweeper", kubectl.argv("get", *names, "-o", "name", "--ignore-not-found"))


def read_sweeper(outcome: Outcome) -> list[str]:
    """What `find_sweeper` found, as KIND/NAME; what it may not see is left out."""
    return [line for line in outcome.stdout.splitlines() if _SWEEPER.fullmatch(line)]


def delete(kubectl: Kubectl, names: Sequence[str]) -> list[Part]:
    """Delete each KIND/NAME."""
    words = ("--ignore-not-found", "--wait=false")
    return [Part(f"delete{number}", kubectl.argv("delete", name, *words)) for number, name in enumerate(names)]


@dataclass(frozen=True, slots=True)
class GuardDeployment:
    """The guard in the cluster as it stands.

    `guarding`: the pod of the Deployment's present form has read everything within the last minute. `current`: it
    carries this version's script. `since`: RFC 3339, when its pod began, "" where there is none. `closed` and `log`:
    the last line about a close, and the last line, of its log. `trouble`: why it does not guard, in the cluster's
    words; `cause`: of what kind that is: admission, image, start, rights (none of which passes by itself), room, or "".
    """

    guarding: bool
    current: bool
    version: str
    image: str
    pod: str = ""
    since: str = ""
    restarts: int = 0
    closed: str = ""
    log: str = ""
    trouble: str = ""
    cause: str = ""


def look(kubectl: Kubectl) -> list[Part]:
    """Read the Deployment, its pods and the end of their log."""
    return workload.look(kubectl, NAME, SELECTOR)


def read(outcomes: Mapping[str, Outcome]) -> GuardDeployment | None:
    """The reader of `look`; None where there is no Deployment. Raises ValueError when it is no JSON."""
    seen = workload.read(outcomes)
    if seen is None:
        return None
    carried, lines = text(seen.annotations.get(VERSION)), seen.lines
    trouble, cause = seen.trouble, seen.cause
    away = next((line for line in reversed(lines) if " api-away " in line or line.endswith(" api-back")), "")
    if " api-away " in away and not trouble and not seen.available:
        forbidden = refusal(1, away) is Refusal.FORBIDDEN
        trouble, cause = away.partition(" api-away ")[2], RIGHTS if forbidden else ""
    return GuardDeployment(
        guarding=seen.available,
        current=carried == version(),
        version=carried,
        image=seen.image,
        pod=seen.pod,
        since=seen.since,
        restarts=seen.restarts,
        closed=next((line for line in reversed(lines) if " closed " in line), ""),
        log=lines[-1] if lines else "",
        trouble=trouble,
        cause=cause,
    )
