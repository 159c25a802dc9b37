"""Which verb on which resource each task needs in the namespace: the one table of it, the reader that holds it against
what is granted, and the Role that grants just that.

A kubectl call is one or more requests: `patch` and `apply` get the object first, `-w` lists before it watches, `logs`
gets its pod. A review of one's own rights, and discovery, are everybody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from metalfoundry.commands.kubectl import FIELD_MANAGER
from metalfoundry.commands.script import Outcome
from metalfoundry.model.actions import items, mapping
from metalfoundry.model.errors import UsageError
from metalfoundry.model.foreign import from_json
from metalfoundry.model.names import is_object_name

NAME = "metalfoundry-operator"
TINKERBELL, BMC = "tinkerbell.org", "bmc.tinkerbell.org"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """`verb` on `resource` (its plural, `pods/log` for a subresource) of the API group `group`, "" for the core's."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


def _may(verbs: str, *resources: str, group: str = TINKERBELL) -> frozenset[Right]:
    return frozenset(Right(group, resource, verb) for resource in resources for verb in verbs.split())


_READ = _may("list", "hardware", "templates", "workflows")
_WATCH = _may("list watch", "hardware", "workflows")
_CHANGE = _may("get patch", "hardware")
_PODS = _may("get list", "pods", group="") | _may("get", "pods/log", group="")
_AROUND = (
    _may("list", "deployments", group="apps")
    | _may("list", "events", group="")
    | _may("list", "jobs", "tasks", group=BMC)
)
_TELL = _may("create", "events", group="")

FOR_BMC = (
    _may("create get list watch", "jobs", group=BMC)
    | _may("get list", "tasks", group=BMC)
    | _may("get list", "machines", group=BMC)
)
"""What it takes to have Rufio switch a machine; a server without a BMC needs none of it."""

NEEDED: Mapping[str, frozenset[Right]] = {
    "provision": _READ | _WATCH | _CHANGE | _may("get create delete", "workflows"),
    "status": _READ | _WATCH,
    "history": _may("get", "hardware"),
    "known-hosts": _may("list", "hardware"),
    "troubleshoot": _READ,
    "logs": _READ | _PODS,
    "attach": _WATCH | _may("get", "hardware", "workflows"),
    "cancel": _CHANGE | _may("get delete", "workflows"),
    "init": _CHANGE,
    "protect": _CHANGE,
    "unprotect": _CHANGE,
    "netboot.open": _WATCH | _CHANGE,
    "netboot.close": _CHANGE,
    "netboot.break": _CHANGE,
    "netboot.status": _READ,
    "netboot.audit": _CHANGE | _may("list", "hardware"),
    "guard.status": _READ | _may("get", "deployments", group="apps"),
    "power": _may("get", "hardware") | FOR_BMC,
    "reboot": _may("get", "hardware"),
}
"""Without one of these the task refuses, and says which. What installs something into the cluster is an
administrator's, and not here."""

HELPFUL: Mapping[str, frozenset[Right]] = {
    "provision": _PODS | _AROUND | _TELL | FOR_BMC,
    "troubleshoot": _PODS | _AROUND,
    "guard.status": _PODS,
    "reboot": FOR_BMC,
    "doctor": _READ | _may("list", "deployments", group="apps") | _may("list", "machines", group=BMC),
    **dict.fromkeys(("cancel", "netboot.open", "netboot.close", "netboot.break", "netboot.audit"), _TELL),
}
"""Without one of these a task goes on: a diagnosis, or the doctor, says what it has not looked at, and what is done
does not show in the cluster's Events, and a machine is not rebooted by its BMC."""

BMC_ALONE = FOR_BMC - HELPFUL["troubleshoot"] - HELPFUL["doctor"]
"""Those that nobody misses where no Hardware names a BMC."""


def wanted() -> list[Right]:
    """All that an operator needs, in order."""
    return sorted(frozenset().union(*NEEDED.values(), *HELPFUL.values()))


