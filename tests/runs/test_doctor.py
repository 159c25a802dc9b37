"""What the doctor makes of what was read: the cases for which the lab has no broken part."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

import pytest

from metalfoundry.commands.boot_order import read_boot_order
from metalfoundry.commands.examine import read_smee, read_version
from metalfoundry.commands.kubernetes import Version
from metalfoundry.commands.script import Outcome
from metalfoundry.diagnosis.check import Check, CheckState
from metalfoundry.diagnosis.known_bugs import bugs_of
from metalfoundry.model.errors import AuthError, ConnectError, HostKeyError, MetalfoundryError, PreflightError
from metalfoundry.model.resources import ARGO_TRACKING
from metalfoundry.model.templates import missing_keys
from metalfoundry.runs.doctor_server import SERVER_CHECKS, MachineLook, check_server
from metalfoundry.runs.doctor_site import SITE_CHECKS, check_site
from metalfoundry.site.snapshot import ClusterSnapshot
from tests.runs.scene import MAC, OLD, Scene

DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "tinkerbell"},
    "spec": {"template": {"spec": {"containers": [{"image": "ghcr.io/tinkerbell/tinkerbell:v0.12.1"}]}}},
    "status": {"readyReplicas": 1},
}
PARTS: dict[str, Any] = {
    "objects": {"items": []},
    "client": {"clientVersion": {"gitVersion": "v1.20.2"}},
    "server": {"gitVersion": "v1.33.4"},
    "served": {"versions": [{"version": "v1alpha1"}]},
    "deployments": {"items": [DEPLOYMENT]},
    "rights": {"status": {"incomplete": True}},
}


def done(result: Any = None, error: BaseException | None = None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


def snapshot(scene: Scene, ahead: float = 0.0, **parts: Any) -> ClusterSnapshot:
    texts = {name: json.dumps(value) for name, value in {**PARTS, **parts}.items()}
    outcomes = {name: Outcome(0, text, "") for name, text in texts.items()} | {"tools": Outcome(0, "", "")}
    return ClusterSnapshot(outcomes, scene.clock.now().wall, ahead)


def of_site(scene: Scene, looking: Future[Any]) -> dict[str, Check]:
    checks, _ = check_site(scene.run.site, [scene.run.server], looking, done([]))
    assert [check.check for check in checks] == [*SITE_CHECKS]
    return {check.check: check for check in checks}


def of_server(scene: Scene, look: MachineLook | None = None, **meta: Any) -> dict[str, Check]:
    hardware = {
        "kind": "Hardware",
        "metadata": {"name": "anvil", **meta.get("metadata", {})},
        "spec": {"interfaces": [{"dhcp": {"mac": meta.get("mac", MAC)}}]},
    }
    seen = snapshot(scene, objects={"items": [hardware]})
    checks = check_server(scene.run.site, scene.run.server, seen, look or MachineLook(why="not asked"))
    assert [check.check for check in checks] == [*SERVER_CHECKS]
    return {check.check: check for check in checks}


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (ConnectError("no route", next="ping it"), "jump-host"),
        (HostKeyError("changed", next="ssh-keygen -R"), "jump-key"),
        (AuthError("refused", next="ssh-copy-id"), "jump-login"),
        (PreflightError("no shell", next="sh"), "jump-shell"),
    ],
)
def test_the_step_to_the_jump_host_that_fails_is_named(error: MetalfoundryError, failed: str) -> None:
    seen = of_site(Scene(), done(error=error))
    way = [name for name in SITE_CHECKS if name.startswith("jump-")]
    states = [seen[name].state for name in way]
    place = way.index(failed)
    assert states == ["passed"] * place + ["failed"] + ["not looked at"] * (3 - place)
    assert seen[failed].next == error.next
    assert seen["api"].state == seen["windows"].state == CheckState.UNSEEN


def test_an_older_kubectl_and_a_newer_api_are_refused() -> None:
    scene = Scene()
    old = of_site(scene, done(snapshot(scene, client={"clientVersion": {"gitVersion": "v1.19.9"}})))
    assert (old["kubectl"].state, "older than v1.20" in old["kubectl"].what) == ("failed", True)
    new = of_site(scene, done(snapshot(scene, served={"versions": [{"version": "v1alpha2"}]})))
    assert (new["crds"].state, "served as v1alpha2" in new["crds"].what) == ("failed", True)
    fine = of_site(scene, done(snapshot(scene)))
    assert {fine[name].state for name in ("kubectl", "api", "crds", "clock", "tools")} == {"passed"}
    assert "toggleAllowNetboot stays in PREPARING" in fine["tinkerbell"].what


def test_what_proves_nothing_is_not_looked_at() -> None:
    scene = Scene()
    seen = of_site(scene, done(snapshot(scene, deployments={"items": []})))
    assert {name for name, check in seen.items() if check.state is CheckState.UNSEEN} >= {
        "rights", "rights-to-diagnose", "smee", "tinkerbell"
    }  # fmt: skip


def test_the_jump_hosts_clock() -> None:
    scene = Scene()
    seen = of_site(scene, done(snapshot(scene, ahead=-31.0)))
    assert seen["clock"].what == "the clock of 192.0.2.103 is 31 s behind this computer's"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("00:00:5E:00:53:C0", "not in lower case"),
        ("00-00-5e-00-53-c0", "not in lower case"),
        ("eno1", "has no MAC but"),
    ],
)
def test_a_mac_that_smee_does_not_find(written: str, words: str) -> None:
    check = of_server(Scene(), mac=written)["mac"]
    assert (check.state, words in check.what) == (CheckState.FAILED, True)
    assert ('"value":"00:00:5e:00:53:c0"' in check.next) is ("lower" in words)


def test_argo_cd_is_named() -> None:
    notes = {ARGO_TRACKING: "metal:tinkerbell.org/Hardware:tink-system/anvil"}
    check = of_server(Scene(), metadata={"annotations": notes})["gitops"]
    assert check.state is CheckState.UNSEEN
    assert "Argo CD (metal)" in check.what
    assert "ignoreDifferences" in check.next


def test_a_machine_whose_clock_is_wrong() -> None:
    scene = Scene()
    at = scene.clock.now().wall
    right = scene_facts(at.timestamp())
    assert of_server(scene, MachineLook(right, at=at))["machine-clock"].state is CheckState.PASSED
    check = of_server(scene, MachineLook(scene_facts(at.timestamp() - 3600), at=at))["machine-clock"]
    assert check.what == "its clock is 3600 s behind the jump host's"


def scene_facts(clock: float) -> Any:
    from dataclasses import replace

    return replace(OLD, clock=clock)


ORDER = "BootCurrent: 0001\nTimeout: 1 seconds\nBootOrder: 0001,0003\nBoot0001* ubuntu\tHD(1)/File()\n"


@pytest.mark.parametrize(
    ("text", "netboots", "network"),
    [
        (ORDER + "Boot0003* Network: IPv4 eno1\n", False, "0003"),
        (ORDER.replace("0001,0003", "0003,0001") + "Boot0003* UEFI: PXE IPv4 Intel(R)\n", True, "0003"),
        ("BootNext: 0003\n" + ORDER + "Boot0003* EFI Network\n", True, "0003"),
        ("BootNext: 0007\n" + ORDER + "Boot0007* PXEv4 (MAC:00005E0053C0)\n", True, "0007"),
        (ORDER, False, ""),
    ],
)
def test_the_boot_order_as_efibootmgr_tells_it(text: str, netboots: bool, network: str) -> None:
    order = read_boot_order(text)
    assert order is not None
    assert (order.netboots, (order.network or ("",))[0]) == (netboots, network)


def test_texts_that_tell_nothing() -> None:
    assert read_boot_order("EFI variables are not supported on this system.") is None
    assert read_smee(Outcome(0, "anvil 00:00:5e:00:53:c0 404\nnonsense\n", "")) == {}
    assert read_version("v1.x") is None


def test_the_bugs_of_a_release() -> None:
    def known(tag: str) -> set[str]:
        version = Version.of(f"x:{tag}")
        assert version is not None
        return {bug.source for bug in bugs_of(version)}

    assert known("v0.12.1") == {"tink PR#1055", "T ae4d5256"}
    assert known("v0.21.0") == {"T PR#700", "T PR#964", "T PR#410"}
    assert known("v0.25.0") == {"T PR#964", "T PR#700"}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("worker: {{.device_1}}", ["device_1"]),
        ("{{ .a }} {{ .Hardware.Disks }} {{ (index .b 0).c }}", ["b"]),
        ("{{ range .list }}{{ .inner }}{{ end }}{{ .after }}", ["after"]),
        ('{{ if eq .a "x" }}{{ .c }}{{ end }}', ["c"]),
        ("{{ . }}{{/* .none */}}", []),
    ],
)
def test_keys_that_a_template_names(text: str, missing: list[str]) -> None:
    assert missing_keys(text, {"a", "Hardware", "list"}) == missing
