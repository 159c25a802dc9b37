"""A diagnosis as JSON: for --json (what was found) and for bundles (what was seen, too), without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from metalfoundry.commands.loglines import SOURCES
from metalfoundry.commands.netboot import stamp
from metalfoundry.diagnosis import redact
from metalfoundry.diagnosis.facts import FIELDS, Facts, NotSeen, Seen
from metalfoundry.diagnosis.findings import Finding
from metalfoundry.diagnosis.judge import exit_code
from metalfoundry.diagnosis.witnesses import hear
from metalfoundry.model.objects import Object

SCHEMA = 1


def found(facts: Facts, findings: Sequence[Finding]) -> dict[str, Any]:
    """What `fab troubleshoot --json` prints for one server, schema 1; secrets are hidden."""
    value = {
        "schema": SCHEMA,
        "server": facts.configured.server,
        "time": stamp(facts.now),
        "exit_code": exit_code(findings),
        "findings": [finding.to_json() for finding in findings],
        "witnesses": hear(facts).to_json(),
        "not_seen": facts.unseen(),
    }
    hidden: dict[str, Any] = redact.data(value)
    return hidden


def gathered(facts: Facts) -> dict[str, Any]:
    """Every fact with its source and time, or the reason why there is none; logs apart; secrets are hidden."""
    value = {name: _fact(getattr(facts, name)) for name in FIELDS}
    hidden: dict[str, Any] = redact.data(
        {"name": facts.name, "now": stamp(facts.now), "configured": _plain(facts.configured), **value}
    )
    return hidden


def logs(facts: Facts) -> dict[str, str]:
    """The lines of each source that was read, as they were printed; secrets are hidden."""
    return {
        source: redact.text("".join(f"{line.raw or line.text}\n" for line in facts.log(source)))
        for source in SOURCES
        if facts.log_seen(source)
    }


def _fact(fact: Seen[Any] | NotSeen) -> dict[str, Any]:
    if isinstance(fact, NotSeen):
        return {"seen": False, "reason": fact.reason, "source": fact.source}
    return {
        "seen": True,
        "source": fact.source,
        "time": stamp(fact.at) if fact.at else None,
        "value": _plain(fact.value),
    }


def _plain(value: Any) -> Any:
    """JSON of our own values; an object of Kubernetes is itself, whole."""
    if isinstance(value, Object):
        return _plain(value.raw)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
