"""The same JSON patches on the embedded store and on a real API server: same refusals, same objects."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import NotFound, Store, StoreError
from tests.contract.parties import scrub
from tests.contract.table import NAMESPACE, hardware
from tests.real.api import Unreachable
from tests.real.kube import Kube

pytestmark = pytest.mark.real

NETBOOT = "/spec/interfaces/0/netboot"
NOTES = "/metadata/annotations"
PATHS = (
    *(NETBOOT, f"{NETBOOT}/allowPXE", f"{NETBOOT}/allowWorkflow", f"{NETBOOT}/ipxe", f"{NETBOOT}/ipxe/url"),
    *(NOTES, f"{NOTES}/kept", f"{NOTES}/a~1b", f"{NOTES}/metalfoundry.dev~1run", f"{NOTES}/bad key"),
    *("/metadata/labels", "/metadata/labels/rack", "/metadata/name", "/metadata/uid", "/metadata/zork"),
    *("/metadata/resourceVersion", "/metadata/generation", "/metadata/namespace", "/metadata/creationTimestamp"),
    *("/spec", "/spec/interfaces", "/spec/interfaces/0", "/spec/interfaces/1", "/spec/interfaces/-"),
    *("/spec/interfaces/-1", "/spec/interfaces/7", "/spec/interfaces/x", "/spec/interfaces/1/netboot"),
    *("/spec/interfaces/0/dhcp", "/spec/interfaces/0/dhcp/mac", "/spec/interfaces/0/dhcp/lease_time"),
    *("/spec/interfaces/0/disableDhcp", "/spec/userData", "/spec/zork", "/spec/zork/deeper", "/spec/disks"),
    *("/spec/disks/0", "/spec/disks/0/device", "/spec/auto", "/spec/resources", "/spec/resources/memory"),
    *("/status", "/status/state", "spec/userData", "/zork", "", "/", "/kind", "/apiVersion"),
)
LIKELY = PATHS[:10]
VALUES: tuple[Any, ...] = (
    *(None, True, False, "x", "", "r1", 0, 1, 7, 1.5, 2.0, [], {}, "00:00:5e:00:53:4b", "00:00:5E:00:53:4B"),
    *({"allowPXE": True}, {"allowPXE": None}, {"ipxe": {"url": "http://x"}}, {"a": "b"}, {"a": None}, {"a": 1}),
    *({"dhcp": {"mac": "00:00:5e:00:53:4b"}, "netboot": {}}, [{}], [None], {"interfaces": []}, {"device": "/dev/sda"}),
    *({"enrollmentEnabled": True}, {"memory": "8G"}, {"memory": 3}, {"memory": True}),
)


def _operations() -> st.SearchStrategy[dict[str, Any]]:
    paths = st.one_of(st.sampled_from(LIKELY), st.sampled_from(PATHS))
    valued = st.fixed_dictionaries(
        {"op": st.sampled_from(("add", "replace", "test")), "path": paths, "value": st.sampled_from(VALUES)}
    )
    removed = st.fixed_dictionaries({"op": st.just("remove"), "path": paths})
    return st.one_of(valued, valued, removed)


def _patches() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Patches of status or of the rest: over HTTP the two are two requests, and not one step."""
    return st.lists(_operations(), min_size=1, max_size=4).filter(
        lambda patch: len({each["path"].startswith("/status") for each in patch if each["op"] != "test"}) < 2
    )


@pytest.fixture(scope="module")
def real_store(kube: Kube) -> Store:
    return kube.store(NAMESPACE)


@settings(
    derandomize=True,
    max_examples=250,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(patches=st.lists(_patches(), min_size=1, max_size=6))
def test_store_and_api_server_agree(real_store: Store, patches: list[list[dict[str, Any]]]) -> None:
    memory = MemoryStore(NAMESPACE)
    for store in (memory, real_store):
        _fresh(store)
    for operations in patches:
        want, got = _outcome(real_store, operations), _outcome(memory, operations)
        assert got[1:] == want[1:], operations
        assert got[0] == want[0] or {got[0], want[0]} == {"refused", "422 Invalid"}, operations


def _fresh(store: Store) -> None:
    with contextlib.suppress(NotFound):
        store.delete("hardware", "patched")
    store.create("hardware", json.loads(hardware("patched", disks=[{"device": "/dev/sda"}])))


def _outcome(store: Store, operations: list[dict[str, Any]]) -> tuple[str, bool, Any]:
    """How the patch ended, whether it made a new version, and what the object is now."""
    before = store.get("hardware", "patched")
    try:
        store.patch("hardware", "patched", operations)
        ended = "ok"
    except StoreError as error:
        # A parent that an earlier operation made null makes the API server's handler panic: refused, in effect.
        ended = "refused" if isinstance(error, Unreachable) else f"{error.code} {error.reason}"
    after = store.get("hardware", "patched")
    return ended, before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"], scrub(after)
