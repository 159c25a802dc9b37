"""The lab's table of Tinkerbell's fields against the CRDs: the same facts, the same verdict on generated objects."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalfoundry.lab.kubernetes.admission import admit
from metalfoundry.lab.kubernetes.errors import InvalidObject
from metalfoundry.lab.kubernetes.resources import BMC, KINDS, TINKERBELL, Kind
from metalfoundry.lab.kubernetes.schema import RELEASES, Column, Field, Schema, schema_of
from metalfoundry.lab.kubernetes.store import Object, StoreError
from tests.contract.table import NAMESPACE
from tests.real.api import ApiClient
from tests.real.kube import Kube
from tests.realtier import need_assets, need_crds

CUSTOM = [kind for kind in KINDS if kind.group in (TINKERBELL, BMC)]
_SILENT = {"description", "x-kubernetes-map-type", "x-kubernetes-list-type"}
_UNCHECKED = {"url"}  # a format that kube-apiserver does not know


def crd(release: str, kind: Kind) -> dict[str, Any]:
    file = need_crds(f"v{release}") / f"{kind.group}_{kind.plural}.yaml"
    return yaml.safe_load(file.read_text())  # type: ignore[no-any-return]


def schema_from(document: dict[str, Any]) -> Schema:
    """What a CRD says, in the table's terms."""
    version = document["spec"]["versions"][0]
    columns = [
        Column(each["name"].upper(), each["jsonPath"], bool(each.get("priority")))
        for each in version.get("additionalPrinterColumns", ())
    ]
    return Schema(field_from(version["schema"]["openAPIV3Schema"]), tuple(columns))


