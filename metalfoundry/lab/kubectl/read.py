"""kubectl get: objects, lists and watches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.kubectl import output
from metalfoundry.lab.kubectl.args import Arguments
from metalfoundry.lab.kubectl.session import Failure, Session
from metalfoundry.lab.kubernetes.resources import KINDS, TINKERBELL, Kind, resolve
from metalfoundry.lab.kubernetes.store import NotFound, Object, StoreError

VERSION = "v1.33.4"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class ReadTarget:
    """One kind, and one name of it or "" for all."""

    kind: Kind
    name: str = ""


def namespace_of(words: Arguments) -> str:
    """The namespace that was said, or kubectl's default."""
    return words.value("namespace", "default")


def targets(plain: tuple[str, ...]) -> tuple[list[ReadTarget], bool]:
    """What the plain words name, and whether that is exactly one object; raises Failure for a type not served."""
    if not plain:
        raise Failure("error: Required resource not specified.")
    if "/" in plain[0]:
        if any(word.count("/") > 1 for word in plain):
            raise Failure("error: arguments in resource/name form may not have more than one slash")
        pairs = [word.partition("/") for word in plain]
        return [ReadTarget(_kind(kind), name) for kind, _, name in pairs], len(plain) == 1
    kinds = [_kind(word) for word in plain[0].split(",")]
    if len(plain) == 1:
        return [ReadTarget(kind) for kind in kinds], False
    return [ReadTarget(kind, name) for kind in kinds for name in plain[1:]], len(kinds) == 1 and len(plain) == 2


def _kind(word: str) -> Kind:
    kind = resolve(word)
    if kind is None:
        raise Failure(f'error: the server doesn\'t have a resource type "{word.partition(".")[0]}"')
    return kind


def fetch(session: Session, kind: Kind, name: str, namespace: str) -> Object:
    """One object, as a GET gives it; raises NotFound, Forbidden, ApiUnreachable."""
    session.request("get", kind, name, namespace)
    if kind.namespaced and namespace not in (session.store.namespace, "default"):
        raise NotFound(f'namespaces "{namespace}" not found')
    if kind.namespaced and namespace == "default" != session.store.namespace:
        raise NotFound(f'{kind.resource} "{name}" not found')
    return session.store.get(kind.key, name)


def get(session: Session, words: Arguments) -> int:
    """Run `kubectl get`."""
    if "raw" in words.values:
        return _raw(session, words.value("raw"))
    form = output.known(words.value("output"))
    wanted, single = targets(words.plain)
    if words.flag("watch"):
        return _watch(session, words, wanted, form)
    found, faults = list[tuple[Kind, list[Object]]](), list[str]()
    for target in wanted:
        try:
            found.append((target.kind, _objects(session, words, target)))
        except NotFound as error:
            if not words.flag("ignore-not-found"):
                faults.append(session.refused(error))
        except StoreError as error:
            faults.append(session.refused(error))
    if form in ("", "wide"):
        _table(session, words, found, form, quiet=bool(faults))
    elif not (single and faults) and (found or not words.flag("ignore-not-found")):
        items = [obj for _, objects in found for obj in objects]
        session.out(output.one(items[0] if single and len(items) == 1 else output.as_list(items), form))
    session.err("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


def _objects(session: Session, words: Arguments, target: ReadTarget) -> list[Object]:
    namespace = namespace_of(words)
    if target.name:
        return [fetch(session, target.kind, target.name, namespace)]
    everywhere = words.flag("all-namespaces")
    session.request("list", target.kind, "", "" if everywhere else namespace)
    if target.kind.namespaced and namespace != session.store.namespace and not everywhere:
        return []
    return [obj for obj in session.store.list(target.kind.key) if chosen(words)(obj)]


def chosen(words: Arguments) -> Callable[[Object], bool]:
    """Whether an object fits both selectors; raises UnknownForm for a selector not known here."""
    said, label = words.value("field-selector"), words.value("selector")
    if said and re.fullmatch(r"metadata\.name=[^=,!]+", said) is None:
        raise UnknownForm(f"--field-selector {said}")
    if label and re.fullmatch(r"[^=,!() ]+=[^=,!() ]+", label) is None:
        raise UnknownForm(f"--selector {label}")
    key, _, value = label.partition("=")

    def fits(obj: Object) -> bool:
        named = not said or obj["metadata"]["name"] == said.partition("=")[2]
        return named and (not label or (obj["metadata"].get("labels") or {}).get(key) == value)

    return fits


def _table(session: Session, words: Arguments, found: list[tuple[Kind, list[Object]]], form: str, quiet: bool) -> None:
    batches = dict[Kind, list[Object]]()
    for kind, objects in found:
        batches.setdefault(kind, []).extend(objects)
    filled = [(kind, objects) for kind, objects in batches.items() if objects]
    if not filled and not quiet and not words.flag("ignore-not-found"):
        session.err(f"No resources found in {namespace_of(words)} namespace.\n")
    texts = []
    for kind, objects in filled:
        table = output.Table(kind, wide=form == "wide", full=len(filled) > 1)
        texts.append(table.text(objects))
    session.out("\n".join(texts))


def _watch(session: Session, words: Arguments, wanted: list[ReadTarget], form: str) -> int:
    if len(wanted) != 1:
        raise Failure("error: you may only specify a single resource type")
    target, namespace = wanted[0], namespace_of(words)
    show, fits = _shower(session, words, form), chosen(words)
    _objects(session, words, target)
    session.request("watch", target.kind, "", namespace)
    here = namespace == session.store.namespace or not target.kind.namespaced
    with session.following(seconds(words.value("request-timeout", "0"))) as stop:
        present, events = session.store.list_and_watch(target.kind.key, stop)
        try:
            for event, obj in chain((("ADDED", obj) for obj in present), events):
                if here and fits(obj) and target.name in ("", obj["metadata"]["name"]):
                    show(event, obj)
        finally:
            events.close()
    return 0


def _shower(session: Session, words: Arguments, form: str) -> Callable[[str, Object], None]:
    events = words.flag("output-watch-events")
    if form in ("", "wide", "yaml"):
        raise UnknownForm(f"get -w -o {form}")

    def show(event: str, obj: Object) -> None:
        if form == "json" and events:
            session.out('{"type":"' + event + '","object":' + output.compact(obj) + "}\n")
        elif form == "name":
            session.out(output.title(obj) + "\n")
        else:
            session.out(output.one({"type": event, "object": obj} if events else obj, form))

    return show


def seconds(text: str) -> float:
    """A duration such as `10s`, `1m30s` or `5` (seconds); raises UnknownForm for another text."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UnknownForm(f"duration {text!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _raw(session: Session, path: str) -> int:
    group = path.removeprefix("/apis/")
    versions = dict.fromkeys(kind.version for kind in KINDS if kind.group == group)
    if path == "/readyz":
        answer = "ok"
    elif path == "/version":
        answer = json.dumps({"major": "1", "minor": "33", "gitVersion": VERSION}, indent=2)
    elif group == TINKERBELL:
        each = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
        known = {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": each, "preferredVersion": each[0]}
        answer = json.dumps(known, separators=(",", ":")) + "\n"
    else:
        raise UnknownForm(f"get --raw {path}")
    session.request("get")
    session.out(answer)
    return 0


def version(session: Session, words: Arguments) -> int:
    """Run `kubectl version --client -o json`."""
    if not words.flag("client") or words.value("output") != "json" or words.plain:
        raise UnknownForm("version")
    session.out(json.dumps({"clientVersion": {"major": "1", "minor": "33", "gitVersion": VERSION}}, indent=2) + "\n")
    return 0
