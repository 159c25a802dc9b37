"""The checks of one server: its objects in the cluster, and the machine itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from metalfoundry.commands.boot_order import read_boot_order
from metalfoundry.commands.claims import claim_of, old_systems
from metalfoundry.commands.gather import why_not
from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.commands.machine import MachineFacts
from metalfoundry.commands.ssh import remotely
from metalfoundry.diagnosis.check import Check, Checks
from metalfoundry.model.actions import items, mapping, text
from metalfoundry.model.documents import Document
from metalfoundry.model.errors import MetalfoundryError
from metalfoundry.model.inventory import Server
from metalfoundry.model.inventory_fields import mac
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware, Template
from metalfoundry.model.templates import missing_keys
from metalfoundry.runs import worker
from metalfoundry.runs.checks import NOT_PROVEN, is_this_machine, old_workflows
from metalfoundry.runs.doctor_site import SKEW_SECONDS
from metalfoundry.runs.options import Options
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.selection import choose_document, choose_hardware
from metalfoundry.runs.target import Target
from metalfoundry.site.machine import Machine
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import ClusterSnapshot
from metalfoundry.site.survey import Survey
from metalfoundry.transport.base import Result

SERVER_CHECKS: Mapping[str, str] = {
    "hardware": "the Hardware is there, and has the interface that the inventory names",
    "mac": "its MACs are written as Smee looks for them",
    "gitops": "neither Flux nor Argo CD takes netboot away in the middle of a run",
    "protection": "whether it is protected, and why",
    "claim": "no dead run has left its claim behind",
    "bmc": "Rufio reaches the BMC that the Hardware names",
    "workflow": "there is a Workflow file or a Template, and the Template is in the cluster",
    "template": "hardwareMap has every key that the Template names; actions have names of their own",
    "agent": "the Template gives the work to this Hardware's agent",
    "images": "the actions' images are names of images",
    "timeouts": "every action has a timeout",
    "boot-action": "whether the Template ends in a reboot",
    "other-workflows": "no other live Workflow is for the same agent",
    "ssh": "root is let in over SSH, and the host key is the known one",
    "identity": "the machine is the one of this Hardware",
    "machine-clock": "its clock agrees with the jump host's within 30 s",
    "boot-order": "its firmware asks the network first",
}
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True, slots=True)
class MachineLook:
    """One look at a machine: its facts, what efibootmgr said and when, else the error; neither: `why` nobody looked."""

    facts: MachineFacts | None = None
    order: Result | None = None
    at: datetime | None = None
    error: MetalfoundryError | None = None
    why: str = ""


def check_server(site: Site, server: Server, seen: ClusterSnapshot | None, look: MachineLook) -> list[Check]:
    """Every check, in the order of SERVER_CHECKS."""
    checks = Checks(server.name)
    why = "the cluster could not be read"
    if seen is not None and (outcome := seen.outcomes["objects"]).ok:
        _objects(checks, ProvisionRun(site, server, Options(), "doctor"), seen, look)
        why = "what comes before it failed"
    elif seen is not None:
        why = f"{why}: {why_not(outcome)}"
    _ssh(checks, look)
    checks.rest(SERVER_CHECKS, why)
    return checks.in_order(SERVER_CHECKS)


def _objects(checks: Checks, run: ProvisionRun, seen: ClusterSnapshot, look: MachineLook) -> None:
    survey = seen.survey
    try:
        hardware = choose_hardware(run, survey)
    except MetalfoundryError as error:
        checks.error("hardware", error)
        return
    checks.passed("hardware", f"{hardware.name}: {', '.join(hardware.macs) or 'no MAC'}")
    run.window.claim.hardware = hardware
    _mac(checks, run, hardware)
    _gitops(checks, run, hardware)
    checks.passed("protection", f"protected: {hardware.protected}" if hardware.protected else "not protected")
    _claim(checks, run, hardware)
    _bmc(checks, run, hardware, seen)
    _workflow(checks, run, hardware, survey, look)
    _machine(checks, run, hardware, seen, look)


def _mac(checks: Checks, run: ProvisionRun, hardware: Hardware) -> None:
    for index, interface in enumerate(items(mapping(hardware.raw.get("spec")).get("interfaces"))):
        written = text(mapping(interface.get("dhcp")).get("mac"))
        try:
            right = mac(written)
        except ValueError:
            step = run.site.kubectl_hint("edit", f"{HARDWARE}/{hardware.name}")
            checks.failed("mac", f"interface {index} has no MAC but {written!r}", step)
            return
        if written != right:
            patch = f'[{{"op":"replace","path":"/spec/interfaces/{index}/dhcp/mac","value":"{right}"}}]'
            step = run.site.kubectl_hint("patch", f"{HARDWARE}/{hardware.name}", "--type=json", "-p", patch)
            checks.failed("mac", f"{written} is not in lower case with colons: Smee does not find it", step)
            return
    checks.passed("mac", "as Smee looks for it")


def _gitops(checks: Checks, run: ProvisionRun, hardware: Hardware) -> None:
    if hardware.flux_managed:
        who = f"Flux (Kustomization {hardware.flux_owner}) manages it"
        does = "each reconcile takes away the netboot that Git does not mention"
        if hardware.flux_paused or run.site.inventory.site.flux == "auto":
            checks.passed("gitops", f"{who}; a run pauses it for this object. Keep `netboot` out of Git, or false")
        else:
            checks.failed("gitops", f"{who}: {does}", "say site.flux: auto, so that a run pauses it for this object")
    elif hardware.argo_application:
        who = f"Argo CD ({hardware.argo_application}) manages it"
        step = "in the Application: ignoreDifferences for /spec/interfaces, with RespectIgnoreDifferences=true"
        checks.unseen("gitops", f"{who}; with self-heal it takes netboot back in the middle of a run", step)
    else:
        checks.passed("gitops", "neither Flux nor Argo CD manages it")


def _claim(checks: Checks, run: ProvisionRun, hardware: Hardware) -> None:
    claim = claim_of(hardware)
    name = run.server.name
    if claim is None:
        checks.passed("claim", "no run holds it")
    elif claim.live(run.clock.now().wall):
        checks.passed("claim", f"a run of {claim.note.holder or 'somebody'} holds it until {claim.note.expires}")
    else:
        step = f"{ours('provision', name, '--resume')}; or: {ours('netboot.break', name, '--run', claim.run)}"
        checks.failed("claim", f"the run {claim.run} has left its claim behind; it expired {claim.note.expires}", step)


def _bmc(checks: Checks, run: ProvisionRun, hardware: Hardware, seen: ClusterSnapshot) -> None:
    named = text(mapping(mapping(hardware.raw.get("spec")).get("bmcRef")).get("name"))
    if not named:
        checks.unseen("bmc", "the Hardware names none (spec.bmcRef)")
        return
    listing = seen.outcomes.get("bmc")
    if why := why_not(listing):
        checks.unseen("bmc", why)
        return
    machines = {text(mapping(one.get("metadata")).get("name")): one for one in seen.items("bmc")}
    look = run.site.kubectl_hint("get", "machines.v1alpha1.bmc.tinkerbell.org")
    if named not in machines:
        checks.failed("bmc", f"there is no Machine {named} (bmc.tinkerbell.org)", look)
        return
    conditions = items(mapping(machines[named].get("status")).get("conditions"))
    contact = next((one for one in conditions if one.get("type") == "Contactable"), None)
    if contact is None:
        checks.unseen("bmc", f"Rufio has not yet said whether it reaches {named}", look)
    elif contact.get("status") == "True":
        checks.passed("bmc", f"Rufio reaches {named}")
    else:
        step = f"look at its address and its Secret: {look} {named} -o yaml"
        checks.failed("bmc", f"Rufio does not reach {named}", step, text(contact.get("message")))


def _workflow(checks: Checks, run: ProvisionRun, hardware: Hardware, survey: Survey, look: MachineLook) -> None:
    """What would be applied, and by which agent it would be carried out."""
    try:
        document = choose_document(run, survey)
    except MetalfoundryError as error:
        checks.error("workflow", error)
        return
    checks.passed("workflow", f"{document.name} from the Template {document.template_ref}")
    template = survey.templates[document.template_ref]
    boot_action = template.boot_action()
    _template(checks, run, document, template)
    checks.ask("agent", lambda: f"the work goes to {worker.assign(document, template, hardware, False)}")
    ends = f"ends with {boot_action}" if boot_action else "has no boot action: it ends with SUCCESS, in the installer"
    checks.passed("boot-action", f"it {ends}")
    machine = Machine.of(run.site, run.server, hardware)
    run.found = Target(hardware, document, boot_action, machine, "", run.clock.now().mono, facts_now=look.facts)

    def others() -> str:
        old = old_workflows(run, survey)
        return f"a run removes {', '.join(old)} first" if old else "no other Workflow of the same agent"

    checks.ask("other-workflows", others)


def _template(checks: Checks, run: ProvisionRun, document: Document, template: Template) -> None:
    edit = run.site.kubectl_hint("edit", f"templates.v1alpha1.tinkerbell.org/{template.name}")
    absent = missing_keys(template.data, {*document.hardware_map, "Hardware"})
    actions = template.actions
    names = [(action.task, action.name) for action in actions]
    twice = sorted({name for pair in names if names.count(pair) > 1 for name in pair[1:]})
    if not actions:
        checks.failed("template", f"the Template {template.name} has no actions that can be seen", edit)
    elif absent:
        step = f"give {', '.join(absent)} in the Workflow's hardwareMap (servers.{run.server.name}.hardware_map)"
        checks.failed("template", f"it needs {', '.join(absent)}, and hardwareMap has {_listed(document)}", step)
    elif twice:
        checks.failed("template", f"two actions of one task are called {', '.join(twice)}", edit)
    else:
        checks.passed("template", f"{len(actions)} actions; hardwareMap has all that it names")
    odd = [action for action in actions if "{{" not in action.image and not _IMAGE.fullmatch(action.image)]
    if odd:
        shown = ", ".join(f"{action.name}: {action.image!r}" for action in odd)
        checks.failed("images", f"not the name of an image: {shown}", edit)
    elif actions:
        checks.passed("images", "well-formed")
    hasty = [action.name for action in actions if not action.timeout]
    if hasty:
        step = f"give each of them a timeout in seconds, its pull included: {edit}"
        checks.failed("timeouts", f"without a timeout, which is none at all: {', '.join(hasty)}", step)
    elif actions:
        checks.passed("timeouts", ", ".join(f"{action.name} {action.timeout:.0f} s" for action in actions))


def _listed(document: Document) -> str:
    return ", ".join(document.hardware_map) or "no keys"


def _ssh(checks: Checks, look: MachineLook) -> None:
    if look.error is not None:
        checks.error("ssh", look.error)
    elif look.facts is None:
        checks.unseen("ssh", look.why)
    else:
        system = "HookOS" if look.facts.in_hook else look.facts.os_name or "an unknown system"
        checks.passed("ssh", f"{system} answers as {look.facts.hostname or 'nobody'}")


def _machine(checks: Checks, run: ProvisionRun, hardware: Hardware, seen: ClusterSnapshot, look: MachineLook) -> None:
    facts = look.facts
    if facts is None:
        return

    def identity() -> str:
        proven = is_this_machine(run, old_systems(hardware), facts)
        return "it is the machine of this Hardware" if proven else f"it {NOT_PROVEN}"

    if run.found is not None:
        checks.ask("identity", identity)
    if facts.clock is None or look.at is None:
        checks.unseen("machine-clock", "it does not tell its time")
    else:
        ahead = facts.clock - look.at.timestamp() - seen.ahead
        words = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the jump host's"
        if abs(ahead) > SKEW_SECONDS:
            checks.failed("machine-clock", f"its clock is {words}", "set its hardware clock: hwclock --systohc")
        else:
            checks.passed("machine-clock", "it agrees with the jump host's")
    _boot_order(checks, Machine.of(run.site, run.server, hardware), look)


def _boot_order(checks: Checks, machine: Machine, look: MachineLook) -> None:
    order = read_boot_order(look.order.stdout) if look.order and look.order.ok else None
    if order is None:
        checks.unseen("boot-order", "efibootmgr tells none: not UEFI, or it is not installed")
    elif order.netboots:
        checks.passed("boot-order", "the network comes first")
    elif order.network is None:
        checks.failed("boot-order", "its firmware knows no entry for the network", "switch netboot on in its firmware")
    else:
        first = dict(order.entries).get(order.next or order.entries[0][0], "")
        step = remotely(machine.host, ("efibootmgr", "-n", order.network[0]))
        checks.failed("boot-order", f"it boots {first or 'its disk'} first, and would never ask Smee", step)
