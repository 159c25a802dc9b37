"""What an object must be to be stored: kube-apiserver's rules on metadata, and the schema of its kind."""

from __future__ import annotations

import re

from metalfoundry.lab.kubernetes.errors import BadRequest, InvalidObject
from metalfoundry.lab.kubernetes.resources import Kind
from metalfoundry.lab.kubernetes.schema import RELEASES, schema_of
from metalfoundry.lab.kubernetes.store import Conflict, Invalid, Object, StoreError

_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LOOSE_NAMES = ("roles", "rolebindings")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)")
_NO_TIME = "0001-01-01T00:00:00Z"
_TEXTS = ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "creationTimestamp")
_NUMBERS = ("generation", "deletionGracePeriodSeconds")
_SYSTEM = ("generation", "creationTimestamp", "uid")


def admit(kind: Kind, obj: Object, name: str, current: Object | None = None, *, release: str = RELEASES[0]) -> Object:
    """`obj` as it may be stored over `current` (None: created), by the fields of that release of Tinkerbell.

    Raises BadRequest for another name, Conflict for an old resourceVersion, Invalid for what breaks a rule.
    """
    meta = obj.get("metadata")
    _check_types(obj)
    if not isinstance(meta, dict) or not meta.get("name"):
        raise BadRequest(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if meta["name"] != name:
        raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
    if (obj["apiVersion"], obj["kind"]) != (kind.api_version, kind.kind):
        wrong, must = ("kind", kind.kind) if obj["kind"] != kind.kind else ("apiVersion", kind.api_version)
        raise InvalidObject(obj["kind"], name, [f'{wrong}: Invalid value: "{obj[wrong]}": must be {must}'])
    if current is not None and meta.get("namespace") not in (None, "", current["metadata"].get("namespace")):
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    schema = schema_of(kind.group, kind.kind, release)
    faults = _metadata_faults(kind, meta)
    if schema is not None:
        obj, _ = schema.tidy(obj)
        faults += schema.faults(obj)
    if current is not None:
        _keep_identity(kind, obj, current, faults)
    if faults:
        raise InvalidObject(kind.kind, name, faults)
    for words in ("labels", "annotations"):
        if not obj["metadata"].get(words):
            obj["metadata"].pop(words, None)
    return obj


def unknown_fields(kind: Kind, obj: Object) -> list[str]:
    """The paths in `obj` that its schema does not know and that will be dropped."""
    schema = schema_of(kind.group, kind.kind)
    return schema.tidy(obj)[1] if schema else []


def _check_types(obj: Object) -> None:
    """What cannot even be read as an object: kube-apiserver refuses it as a bad patch, not as a bad object."""
    if not isinstance(obj.get("kind"), str) or not obj["kind"]:
        raise Invalid("The request is invalid: patch: Invalid value: Object 'Kind' is missing")
    if not isinstance(obj.get("apiVersion", ""), str):
        raise Invalid("The request is invalid: patch: Invalid value: apiVersion is of a wrong type")
    meta = obj["metadata"] if isinstance(obj.get("metadata"), dict) else {}
    wrong = [field for field in _TEXTS if not isinstance(meta.get(field), str | None)]
    wrong += [field for field in ("creationTimestamp",) if not _TIME.fullmatch(str(meta.get(field) or _NO_TIME))]
    wrong += [field for field in _NUMBERS if not _is_number(meta.get(field))]
    for field in ("labels", "annotations"):
        words = meta.get(field)
        if words is not None and not _is_words(words):
            wrong.append(field)
    if wrong:
        raise Invalid(f"The request is invalid: patch: Invalid value: metadata.{wrong[0]} is of a wrong type")
    if not obj.get("apiVersion"):
        raise StoreError("Internal error occurred: Object 'apiVersion' is missing in 'object has no apiVersion field'")


def _is_number(value: object) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return value is None or (whole and not isinstance(value, bool))


def _is_words(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str | None) for each in value.values())


def _metadata_faults(kind: Kind, meta: Object) -> list[str]:
    faults = []
    if kind.plural not in _LOOSE_NAMES and not _NAME.fullmatch(meta["name"]):
        faults.append(f'metadata.name: Invalid value: "{meta["name"]}": a lowercase RFC 1123 subdomain is required')
    for field in ("labels", "annotations"):
        for key in meta.get(field) or {}:
            if not _QUALIFIED.fullmatch(key.rpartition("/")[2]):
                faults.append(f'metadata.{field}: Invalid value: "{key}": {_NAME_PART}')
    for value in (meta.get("labels") or {}).values():
        if value and not _LABEL.fullmatch(value):
            faults.append(f'metadata.labels: Invalid value: "{value}": {_LABEL_VALUE}')
    return faults


def _keep_identity(kind: Kind, obj: Object, current: Object, faults: list[str]) -> None:
    meta, was = obj["metadata"], current["metadata"]
    version = meta.get("resourceVersion")
    if not version:
        faults.append("metadata.resourceVersion: Invalid value: 0x0: must be specified for an update")
    elif not version.isdecimal():
        raise StoreError(f'Internal error occurred: invalid resource version "{version}"')
    elif version != was["resourceVersion"]:
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.resource} "{was["name"]}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
    if meta.get("uid") not in (None, "", was["uid"]):
        faults.append(f'metadata.uid: Invalid value: "{meta["uid"]}": field is immutable')
    if kind.namespaced:
        meta["namespace"] = was["namespace"]
    for field in _SYSTEM:
        if field in was:
            meta[field] = was[field]


_NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
