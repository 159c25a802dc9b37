"""kubectl auth can-i, and the SelfSubjectRulesReview that lists what a user may do."""

from __future__ import annotations

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.kubectl.args import Arguments
from metalfoundry.lab.kubectl.session import VERBS, Session
from metalfoundry.lab.kubernetes.resources import KINDS, resolve
from metalfoundry.lab.kubernetes.store import Object

_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews")
_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]


def can_i(session: Session, words: Arguments) -> int:
    """Run `kubectl auth can-i VERB RESOURCE[/NAME]`: yes, or no and exit 1."""
    if len(words.plain) != 3 or words.plain[0] != "can-i":
        raise UnknownForm("auth " + " ".join(words.plain))
    kind = resolve(words.plain[2].partition("/")[0])
    session.request("create")
    allowed = kind is None or session.faults.allows(words.plain[1], kind)
    if not words.flag("quiet"):
        session.out("yes\n" if allowed else "no\n")
    return 0 if allowed else 1


def rules_review(session: Session) -> Object:
    """The answer to a SelfSubjectRulesReview: everything, less what the lab has taken away."""
    session.request("create")
    rules = [_rule(["*"], ["*"], ["*"])] if not session.faults.denied else _granted(session)
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "metadata": {"creationTimestamp": None},
        "spec": {},
        "status": {
            "incomplete": False,
            "nonResourceRules": [{"nonResourceURLs": _HEALTH, "verbs": ["get"]}],
            "resourceRules": [*rules, _rule(["create"], ["authorization.k8s.io"], list(_REVIEWS))],
        },
    }


def _granted(session: Session) -> list[Object]:
    rules = []
    for kind in KINDS:
        verbs = [verb for verb in VERBS if session.faults.allows(verb, kind)]
        if verbs:
            also = [f"{kind.plural}/log"] if kind.plural == "pods" else []
            rules.append(_rule(verbs, [kind.group], [kind.plural, *also]))
    return rules


def _rule(verbs: list[str], groups: list[str], resources: list[str]) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}
