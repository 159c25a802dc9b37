"""What is said to kubectl on the jump host, and the readers of what it answers.

Resources are named with version and group: `workflows.v1alpha1.tinkerbell.org` costs one request, the short name
walks the whole discovery. Every form here works with kubectl 1.20 and later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from metalfoundry.commands.command import Command, Effect
from metalfoundry.commands.script import Outcome, Part, script
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.foreign import from_json
from metalfoundry.model.names import is_object_name

FIELD_MANAGER = "metalfoundry"
HARDWARE = "hardware.v1alpha1.tinkerbell.org"
TEMPLATES = "templates.v1alpha1.tinkerbell.org"
WORKFLOWS = "workflows.v1alpha1.tinkerbell.org"


class Refusal(Enum):
    """Why kubectl failed, as far as its words tell; kubectl knows only exit status 1."""

    NO_KUBECTL = "no kubectl"
    API_AWAY = "API away"
    FORBIDDEN = "forbidden"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not found"
    NO_CRD = "no such resource type"
    OTHER = "other"


_SIGNS: tuple[tuple[Refusal, re.Pattern[str]], ...] = (
    (Refusal.FORBIDDEN, re.compile(r"\(Forbidden\)|cannot \w+ resource")),
    (Refusal.UNAUTHORIZED, re.compile(r"Unauthorized|must be logged in|x509: certificate has expired")),
    (
        Refusal.NO_CRD,
        re.compile(
            r"the server doesn't have a resource type|no matches for kind|could not find the requested resource"
        ),
    ),
    (Refusal.NOT_FOUND, re.compile(r"\(NotFound\)")),
    (
        Refusal.API_AWAY,
        re.compile(
            r"connection to the server .* was refused|connection refused|no route to host|i/o timeout"
            r"|TLS handshake timeout|Unable to connect to the server|context deadline exceeded"
            r"|EOF|etcdserver|ServiceUnavailable|was refused|connection reset by peer|connection lost"
            r"|network is unreachable|\(Timeout\)|ServerTimeout|apiserver not ready|\(TooManyRequests\)"
        ),
    ),
)
_NOTHING_LISTENS = re.compile(r"connection refused|was refused|no route to host|network is unreachable")


def refusal(exit_status: int, stderr: str) -> Refusal:
    """Sort a failure. 126 and 127 are the shell's word that there is no such program."""
    if exit_status in (126, 127):
        return Refusal.NO_KUBECTL
    return next((kind for kind, sign in _SIGNS if sign.search(stderr)), Refusal.OTHER)


def never_arrived(stderr: str) -> bool:
    """Whether an API that is away can have had no effect: nothing listened where it should be."""
    return bool(_NOTHING_LISTENS.search(stderr))


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl as one site spells it (`kubectl`, or `sudo k3s kubectl`) and the namespace it works in."""

    words: tuple[str, ...]
    namespace: str

    def argv(self, verb: str, *words: str) -> tuple[str, ...]:
        """The words of one call in the site's namespace."""
        return (*self.words, verb, *words, "-n", self.namespace)

    def survey(self) -> Part:
        """Every Hardware, Template and Workflow of the namespace as one List: one process, three requests."""
        return Part("objects", self.argv("get", ",".join((HARDWARE, TEMPLATES, WORKFLOWS)), "-o", "json"))

    def every(self, kind: str) -> Part:
        """Every object of a kind in the namespace, as a List: one request."""
        return Part("objects", self.argv("get", kind, "-o", "json"))

    def get(self, kind: str, name: str) -> Part:
        """One object; empty output when it does not exist."""
        return Part("object", self.argv("get", one(kind, name), "-o", "json", "--ignore-not-found"))

    def rights(self) -> Part:
        """What this user may do in the namespace: one SelfSubjectRulesReview."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self.namespace},
        }
        return Part("rights", (*self.words, "create", "-f", "-", "-o", "json", "--validate=false"), json.dumps(review))

    def test(self, name: str, operations: Sequence[Mapping[str, Any]]) -> Part:
        """A JSON patch of tests alone: ends with status 0 where all of them hold."""
        return self.patch(name, operations, "held")

    def patch(self, name: str, operations: Sequence[Mapping[str, Any]], part: str = "patch") -> Part:
        """A JSON patch on one Hardware object; all of it is applied, or nothing."""
        return Part(
            part,
            self.argv(
                "patch",
                one(HARDWARE, name),
                "--type=json",
                "--patch-file=/dev/stdin",
                f"--field-manager={FIELD_MANAGER}",
                "-o",
                "name",
            ),
            json.dumps(list(operations)),
        )

    def apply(self, manifest: str) -> Part:
        """Apply one manifest."""
        return Part("apply", self.argv("apply", "-f", "-", f"--field-manager={FIELD_MANAGER}", "-o", "name"), manifest)

    def delete_workflow(self, name: str, after: str = "") -> Part:
        """Remove one Workflow; fine when it is gone already. `after`: as in Part."""
        words = self.argv("delete", one(WORKFLOWS, name), "--ignore-not-found", "--wait=false")
        return Part("delete", words, after=after)

    def watch(self, kind: str, name: str = "") -> Command:
        """Follow one object, its deletion included, from its present state on; it need not exist yet. Without a name:
        all of the kind.
        """
        chosen = ("--field-selector", f"metadata.name={checked(kind, name)}") if name else ()
        return Command(self.argv("get", kind, *chosen, "-w", "--output-watch-events", "-o", "json"))


def checked(kind: str, name: str) -> str:
    """`name`, which comes from anywhere, as a word of a command. Raises PreflightError when no object can have it."""
    if not is_object_name(name):
        raise PreflightError(
            f"{name!r} is not a valid object name",
            where=kind,
            next="see who wrote it: a name is lower-case letters, digits, dots and dashes",
        )
    return name


def one(kind: str, name: str) -> str:
    """TYPE/NAME: one object in one word, which is never an option. Raises PreflightError as `checked`."""
    return f"{kind}/{checked(kind, name)}"


def read_only(*parts: Part, functions: str = "") -> Command:
    """`parts` as one READ; `functions` is shell text that they call."""
    return script(parts, effect=Effect.READ, functions=functions)


def read_list(outcome: Outcome) -> list[dict[str, Any]]:
    """The items of a `get -o json`, or the one object as a list; empty for no output. What is no object is left out.

    Raises ValueError when the output is no JSON.
    """
    if not outcome.stdout.strip():
        return []
    value = from_json(outcome.stdout)
    if value is None:
        raise ValueError("no JSON")
    listed = value["items"] if isinstance(value, dict) and isinstance(value.get("items"), list) else [value]
    return [item for item in listed if isinstance(item, dict)]


def read_event(line: str) -> tuple[str, dict[str, Any]] | None:
    """(type, object) of one line of `--output-watch-events -o json`; None for a line that is not one."""
    event = from_json(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        return None
    return str(event.get("type", "")), event["object"]