def field_from(node: dict[str, Any]) -> Field:
    """One value of an OpenAPI schema; raises KeyError for a keyword that the table has no word for."""
    rest = {key: value for key, value in node.items() if key not in _SILENT}
    facts: dict[str, Any] = {"type": rest.pop("type", "")}
    if rest.pop("x-kubernetes-int-or-string", False):
        assert rest.pop("anyOf") == [{"type": "integer"}, {"type": "string"}]
        facts["type"] = "quantity"
    for key, value in rest.items():
        if key == "properties":
            facts["fields"] = {name: field_from(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties"):
            facts["inside"] = field_from(value)
        elif key == "required":
            facts["required"] = tuple(sorted(value))
        elif key == "x-kubernetes-validations":
            facts["together"] = ("boot_file_name", "tftp_server_name")
            assert [rule["rule"] for rule in value] == [_BOTH.format(*reversed(facts["together"]))]
        elif key == "enum":
            facts["options"] = tuple(value)
        elif key != "format" or value not in _UNCHECKED:
            facts[_NAMES[key]] = value
    return Field(**facts)


_BOTH = '(has(self.{0}) && self.{0} != "") == (has(self.{1}) && self.{1} != "")'
_NAMES = {"default": "default", "pattern": "pattern", "format": "format"}
_NAMES |= {"minLength": "least", "minItems": "least", "maxProperties": "most"}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", CUSTOM, ids=lambda kind: kind.resource)
def test_the_table_says_what_the_crd_says(release: str, kind: Kind) -> None:
    document = crd(release, kind)
    assert schema_of(kind.group, kind.kind, release) == schema_from(document)
    names, version = document["spec"]["names"], document["spec"]["versions"][0]
    assert (kind.plural, kind.singular, kind.version) == (names["plural"], names["singular"], version["name"])
    assert set(names.get("shortNames", ())) <= set(kind.short)
    assert version["subresources"] == {"status": {}}


def test_every_crd_has_its_kind() -> None:
    for release in RELEASES:
        files = {file.stem for file in need_crds(f"v{release}").iterdir()}
        assert files == {f"{kind.group}_{kind.plural}" for kind in CUSTOM}


_ODD = st.sampled_from(
    [None, True, False, 0, 7, 623, 1.5, 2.0, 2**40, 2**70, "", "x", "on", "2Gi", [], ["x"], {}, {"x": "y"}, [None]]
)
_TEXTS = st.sampled_from(
    [
        *("", "x", "1", "4095", "IPMITOOL", "00:00:5e:00:53:01", "00:00:5E:00:53:01", "192.0.2.1", "192.0.2.0/24"),
        *("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+01:00", "2026-01-02", "yesterday", "http://x/y", "y/z"),
    ]
)


def values(known: Field) -> st.SearchStrategy[Any]:
    """Values for a field: most of them such as it wants, some of them not."""
    return st.one_of(*[_likely(known)] * 6, _ODD)


def _likely(known: Field) -> st.SearchStrategy[Any]:
    if known.type == "array" and known.inside:
        return st.lists(values(known.inside), max_size=3)
    if known.inside:
        return st.dictionaries(st.sampled_from(["a", "b"]), values(known.inside), max_size=2)
    if known.type == "object":
        # Few fields of the many: an object with all of them is refused for one wrong word somewhere.
        names = st.sets(st.sampled_from([*known.fields, "unheard"]), max_size=3).map(
            lambda some: sorted({*some, *known.required})
        )
        return names.flatmap(
            lambda some: st.fixed_dictionaries({name: values(known.fields.get(name, Field("string"))) for name in some})
        )
    if known.type == "boolean":
        return st.booleans()
    if known.type == "integer":
        return st.sampled_from([0, 1, 7, -1, 4294967294, 2**31, 2**63, 3.0])
    return st.one_of(_TEXTS, st.sampled_from([*known.options] or ["x"]), st.sampled_from([known.default or "x"]))


def _verdict(found: Object | StoreError) -> Any:
    """What an object was made to, or the fields for which it was refused."""
    if isinstance(found, StoreError):
        assert found.reason == "Invalid", found
        return sorted({cause.partition(": ")[0] for cause in found.causes} - {"<nil>"})
    return {part: found[part] for part in ("spec", "status") if part in found}


def _lab(kind: Kind, document: Object, release: str) -> Object | StoreError:
    try:
        return admit(kind, copy.deepcopy(document), "one", release=release)
    except InvalidObject as error:
        return error


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """An API server of its own with the CRDs of both releases, each in groups of another name, and without the
    subresource that would drop what is said of status.
    """
    with Kube(need_assets(), tmp_path_factory.mktemp("kube")) as kube:
        for release in RELEASES:
            folder = tmp_path_factory.mktemp("crds")
            for kind in CUSTOM:
                document, group = crd(release, kind), real_kind(kind, release).group
                document["metadata"]["name"] = f"{kind.plural}.{group}"
                document["spec"]["group"] = group
                document["spec"]["versions"][0]["subresources"] = {}
                (folder / f"{kind.resource}.yaml").write_text(yaml.safe_dump(document))
            kube.apply_crds(folder)
        kube.make_namespace(NAMESPACE)
        yield kube.client()


def real_kind(kind: Kind, release: str) -> Kind:
    return replace(kind, group=f"v{release.replace('.', '-')}.{kind.group}")


@pytest.mark.real
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", CUSTOM, ids=lambda kind: kind.resource)
def test_generated_objects_are_kept_defaulted_and_refused_as_by_the_api_server(
    kind: Kind, release: str, client: ApiClient
) -> None:
    schema = schema_of(kind.group, kind.kind, release)
    assert schema is not None
    real = real_kind(kind, release)
    whole = st.fixed_dictionaries({}, optional={part: values(schema.root.fields[part]) for part in ("spec", "status")})

    @settings(
        derandomize=True, max_examples=80, deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(body=whole)
    def agree(body: Object) -> None:
        document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "one"}, **body}
        want: Object | StoreError
        try:
            path = real.path(NAMESPACE) + "?dryRun=All"
            want = client.request("POST", path, document | {"apiVersion": real.api_version})
        except StoreError as error:
            want = error
        assert _verdict(_lab(kind, document, release)) == _verdict(want), want

    agree()
