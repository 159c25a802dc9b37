"""What an inventory can be made of: how kubectl is called on a jump host (discover.sh), the namespace, and Smee."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from metalfoundry.commands import smee
from metalfoundry.commands.command import Command
from metalfoundry.commands.kubectl import Kubectl, read_only
from metalfoundry.commands.reading import whole
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.model.actions import items, mapping, text
from metalfoundry.model.names import is_address, is_object_name

PORTS = (7171, 7080)
_SMEE = ("smee", "boots", "tinkerbell")


@dataclass(frozen=True, slots=True)
class Way:
    """How kubectl is called, () where none works; `why` what each way that did not work said; Hardware by namespace."""

    kubectl: tuple[str, ...]
    why: tuple[str, ...]
    namespaces: Mapping[str, int]


def way(kubectl: Sequence[str], namespace: str) -> Command:
    """Find out; () and "" for what is not known beforehand."""
    head = f"KUBECTL={shlex.quote(shlex.join(kubectl))}\nNAMESPACE={shlex.quote(namespace)}\n"
    body = files("metalfoundry.commands").joinpath("discover.sh").read_text(encoding="utf-8")
    return Command(("sh", "-s"), stdin=f"{head}{body}discover\n")


def read_way(stdout: str) -> Way:
    """The reader of `way`."""
    told: dict[str, list[str]] = {"kubectl": [], "why": [], "namespace": []}
    for line in stdout.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in told:
            told[key].append(value)
    spaces = [name for name in told["namespace"] if is_object_name(name)]
    kubectl = tuple(told["kubectl"][0].split()) if told["kubectl"] else ()
    return Way(kubectl, tuple(told["why"]), {name: spaces.count(name) for name in dict.fromkeys(spaces)})


def objects(kubectl: Kubectl) -> Command:
    """Hardware, Templates, Workflows; and the Services behind which Smee may be."""
    return read_only(kubectl.survey(), Part("services", kubectl.argv("get", "services.v1.", "-o", "json")))


def smee_addresses(services: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where Smee may listen, by the cluster's Services: URLs, those seen from outside of the cluster first."""
    outside: list[str] = []
    inside: list[str] = []
    for service in services:
        spec = mapping(service.get("spec"))
        if not any(word in text(mapping(service.get("metadata")).get("name")) for word in _SMEE):
            continue
        ports = [one.get("port") for one in items(spec.get("ports"))]
        balancer = items(mapping(mapping(service.get("status")).get("loadBalancer")).get("ingress"))
        given = [text(one.get("ip")) for one in balancer] + [text(spec.get("loadBalancerIP"))]
        for port in [port for port in ports if isinstance(port, int) and (port in PORTS or len(ports) == 1)]:
            outside += [f"http://{address}:{port}" for address in given if is_address(address)]
            inside += [f"http://{one}:{port}" for one in [text(spec.get("clusterIP"))] if is_address(one)]
    return list(dict.fromkeys([*outside, *inside]))


def ask_smee(urls: Sequence[str], mac: str) -> Command:
    """Ask each of them for a machine's script, on both paths."""
    parts = [
        Part(f"at{number}{place}", ("http_status", url + path))
        for number, url in enumerate(urls)
        for place, path in zip("ab", smee.paths(mac), strict=True)
    ]
    return read_only(*parts, functions=smee.FUNCTIONS)


def answering(urls: Sequence[str], outcomes: Mapping[str, Outcome]) -> str:
    """The first that answers as Smee does on either path; "" where none does."""
    for number, url in enumerate(urls):
        heard = [outcomes[name] for place in "ab" if (name := f"at{number}{place}") in outcomes]
        if any(whole(one.stdout.strip()) in (200, 403, 404) for one in heard):
            return url
    return ""
