"""A bundle: what one diagnosis saw and found, in a .tar.gz to hand to somebody else; secrets are taken out before."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from metalfoundry.commands.claims import stamp
from metalfoundry.commands.log_commands import merged, without_secrets
from metalfoundry.commands.log_parser import LogLine
from metalfoundry.diagnosis.facts import Facts, Seen, seen
from metalfoundry.model import redact
from metalfoundry.model.errors import UsageError
from metalfoundry.model.objects import Object
from metalfoundry.runs.troubleshoot import Diagnosis


def write_bundle(path: Path, found: Sequence[Diagnosis]) -> None:
    """Write for each server findings.json, facts.json and logs.txt. Raises UsageError where that fails."""
    files: dict[str, str] = {}
    for one in found:
        files[f"{one.server}/findings.json"] = _json(one.to_json())
        files[f"{one.server}/facts.json"] = _json(_facts(one.facts))
        files[f"{one.server}/logs.txt"] = _logs(one.facts)
    moment = int(max((one.facts.now for one in found), default=datetime.fromtimestamp(0, UTC)).timestamp())
    try:
        path.write_bytes(_packed(files, moment))
    except OSError as error:
        raise UsageError(
            f"the bundle cannot be written: {error.strerror}", where=str(path), next="choose another --bundle FILE"
        ) from error


def _packed(files: Mapping[str, str], moment: int) -> bytes:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=moment) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), moment, 0o600
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _json(value: Any) -> str:
    return json.dumps(redact.data(value), indent=2, ensure_ascii=False) + "\n"


def _logs(facts: Facts) -> str:
    known = [seen(fact) or () for fact in facts.logs.values()]
    lines = without_secrets(merged(known))
    return "".join(f"{line.source:<10} {line.raw or line.text}\n" for line in lines if line)


def _facts(facts: Facts) -> dict[str, Any]:
    plain = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts) if field.name != "logs"}
    return {name: _plain(value) for name, value in plain.items()}


def _plain(value: Any) -> Any:
    """Any of our values as JSON: a Kubernetes object by its own JSON, all else by its fields."""
    if isinstance(value, Object):
        return value.raw
    if isinstance(value, LogLine):
        return value.raw
    if isinstance(value, Seen) and isinstance(value.value, Object):
        return {"value": value.value.raw, "source": value.source, "at": _plain(value.at)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
