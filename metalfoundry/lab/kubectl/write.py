"""kubectl patch, apply, create and delete."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml

from metalfoundry.lab.clock import UnknownForm
from metalfoundry.lab.kubectl import access, output
from metalfoundry.lab.kubectl.args import Arguments
from metalfoundry.lab.kubectl.manifests import documents, read_text, source, values
from metalfoundry.lab.kubectl.read import fetch, namespace_of, targets
from metalfoundry.lab.kubectl.session import Failure, Session
from metalfoundry.lab.kubernetes.admission import unknown_fields
from metalfoundry.lab.kubernetes.errors import BadRequest
from metalfoundry.lab.kubernetes.jsonpatch import apply_patch, merge_difference, merge_patch
from metalfoundry.lab.kubernetes.resources import Kind, of_object
from metalfoundry.lab.kubernetes.store import NotFound, Object, StoreError

_MOVES = ("move", "copy")
_MISSING = (
    "Warning: resource {} is missing the kubectl.kubernetes.io/last-applied-configuration annotation which is required "
    "by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create "
    "--save-config or kubectl apply. The missing annotation will be patched automatically.\n"
)


def patch(session: Session, words: Arguments) -> int:
    """Run `kubectl patch`, with --type=json or --type=merge."""
    form = output.known(words.value("output"))
    wanted, single = targets(words.plain)
    body = _patch_body(session, words)
    if not single or not wanted[0].name:
        raise UnknownForm("patch of several objects")
    kind, name, namespace = wanted[0].kind, wanted[0].name, namespace_of(words)
    before = fetch(session, kind, name, namespace)
    session.request("patch", kind, name, namespace)
    if words.value("type") == "json":
        if isinstance(body, list) and any(isinstance(each, dict) and each.get("op") in _MOVES for each in body):
            raise UnknownForm("a JSON patch that moves or copies")
        _warn(session, kind, name, body)
        after = session.store.patch(kind.key, name, body, whole=False)
    elif words.value("type") == "merge":
        for path in unknown_fields(kind, merge_patch(before, body)):
            session.err(f'Warning: unknown field "{path}"\n')
        after = session.store.merge(kind.key, name, body, whole=False)
    else:
        raise UnknownForm(f"patch --type={words.value('type', 'strategic')}")
    changed = before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]
    _report(session, form, [after], ["patched" if changed else "patched (no change)"])
    return 0


def _warn(session: Session, kind: Kind, name: str, operations: Any) -> None:
    patched = apply_patch(session.store.get(kind.key, name), operations)
    if isinstance(patched, dict):
        for path in unknown_fields(kind, patched):
            session.err(f'Warning: unknown field "{path}"\n')


def _patch_body(session: Session, words: Arguments) -> Any:
    if "patch-file" in words.values:
        text = read_text(session, words.value("patch-file"))
    elif "patch" in words.values:
        text = words.value("patch")
    else:
        raise Failure("error: must specify --patch or --patch-file containing the contents of the patch")
    try:
        return values(text)[0]
    except (yaml.YAMLError, IndexError) as error:
        raise Failure(f'error: unable to parse "{text}": yaml: {error}') from error


def apply(session: Session, words: Arguments) -> int:
    """Run `kubectl apply -f`, client side, by the last-applied annotation."""
    return _each_document(session, words, "apply", _apply_one)


def create(session: Session, words: Arguments) -> int:
    """Run `kubectl create -f`."""
    return _each_document(session, words, "create", _create_one)


def _each_document(session: Session, words: Arguments, verb: str, deed: Any) -> int:
    if words.plain:
        raise UnknownForm(f"{verb} {words.plain[0]}")
    form = output.known(words.value("output"))
    manifests = documents(session, words.value("filename"))
    if not manifests:
        raise Failure(f"error: no objects passed to {verb}")
    done, said, faults = list[Object](), list[str](), list[str]()
    for document in manifests:
        kind = of_object(str(document.get("apiVersion")), str(document.get("kind")))
        if document.get("kind") == "SelfSubjectRulesReview":
            done.append(access.rules_review(session))
            said.append("created")
            continue
        if kind is None:
            raise Failure(_no_match(document, source(words)))
        _in_namespace(document, kind, words)
        try:
            obj, word = deed(session, kind, document, words)
            done.append(obj)
            said.append(word)
        except StoreError as error:
            faults.append(session.refused(error, f'error when creating "{source(words)}"'))
    _report(session, form, done, said)
    session.err("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


def _create_one(session: Session, kind: Kind, document: Object, words: Arguments) -> tuple[Object, str]:
    namespace = namespace_of(words)
    session.request("create", kind, "", namespace)
    if kind.namespaced and namespace != session.store.namespace:
        raise NotFound(f'namespaces "{namespace}" not found')
    _strict(kind, document, words)
    return session.store.create(kind.key, document, whole=False), "created"


def _apply_one(session: Session, kind: Kind, document: Object, words: Arguments) -> tuple[Object, str]:
    name, namespace = str(document["metadata"].get("name") or ""), namespace_of(words)
    if not name:
        raise Failure("error: resource name may not be empty")
    annotations = document["metadata"].setdefault("annotations", None) or {}
    document["metadata"]["annotations"] = annotations
    annotations.pop(output.LAST_APPLIED, None)
    wanted = copy.deepcopy(document)
    wanted["metadata"]["annotations"][output.LAST_APPLIED] = output.compact(document) + "\n"
    try:
        current = fetch(session, kind, name, namespace)
    except NotFound:
        return _create_one(session, kind, wanted, words)
    last = (current["metadata"].get("annotations") or {}).get(output.LAST_APPLIED)
    if last is None:
        session.err(_MISSING.format(f"{kind.plural}/{name}"))
    difference = three_way(json.loads(last) if last else {}, wanted, current)
    if not difference:
        return current, "unchanged"
    _strict(kind, merge_patch(current, difference), words)
    session.request("patch", kind, name, namespace)
    return session.store.merge(kind.key, name, difference, whole=False), "configured"


def three_way(last: Object, wanted: Object, current: Object) -> Object:
    """The merge patch of `kubectl apply`: what `wanted` sets, and away with what `last` set and `wanted` does not."""
    changes = _filtered(merge_difference(current, wanted), nulls=False)
    removals = _filtered(merge_difference(last, wanted), nulls=True)
    return _joined(removals, changes)


def _filtered(patch: Object, *, nulls: bool) -> Object:
    kept: Object = {}
    for key, value in patch.items():
        if value is None:
            if nulls:
                kept[key] = None
        elif isinstance(value, dict) and value:
            if inner := _filtered(value, nulls=nulls):
                kept[key] = inner
        elif not nulls:
            kept[key] = value
    return kept


def _joined(one: Object, other: Object) -> Object:
    joined = dict(one)
    for key, value in other.items():
        old = joined.get(key)
        joined[key] = _joined(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return joined


def delete(session: Session, words: Arguments) -> int:
    """Run `kubectl delete`."""
    form, namespace, faults = words.value("output"), namespace_of(words), list[str]()
    if form not in ("", "name"):
        raise UnknownForm(f"delete -o {form}")
    wanted = _deletions(session, words)
    for kind, name in wanted:
        try:
            session.request("delete", kind, name, namespace)
            fetch_here = kind.namespaced and namespace != session.store.namespace
            if fetch_here:
                raise NotFound(f'{kind.resource} "{name}" not found')
            session.store.delete(kind.key, name)
            title = kind.title(name) if form == "name" else f'{kind.title("")[:-1]} "{name}" deleted'
            session.out(title + "\n")
        except NotFound as error:
            if not words.flag("ignore-not-found"):
                faults.append(session.refused(error))
        except StoreError as error:
            faults.append(session.refused(error))
    session.err("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


def _deletions(session: Session, words: Arguments) -> list[tuple[Kind, str]]:
    if "filename" in words.values:
        manifests = documents(session, words.value("filename"))
        kinds = [(of_object(str(each.get("apiVersion")), str(each.get("kind"))), each) for each in manifests]
        return [(kind, each["metadata"]["name"]) for kind, each in kinds if kind]
    wanted, _ = targets(words.plain)
    if any(not target.name for target in wanted):
        raise Failure("error: resource(s) were provided, but no name was specified")
    return [(target.kind, target.name) for target in wanted]


def _report(session: Session, form: str, objects: list[Object], said: list[str]) -> None:
    if form == "":
        for obj, word in zip(objects, said, strict=True):
            session.out(f"{output.title(obj)} {word}\n")
    elif objects:
        session.out(output.one(objects[0] if len(objects) == 1 else output.as_list(objects), form))


def _strict(kind: Kind, document: Object, words: Arguments) -> None:
    unknown = unknown_fields(kind, document) if words.flag("validate", True) else []
    if unknown:
        fields = ", ".join(f'unknown field "{path}"' for path in unknown)
        version = kind.version
        raise BadRequest(
            f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: strict decoding error: {fields}'
        )


def _in_namespace(document: Object, kind: Kind, words: Arguments) -> None:
    meta = document.setdefault("metadata", {})
    if not kind.namespaced:
        return
    own, said = meta.get("namespace"), namespace_of(words)
    if own and own != said:
        raise Failure(
            f'error: the namespace from the provided object "{own}" does not match the namespace "{said}". '
            f"You must pass '--namespace={own}' to perform this operation."
        )
    meta["namespace"] = said


def _no_match(document: Object, source: str) -> str:
    if not document.get("kind"):
        return f"error: unable to decode \"{source}\": Object 'Kind' is missing in '{output.compact(document)}'"
    name = (document.get("metadata") or {}).get("name", "")
    return (
        f'error: resource mapping not found for name: "{name}" namespace: "" from "{source}": no matches for kind '
        f'"{document["kind"]}" in version "{document.get("apiVersion")}"\nensure CRDs are installed first'
    )
