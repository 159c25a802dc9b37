"""Log lines of Tinkerbell's parts, as they are printed: JSON (slog, zap), klog, logrus, syslog, or bare text.

One pod may speak for many parts (from v0.17 on the control plane is one program, and Smee takes the machines'
syslog), so each line is told its own source.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from metalfoundry.model.foreign import from_json, parse_time

AGENT, BOOTKIT, ACTION, CONSOLE = "agent", "bootkit", "action", "console"
SMEE, SERVER, CONTROLLER, WEB = "smee", "server", "controller", "web"
SOURCES = (AGENT, BOOTKIT, ACTION, CONSOLE, SMEE, SERVER, CONTROLLER, WEB)

_LOGGERS = (
    ("tink-server", SERVER),
    ("tink-controller", CONTROLLER),
    ("rufio", CONTROLLER),
    ("smee", SMEE),
    ("http", SMEE),  # from v0.23 on one HTTP server answers for Smee, too
)
_APPS = (
    (re.compile(r"^(tink-worker|tink-agent)\b"), AGENT),
    (re.compile(r"^(hook-)?bootkit\b"), BOOTKIT),
    (re.compile(r"^ipxe\b", re.IGNORECASE), CONSOLE),
)
_NAMES = {
    "tink-server": SERVER,
    "tink-controller": CONTROLLER,
    "tink-worker": AGENT,
    "tink-agent": AGENT,
    "hook-bootkit": BOOTKIT,
}
_STAMPED = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) (.*)$", re.DOTALL)
_KLOG = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ (\S+:\d+)\] (.*)$", re.DOTALL)
_LOGRUS = re.compile(r'^time="([^"]+)" level=(\w+) msg="((?:[^"\\]|\\.)*)"(.*)$')
_SYSLOG = re.compile(r"^(?:<\d+>)?1 (\S+) (\S+) (\S+) \S+ \S+ (?:-|\[.*?\]) ?(.*)$|^<\d+>\w{3} [ \d]\d [\d:]{8} (.*)$")
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
_DENIED = "does not allow it to pxe"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    `text` is what a person reads: message, error, and what names the matter; `raw` as it was printed.
    `time` by the clock of the machine that wrote it, None where the line does not say; `host` is the machine that a
    line is about or came from (address or MAC in lower case), empty where it does not say.
    """

    time: datetime | None
    source: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=lambda: _NO_FIELDS, hash=False, repr=False)
    raw: str = field(default="", compare=False, repr=False)
    host: str = ""

    def has(self, *words: str) -> bool:
        """Whether any of `words` stands in the text, whatever its case."""
        low = self.text.lower()
        return any(word.lower() in low for word in words)

    def get(self, *path: str) -> str:
        """The text of a nested JSON field; empty where there is none."""
        value: Any = self.fields
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return "" if value is None else str(value)


def read_log(source: str, text: str) -> tuple[LogLine, ...]:
    """Every line that is not empty, in the order of the text; `source` is what a line is from that does not say so."""
    return tuple(read_line(source, line) for line in text.splitlines() if line.strip())


def read_line(source: str, line: str) -> LogLine:
    """One line; never fails: what is not understood is kept as bare text."""
    stamped = _STAMPED.match(line)
    time, rest = (parse_time(stamped[1]), stamped[2]) if stamped else (None, line)
    if rest.startswith("{"):
        fields = from_json(rest)
        if isinstance(fields, dict):
            return _json(source, line, fields, time)
    return _plain(source, line, rest, time)


def _plain(source: str, raw: str, rest: str, time: datetime | None) -> LogLine:
    if found := _KLOG.match(rest):
        return LogLine(time, source, found[2], raw=raw)
    if found := _LOGRUS.match(rest):
        text = found[3].replace('\\"', '"').replace("\\n", "\n") + found[4]
        return LogLine(parse_time(found[1]) or time, source, text, raw=raw)
    if found := _SYSLOG.match(rest):
        if found[1]:
            entry = {"app-name": found[3], "host": found[2], "msg": found[4]}
            return _syslog(raw, entry, parse_time(found[1]) or time)
        return LogLine(time, source, found[5], raw=raw)
    return LogLine(time, source, rest, raw=raw)