def tasks_with(right: Right) -> tuple[list[str], list[str]]:
    """The tasks that refuse without this right, and those that see or tell less."""
    refusing = [task for task, rights in NEEDED.items() if right in rights]
    return refusing, [task for task, rights in HELPFUL.items() if right in rights and task not in refusing]


def missing_rights(outcome: Outcome, asked: Iterable[Right]) -> list[Right]:
    """Those that a complete SelfSubjectRulesReview does not grant.

    A review that failed or calls itself incomplete (webhook authorizers) proves nothing and misses nothing.
    """
    status = _status(outcome)
    if not status:
        return []
    rules = items(status.get("resourceRules"))

    def granted(right: Right) -> bool:
        return any(
            _names(rule.get("verbs"), right.verb)
            and _names(rule.get("apiGroups"), right.group)
            and _names(rule.get("resources"), right.resource)
            and not rule.get("resourceNames")
            for rule in rules
        )

    return sorted(right for right in asked if not granted(right))


def are_listed(outcome: Outcome) -> bool:
    """Whether this is a complete SelfSubjectRulesReview, which proves what it does not list."""
    return bool(_status(outcome))


def _status(outcome: Outcome) -> Mapping[str, Any]:
    status = mapping(mapping(from_json(outcome.stdout)).get("status")) if outcome.ok else {}
    return {} if status.get("incomplete") else status


def _names(words: Any, word: str) -> bool:
    return isinstance(words, list) and ("*" in words or word in words)


def user(name: str) -> dict[str, str]:
    """The subject of a RoleBinding: a user, as the API server knows it."""
    return {"kind": "User", "name": name, "apiGroup": _RBAC}


def group(name: str) -> dict[str, str]:
    """The subject of a RoleBinding: a group of users."""
    return {"kind": "Group", "name": name, "apiGroup": _RBAC}


def service_account(name: str, namespace: str) -> dict[str, str]:
    """The subject of a RoleBinding: a ServiceAccount; `name` may be NAMESPACE:NAME. Raises UsageError for no name."""
    space, colon, own = name.rpartition(":")
    if not is_object_name(own) or (colon and (not is_object_name(space) or "." in space)):
        raise UsageError(f"there can be no ServiceAccount {name}", next="name it NAME, or NAMESPACE:NAME")
    return {"kind": "ServiceAccount", "name": own, "namespace": space if colon else namespace}


def subjects(namespace: str, one_user: str, one_group: str, account: str) -> list[dict[str, str]]:
    """Whoever is named of these three; "" for nobody."""
    found = [(one_user, user), (one_group, group), (account, lambda name: service_account(name, namespace))]
    return [make(name) for name, make in found if name]


def rules(rights: Iterable[Right]) -> list[dict[str, list[str]]]:
    """`rights` as a Role has them, with a rule for each resource."""
    found: dict[tuple[str, str], list[str]] = {}
    for right in sorted(rights):
        found.setdefault((right.group, right.resource), []).append(right.verb)
    return [{"apiGroups": [api], "resources": [resource], "verbs": verbs} for (api, resource), verbs in found.items()]


def manifests(namespace: str, subjects: Iterable[Mapping[str, str]]) -> str:
    """Role and RoleBinding as YAML: for `kubectl apply`, or for a GitOps repository."""
    meta = {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER}}
    api = {"apiVersion": f"{_RBAC}/v1"}
    role = api | {"kind": "Role", "metadata": meta, "rules": rules(wanted())}
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": NAME}
    binding = api | {"kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [*map(dict, subjects)]}
    head = "# What an operator of metalfoundry needs in this namespace, and nothing more.\n"
    return head + "---\n".join(yaml.dump(each, Dumper=_Plain, sort_keys=False) for each in (role, binding))


class _Plain(yaml.SafeDumper):
    """No anchors for what is said twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never an alias."""
        return True
