"""The kinds of object the lab's cluster knows, and the words people and kubectl have for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API. `key` is the word for it in the Store protocol."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    short: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    """Whether status is a subresource: then a write to the object itself leaves its status alone."""

    @property
    def key(self) -> str:
        """The plural; with the group where the plural alone means another kind."""
        return f"{self.plural}.{self.group}" if (self.plural, self.group) == ("jobs", BMC) else self.plural

    @property
    def singular(self) -> str:
        """As it stands before the slash in `kubectl get -o name`."""
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """`hardware.tinkerbell.org`, as in kubectl's messages; the bare plural in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def title(self, name: str) -> str:
        """`hardware.tinkerbell.org/NAME`, as `kubectl get -o name` prints it."""
        return f"{self.singular}.{self.group}/{name}" if self.group else f"{self.singular}/{name}"

    def path(self, namespace: str, name: str = "") -> str:
        """The object's path on the API server, or the collection's."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


TINKERBELL = "tinkerbell.org"
BMC = "bmc.tinkerbell.org"
RBAC = "rbac.authorization.k8s.io"

KINDS: tuple[Kind, ...] = (
    Kind("hardware", "Hardware", TINKERBELL, "v1alpha1", ("hw",), status=True),
    Kind("templates", "Template", TINKERBELL, "v1alpha1", ("tpl",), status=True),
    Kind("workflows", "Workflow", TINKERBELL, "v1alpha1", ("wf",), status=True),
    Kind("workflowrulesets", "WorkflowRuleSet", TINKERBELL, "v1alpha1", ("wrs",), status=True),
    Kind("machines", "Machine", BMC, "v1alpha1", ("m",), status=True),
    Kind("tasks", "Task", BMC, "v1alpha1", ("t",), status=True),
    Kind("jobs", "Job", "batch", "v1", status=True),
    Kind("jobs", "Job", BMC, "v1alpha1", ("j",), status=True),
    Kind("cronjobs", "CronJob", "batch", "v1", ("cj",), status=True),
    Kind("pods", "Pod", short=("po",), status=True),
    Kind("events", "Event", short=("ev",)),
    Kind("configmaps", "ConfigMap", short=("cm",)),
    Kind("secrets", "Secret"),
    Kind("services", "Service", short=("svc",), status=True),
    Kind("serviceaccounts", "ServiceAccount", short=("sa",)),
    Kind("endpoints", "Endpoints", short=("ep",)),
    Kind("leases", "Lease", "coordination.k8s.io"),
    Kind("kustomizations", "Kustomization", "kustomize.toolkit.fluxcd.io", short=("ks",), status=True),
    Kind("namespaces", "Namespace", short=("ns",), namespaced=False, status=True),
    Kind("nodes", "Node", short=("no",), namespaced=False, status=True),
    Kind("deployments", "Deployment", "apps", "v1", ("deploy",), status=True),
    Kind("roles", "Role", RBAC),
    Kind("rolebindings", "RoleBinding", RBAC),
)


def resolve(word: str) -> Kind | None:
    """The kind that `word` names: plural, singular or short name, alone or with `.group` or `.version.group`."""
    first, _, rest = word.lower().partition(".")
    for kind in KINDS:
        if first in (kind.plural, kind.singular, *kind.short) and rest in _tails(kind, first):
            return kind
    return None


def of_object(api_version: str, kind: str) -> Kind | None:
    """The kind of an object that says `apiVersion` and `kind`."""
    return next((each for each in KINDS if (each.api_version, each.kind) == (api_version, kind)), None)


def need(word: str) -> Kind:
    """As `resolve`; raises LookupError for a word that names no kind of the lab."""
    kind = resolve(word)
    if kind is None:
        raise LookupError(f"the lab's cluster has no kind {word!r}")
    return kind


def _tails(kind: Kind, first: str) -> tuple[str, ...]:
    tails = (f"{kind.version}.{kind.group}",) if kind.group else (kind.version, f"{kind.version}.")
    if first in kind.short:
        return ("",)
    return ("", kind.group, *tails)
