"""The text of a first inventory: what was seen, and a commented line for what was not, with the way to find it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from metalfoundry.model import redact
from metalfoundry.model.inventory import ServerKeys
from metalfoundry.model.plain_text import inline
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.model.site_config import LOCAL, JumpConfig, LocalJump, SiteConfig
from metalfoundry.site.survey import Survey

COLUMN = 36


@dataclass(frozen=True, slots=True)
class SiteSeen:
    """What was seen at a site: `keys` are for all servers, `tried` where Smee was looked for, `logins` why a server was
    not logged in to, "" where it was."""

    site: SiteConfig
    keys: ServerKeys
    survey: Survey
    smee: str | None
    tried: tuple[str, ...]
    logins: Mapping[str, str]

    def text(self) -> str:
        """The inventory."""
        return "\n".join([*_head(self), *_site(self), *_defaults(self), *_servers(self)]) + "\n"


def _head(seen: SiteSeen) -> Iterator[str]:
    yield f"# Made by `fab inventory.new` of what was seen through {inline(seen.site.jump.host)}; it is yours to edit."
    yield "# docs/inventory.md explains every key; `fab doctor` looks whether all of it holds.\n"


def _site(seen: SiteSeen) -> Iterator[str]:
    yield "site:"
    yield f"  jump: {LOCAL}" if isinstance(seen.site.jump, LocalJump) else "  jump:"
    for key in () if isinstance(seen.site.jump, LocalJump) else JumpConfig.model_fields:
        if key in seen.site.jump.model_fields_set and getattr(seen.site.jump, key) is not None:
            yield f"    {key}: {_value(getattr(seen.site.jump, key))}"
    if seen.site.jump.identity is None and not isinstance(seen.site.jump, LocalJump):
        yield _line("    # identity: ~/.ssh/id_ed25519", "your agent and usual keys are offered; or name one")
    yield f"  kubectl: {_value(list(seen.site.kubectl))}"
    yield _line(f"  namespace: {_value(seen.site.namespace)}", f"{len(seen.survey.hardware)} Hardware")
    if seen.smee:
        yield _line(f"  smee: {_value(seen.smee)}", "asked for a second proof that netboot is closed")
    else:
        where = f"{', '.join(seen.tried)} did not answer" if seen.tried else "no Service of it was seen"
        command = f"kubectl -n {seen.site.namespace} get services"
        yield _line("  # smee: http://ADDRESS:7171", f"{where}; its address: {command}")


def _defaults(seen: SiteSeen) -> Iterator[str]:
    yield "\ndefaults:"
    for key, value in seen.keys.given().items():
        yield f"  {key}: {_value(value)}"
    if "user" not in seen.keys.model_fields_set:
        yield _line("  user: root", "who reads the facts and reboots")
    yield _line("  # verify: {os: Ubuntu 24.04}", "what the new system's PRETTY_NAME must hold, and more")


def _servers(seen: SiteSeen) -> Iterator[str]:
    yield "\nservers:"
    for name, hardware in seen.survey.hardware.items():
        known = ", ".join(filter(None, (hardware.macs[0] if hardware.macs else "", hardware.address or "")))
        protected = f"; protected: {inline(hardware.protected)}" if hardware.protected else ""
        lines = [*_address(seen, hardware), *_work(seen, hardware)]
        opened = any(not line.lstrip().startswith("#") for line in lines)
        yield _line(f"  {_value(name)}:{'' if opened else ' {}'}", f"{known or 'no address'}{protected}")
        yield from lines
    if not seen.survey.hardware:
        yield "  # none: there is no Hardware in this namespace"


def _address(seen: SiteSeen, hardware: Hardware) -> Iterator[str]:
    if not hardware.address:
        yield _line("    # address: 192.0.2.1", "the Hardware has no interfaces[0].dhcp.ip; see your DHCP's leases")
    elif why := seen.logins.get(hardware.name):
        yield f"    # not logged in to when this was written: {inline(why)}"


def _work(seen: SiteSeen, hardware: Hardware) -> Iterator[str]:
    """The Template and its values, as the server's own Workflow has them; where there is none, what there is."""
    templates = list(seen.survey.templates)
    latest = _latest(seen.survey, hardware)
    if latest is not None and latest.template_ref in templates:
        values = dict(latest.hardware_map)
        secret = [key for key in values if redact.data({key: values[key]})[key] != values[key]]
        yield _line(f"    template: {_value(latest.template_ref)}", f"as in its Workflow {latest.name}")
        if plain := {key: value for key, value in values.items() if key not in secret}:
            yield f"    hardware_map: {_value(plain)}"
        if secret:
            keys = inline(", ".join(secret))
            yield f"    # not copied, for they may be secrets: {keys}, of hardwareMap in the Workflow {latest.name}"
    elif len(templates) == 1:
        yield _line(f"    template: {_value(templates[0])}", "the only one there")
    else:
        listed = f"one of {', '.join(templates)}" if templates else "there is none yet: kubectl apply -f TEMPLATE"
        yield _line("    # template: NAME", f"{listed}; or workflow: FILE")


def _latest(survey: Survey, hardware: Hardware) -> Workflow | None:
    own = survey.of_agent([hardware.agent_id or "", *hardware.macs], hardware.name)
    return max(own, key=lambda workflow: workflow.meta.created, default=None)


def _line(words: str, comment: str) -> str:
    return f"{words:<{COLUMN}}  # {inline(comment)}"


def _value(value: Any) -> str:
    """A value on one line, quoted where YAML would take it for something else."""
    plain = getattr(value, "value", value)
    plain = str(plain) if not isinstance(plain, (str, int, list, dict)) else plain
    written = yaml.safe_dump(plain, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return str(written).removesuffix("...\n").strip()
