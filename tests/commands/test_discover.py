"""What is made of a jump host's answers, and of the cluster's Services."""

from __future__ import annotations

import pytest

from metalfoundry.commands.discover import answering, read_way, smee_addresses
from metalfoundry.commands.script import Outcome
from metalfoundry.model.inventory_reader import jump_words


def test_a_way_is_read_and_nonsense_is_not() -> None:
    text = (
        "why=kubectl: not found\nkubectl=sudo -n k3s kubectl\nnamespace=a\nnamespace=b\nnamespace=a\nnamespace=--x\nz\n"
    )
    way = read_way(text)
    assert (way.kubectl, way.why, way.namespaces) == (
        ("sudo", "-n", "k3s", "kubectl"),
        ("kubectl: not found",),
        {"a": 2, "b": 1},
    )
    assert read_way("").kubectl == ()


def test_smee_is_looked_for_where_it_can_be() -> None:
    services = [
        {"metadata": {"name": "smee"}, "spec": {"clusterIP": "10.43.0.7", "ports": [{"port": 67}, {"port": 7171}]}},
        {
            "metadata": {"name": "tinkerbell"},
            "spec": {"clusterIP": "10.43.0.8", "loadBalancerIP": "$(reboot)", "ports": [{"port": 7080}, {"port": 69}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
        },
        {"metadata": {"name": "other"}, "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 7171}]}},
        {"metadata": {"name": "smee-odd"}, "spec": {"clusterIP": None, "ports": "x"}},
    ]
    urls = smee_addresses(services)
    assert urls == ["http://192.0.2.7:7080", "http://10.43.0.7:7171", "http://10.43.0.8:7080"]
    heard = {"at0a": Outcome(0, "000", ""), "at1a": Outcome(0, "404", ""), "at1b": Outcome(0, "500", "")}
    assert answering(urls, heard) == urls[1]
    assert answering(urls, {}) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colo", {"host": "colo"}),
        ("ubuntu@192.0.2.10", {"host": "192.0.2.10", "user": "ubuntu"}),
        ("a@b@colo:2222", {"host": "colo", "user": "a@b", "port": "2222"}),
        ("[2001:db8::1]:22", {"host": "2001:db8::1", "port": "22"}),
        ("2001:db8::1", {"host": "2001:db8::1"}),
    ],
)
def test_a_jump_host_as_ssh_spells_it(text: str, words: dict[str, str]) -> None:
    assert jump_words(text) == words
