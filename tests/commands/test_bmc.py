"""Jobs of Rufio as they are asked for, and what is read of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metalfoundry.commands import bmc
from metalfoundry.commands.bmc import BmcMachine
from metalfoundry.commands.kubectl import Kubectl
from metalfoundry.lab.kubernetes.schema import RELEASES, schema_of
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.names import is_object_name
from metalfoundry.model.resources import Hardware

KUBECTL = Kubectl(("kubectl",), "tink-system")
RUN = "20261130T134655Z-anvil-1a2b3c4d"


def hardware(*uefi: Any) -> Hardware:
    return Hardware.of({"spec": {"interfaces": [{"dhcp": {"uefi": value}} for value in uefi]}})


@pytest.mark.parametrize("release", RELEASES)
def test_a_job_is_one_that_both_releases_take(release: str) -> None:
    part = bmc.create_job(KUBECTL, bmc.job_name("anvil", RUN), "bmc-anvil", bmc.netboot_once(hardware(True)))
    job, schema = json.loads(part.stdin), schema_of("bmc.tinkerbell.org", "Job", release)
    assert schema is not None
    assert (schema.faults(job), schema.tidy(job)[1]) == ([], [])
    assert part.argv[-2:] == ("-n", "tink-system")
    assert "anvil" not in " ".join(map(str, part.argv))


@pytest.mark.parametrize(
    ("uefi", "efi"), [((), False), ((False,), False), ((False, True), True), (("true",), False), ((None,), False)]
)
def test_the_machine_boots_as_uefi_where_an_interface_says_so(uefi: tuple[Any, ...], efi: bool) -> None:
    off, once, on = bmc.netboot_once(hardware(*uefi))
    assert (off, on) == ({"powerAction": "off"}, {"powerAction": "on"})
    assert once == {"oneTimeBootDeviceAction": {"device": ["pxe"], "efiBoot": efi}}


@pytest.mark.parametrize("name", ["anvil", "rack-1.colo.example", "a" * 253, "x-" * 40 + "y"])
def test_a_jobs_name_is_an_object_name_of_63_letters_that_keeps_the_run(name: str) -> None:
    made = bmc.job_name(name, RUN)
    assert is_object_name(made) and len(made) <= bmc.MOST_LETTERS and "." not in made
    assert made.startswith("metalfoundry-") and made.endswith("-20261130t134655z-1a2b3c4d")
    assert made != bmc.job_name(name, RUN.replace("1a2b", "ffff"))


def test_a_name_that_is_none_makes_no_command() -> None:
    with pytest.raises(PreflightError, match="is not a valid object name"):
        bmc.get_machine(KUBECTL, "--all")


@pytest.mark.parametrize(
    ("status", "power", "contactable"),
    [
        ({}, "unknown", None),
        ({"powerState": "on", "conditions": [{"type": "Contactable", "status": "True"}]}, "on", True),
        ({"powerState": "off", "conditions": [{"type": "Contactable", "status": "False"}]}, "off", False),
        ({"conditions": [{"type": "Contactable", "status": "Unknown"}, "odd"]}, "unknown", None),
        ("odd", "unknown", None),
    ],
)
def test_a_machine_as_rufio_saw_it_last(status: Any, power: str, contactable: bool | None) -> None:
    seen = BmcMachine.of({"metadata": {"name": "bmc-anvil"}, "status": status})
    assert (seen.name, seen.power, seen.contactable) == ("bmc-anvil", power, contactable)


@pytest.mark.parametrize(
    ("message", "said", "look"),
    [
        ("Failed to connect to BMC: dial tcp: i/o timeout", "Rufio does not reach the BMC", "machine"),
        ("failed to connect to BMC: 401", "Rufio does not reach the BMC", "machine"),
        ("bmc task timeout: 10m0s", "the BMC did not do it in the time that Rufio gives it", "tasks"),
        ("failed to perform PowerAction: x", "the BMC refused to switch the power", "tasks"),
        ("machine tink-system/bmc-anvil not found", "there is no Machine for it", "machines"),
        ("", "the BMC's Job failed", "tasks"),
        ("something nobody has heard", "the BMC's Job failed", "tasks"),
    ],
)
def test_the_words_of_a_failure(message: str, said: str, look: str) -> None:
    assert bmc.cause(message) == (said, look)


def test_the_tasks_of_a_job_are_its_own() -> None:
    named = [{"metadata": {"name": name}} for name in ("j-task-0", "j-task-10", "jj-task-0", "j-task-x", "j-task-0-y")]
    assert [one["metadata"]["name"] for one in bmc.of_job([*named, {}], "j")] == ["j-task-0", "j-task-10"]