def _json(source: str, raw: str, fields: dict[str, Any], time: datetime | None) -> LogLine:
    time = parse_time(fields.get("time") or fields.get("ts")) or time
    fields = _one_spelling(fields)
    entry = fields.get("logEntry")
    if isinstance(entry, Mapping):
        return _syslog(raw, entry, time)
    logger = str(fields.get("logger") or fields.get("service") or "")
    source = next((name for start, name in _LOGGERS if logger.startswith(start)), source)
    if source == SMEE or "uri" in fields or _DENIED in str(fields.get("msg")):
        host = _client(fields)
        return LogLine(time, source, _smee(fields, host), fields, raw, host)
    return LogLine(
        time, source, _readable(fields), fields, raw, str(fields.get("agent") or fields.get("agentID") or "")
    )


def _one_spelling(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields under the names of v0.21: later releases say `syslog` for `logEntry` and `code` for `status`, and a
    real iPXE asks with the colons of its MAC percent-encoded."""
    same = dict(fields)
    if "logEntry" not in same and isinstance(same.get("syslog"), Mapping):
        same["logEntry"] = same.pop("syslog")
    if isinstance(same.get("uri"), str):
        same["uri"] = unquote(same["uri"])
        if "status" not in same and "code" in same:
            same["status"] = same.pop("code")
    return same


def _syslog(raw: str, entry: Mapping[str, Any], time: datetime | None) -> LogLine:
    """What a machine sent to a syslog: the app's name tells which part of it spoke; an agent's own JSON is read."""
    app, said = str(entry.get("app-name") or ""), entry.get("msg") or ""
    text = json.dumps(said) if isinstance(said, Mapping) else str(said)  # some releases have read its JSON already
    host = str(entry.get("host") or "")
    source = next((name for sign, name in _APPS if sign.match(app)), ACTION)
    if text.startswith("{"):
        inner = read_line(source, text)
        if inner.fields:  # docker's log driver names a container by its id: the agent is known by what it says
            source = AGENT if "agentID" in inner.fields else source
            return LogLine(inner.time or time, source, inner.text, {**inner.fields, "app-name": app}, raw, host)
    shown = f"{app}: {text}" if source == ACTION and app else text
    return LogLine(time, source, shown, dict(entry), raw, host)


def _readable(fields: Mapping[str, Any]) -> str:
    parts = [str(fields.get("msg") or fields.get("message") or "")]
    action = fields.get("action")
    if isinstance(action, Mapping) and action.get("name"):
        parts[0] += f" {action['name']}"
        if fields.get("state"):
            parts[0] += f" ({fields['state']})"
    steps = fields.get("journal")
    if isinstance(steps, list):
        parts.append(" > ".join(str(step.get("msg")) for step in steps if isinstance(step, Mapping)))
    for key in ("error", "err"):
        if fields.get(key):
            parts.append(str(fields[key]))
    for key in ("agent", "name", "server", "duration"):
        if fields.get(key):
            parts[-1] += f" {key}={fields[key]}"
    return ": ".join(part for part in parts if part)


def _smee(fields: Mapping[str, Any], host: str) -> str:
    if fields.get("uri"):
        return f"{fields.get('method', 'GET')} {fields['uri']} from {fields.get('client')}: {fields.get('status')}"
    text = _readable(fields)
    return f"{text} (MAC {host})" if host and _DENIED in text else text


def _client(fields: Mapping[str, Any]) -> str:
    """The machine a line of Smee is about: the MAC in `uri` or `mac`, else `client` (base64 of six bytes, or IP)."""
    found = mac_in(str(fields.get("uri") or "")) or mac_in(str(fields.get("mac") or ""))
    client = str(fields.get("client") or "")
    return found or mac_of_base64(client) or mac_in(client) or client


def mac_in(text: str) -> str:
    """The first MAC address in `text`, in lower case; empty where there is none."""
    found = re.search(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}(?![0-9a-fA-F])", text)
    return found[0].lower().replace("-", ":") if found else ""


def mac_of_base64(text: str) -> str:
    """The MAC whose six bytes `text` is the base64 of, as Smee prints it; empty where it is none."""
    if len(text) != 8:
        return ""
    try:
        return base64.b64decode(text, validate=True).hex(":")
    except (binascii.Error, ValueError):
        return ""


def source_of_workload(name: str, default: str = SMEE) -> str:
    """The source of a pod's lines that do not say it themselves, by the name of its deployment or container."""
    return next((source for word, source in _NAMES.items() if word in name), default)
