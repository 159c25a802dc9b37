"""From what was read at a site to the Facts that a diagnosis judges: nothing is asked here, and nothing left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from metalfoundry.commands import gather, ssh
from metalfoundry.commands.claims import acknowledgement, claim_of
from metalfoundry.commands.guard import read_status
from metalfoundry.commands.kubernetes import BmcJob, Deployment, Flux, GuardSeen, KubernetesEvent
from metalfoundry.commands.log_commands import read_pods
from metalfoundry.commands.log_parser import ACTION, AGENT, BOOTKIT, CONSOLE, CONTROLLER, SERVER, SMEE, WEB, LogLine
from metalfoundry.commands.log_parser import read_log as read_lines
from metalfoundry.commands.smee import read_answers
from metalfoundry.diagnosis.facts import Configured, Fact, Facts, KeyRefused, NotSeen, Seen, about, seen, split
from metalfoundry.model.foreign import parse_time
from metalfoundry.model.inventory import Server
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.model.states import GuardState
from metalfoundry.site.site import Site
from metalfoundry.site.snapshot import ClusterSnapshot, MachineSnapshot
from metalfoundry.site.survey import Survey

T = TypeVar("T")
_MARGIN = timedelta(seconds=60)
_FROM_PODS = (ACTION, CONSOLE, SMEE, SERVER, CONTROLLER, WEB)


def facts_of(site: Site, name: str, server: Server, cluster: ClusterSnapshot, machine: MachineSnapshot) -> Facts:
    """Everything that both looks gave, about `server`; where `name` is a Workflow's, about that one."""
    survey = cluster.survey
    in_hook = machine.seen is not None and machine.seen.facts.in_hook
    facts = _of_objects(Facts(name, cluster.at, _configured(site, server, cluster, in_hook)), survey, cluster)
    facts = replace(
        facts,
        guards=_guards(facts, cluster),
        events=_list(cluster, "events", KubernetesEvent.of),
        deployments=_list(cluster, "deployments", Deployment.of),
        flux=_flux(facts, cluster),
        bmc=_bmc(facts, cluster),
        smee=_smee(facts, cluster),
        ssh=Seen(machine.ssh, "ssh") if machine.ssh else NotSeen(machine.reason or "not asked"),
        machine=_machine(cluster, machine),
        key_refused=_key_refused(machine),
    )
    others = [item for item in survey.hardware.values() if item.name != server.hardware]
    return replace(facts, logs=_logs(facts, others, cluster, machine))


def concerned(workflows: Iterable[Workflow], hardware: Hardware | None, name: str) -> list[Workflow]:
    """All Workflows that the same agent would be served: by its id, or made for the Hardware of that `name`."""
    known = [hardware.agent_id or "", *(item.mac for item in hardware.interfaces)] if hardware else []
    agents = {agent.lower() for agent in known if agent}
    return [item for item in workflows if (item.agent_id or "").lower() in agents or item.hardware_ref == name]


def in_question(workflows: Sequence[Workflow], name: str) -> Workflow | None:
    """The one of that name; else a live one before a finished one, the youngest, one that waits."""
    named = next((item for item in workflows if item.name == name), None)
    return named or max(workflows, key=lambda item: (item.live, item.meta.created, not item.has_run), default=None)


def _configured(site: Site, server: Server, cluster: ClusterSnapshot, in_hook: bool) -> Configured:
    address, known = server.address, site.inventory.site
    return Configured(
        server=server.name,
        hardware=server.hardware,
        namespace=known.namespace,
        jump=ssh.words(site.jump),
        kubectl=known.kubectl,
        ssh=_ssh(site, server, cluster, in_hook),
        mac=server.mac,
        address=address,
        smee=known.smee,
        jump_addresses=tuple(_text(cluster, "addresses").split()),
        timeouts=site.inventory.timeouts,
        verify=server.verify,
    )


def _ssh(site: Site, server: Server, cluster: ClusterSnapshot, in_hook: bool) -> tuple[str, ...]:
    address = server.address or address_of(cluster.survey.hardware.get(server.hardware))
    return ssh.words(server.host(site.inventory.site, address), any_key=in_hook) if address else ()


def address_of(hardware: Hardware | None) -> str | None:
    """Where the Hardware says that the machine answers."""
    return next((item.address for item in hardware.interfaces if item.address), None) if hardware else None


def _of_objects(facts: Facts, survey: Survey, cluster: ClusterSnapshot) -> Facts:
    outcome = cluster.outcomes.get("objects")
    if reason := gather.why_not(outcome):
        blind = NotSeen(reason, "kubectl get")
        return replace(facts, hardware=blind, template=blind, workflow=blind, workflows=blind, claim=blind)
    hardware = survey.hardware.get(facts.configured.hardware)
    workflows = concerned(survey.workflows.values(), hardware, facts.configured.hardware)
    workflow = in_question(workflows, facts.name)
    return replace(
        facts,
        hardware=_seen(hardware, cluster),
        workflow=_seen(workflow, cluster),
        workflows=_seen(tuple(workflows), cluster),
        template=_seen(survey.templates.get(workflow.template_ref), cluster)
        if workflow
        else NotSeen("no Workflow names one"),
        claim=_seen(claim_of(hardware), cluster) if hardware else NotSeen("there is no Hardware"),
    )


def _seen(value: T, cluster: ClusterSnapshot, source: str = "kubectl get") -> Seen[T]:
    return Seen(value, source, cluster.at)


def _list(cluster: ClusterSnapshot, part: str, read: Any) -> Any:
    outcome = cluster.outcomes.get(part)
    if gather.no_such_type(outcome):
        return _seen((), cluster)
    if reason := gather.why_not(outcome):
        return NotSeen(reason, "kubectl get")
    return _seen(tuple(read(item) for item in cluster.items(part)), cluster)


def _guards(facts: Facts, cluster: ClusterSnapshot) -> Fact[tuple[GuardSeen, ...]]:
    """Who has acknowledged the claim; of the jump host's own guard it is known whether it lives."""
    outcome = cluster.outcomes.get("guards")
    if reason := gather.why_not(outcome):
        return NotSeen(reason, "guard.sh")
    own, hardware = read_status(outcome.stdout if outcome else ""), seen(facts.hardware)
    word = acknowledgement(hardware) if hardware else None
    if hardware is None or word is None:
        return _seen((), cluster, "guard.sh")
    state = GuardState(own.state) if own.guard == word.guard else GuardState.GUARDING
    return _seen((GuardSeen(word.run, hardware.name, state),), cluster, "guard.sh")


def _flux(facts: Facts, cluster: ClusterSnapshot) -> Fact[Flux | None]:
    hardware = seen(facts.hardware)
    if hardware is None or not hardware.flux_managed:
        return Seen(None, "the Hardware's labels", cluster.at) if hardware else NotSeen("there is no Hardware")
    found = _list(cluster, "flux", Flux.of)
    if isinstance(found, NotSeen):
        return found
    name = hardware.labels["kustomize.toolkit.fluxcd.io/name"]
    return _seen(next((item for item in found.value if item.name == name), None), cluster)


def _bmc(facts: Facts, cluster: ClusterSnapshot) -> Fact[tuple[BmcJob, ...]]:
    """The Jobs of this machine's BMC, and their Tasks, which are named after them."""
    found, hardware = _list(cluster, "bmc", BmcJob.of), seen(facts.hardware)
    if isinstance(found, NotSeen) or hardware is None:
        return found if isinstance(found, NotSeen) else NotSeen("there is no Hardware")
    jobs = [item for item in found.value if item.kind == "Job" and item.machine == hardware.bmc_ref and item.machine]
    tasks = [
        item
        for item in found.value
        if item.kind == "Task" and any(item.name.startswith(f"{job.name}-task-") for job in jobs)
    ]
    return _seen((*jobs, *tasks), cluster)


def _smee(facts: Facts, cluster: ClusterSnapshot) -> Fact[Mapping[str, int]]:
    if not facts.configured.smee:
        return NotSeen("site.smee is not in the inventory")
    if not facts.mac or "smee0" not in cluster.outcomes:
        return NotSeen("no MAC is known to ask for")
    answers = read_answers(cluster.outcomes, facts.mac)
    if not any(answers.values()):
        return NotSeen(f"Smee does not answer at {facts.configured.smee}", "http")
    return _seen(answers, cluster, "http")


def _machine(cluster: ClusterSnapshot, machine: MachineSnapshot) -> Any:
    if machine.seen is None:
        return NotSeen(machine.reason or "not asked", "ssh")
    skew = machine.ahead - cluster.ahead
    return Seen(replace(machine.seen, skew=skew), "ssh", machine.at)


def _key_refused(machine: MachineSnapshot) -> KeyRefused | None:
    error = machine.refused
    return KeyRefused(error.what, error.where, error.next, error.forget) if error else None


def _logs(
    facts: Facts, others: Sequence[Hardware], cluster: ClusterSnapshot, machine: MachineSnapshot
) -> dict[str, Fact[tuple[LogLine, ...]]]:
    """By source: the machine's own words where it was heard, else what it sent to Smee's syslog."""
    outcome = cluster.outcomes.get("logs")
    reason = gather.why_not(outcome)
    lines = read_pods(outcome.stdout) if outcome else ()
    ours = split(_cut(facts, others, lines))
    found: dict[str, Fact[tuple[LogLine, ...]]] = {}
    for source in _FROM_PODS:
        blind = reason and not lines
        found[source] = (
            NotSeen(reason, "kubectl logs") if blind else _seen(ours.get(source, ()), cluster, "kubectl logs")
        )
    for source, part in ((AGENT, "agent"), (BOOTKIT, "bootkit")):
        own = machine.outcomes.get(part)
        if own is not None and own.ok:
            found[source] = Seen(read_lines(source, own.stdout), f"ssh: {_WAYS[source]}", machine.at)
        elif source in ours:
            found[source] = _seen(ours[source], cluster, "kubectl logs (Smee's syslog)")
        else:
            found[source] = NotSeen(gather.why_not(own) if own else machine.reason or "not asked", "ssh")
    return found


_WAYS = {AGENT: "docker logs tink-worker", BOOTKIT: "/var/log/hook-bootkit.log"}


def _cut(facts: Facts, others: Sequence[Hardware], lines: Iterable[LogLine]) -> list[LogLine]:
    """Since the Workflow's creation: what names this machine, and refusals of MACs that no other Hardware has."""
    workflow, machine = seen(facts.workflow), facts.machine_facts
    known, every_workflow = facts.configured, seen(facts.workflows)
    names = names_of(known.server, known.hardware, seen(facts.hardware), every_workflow or ())
    names += [known.mac or "", *_routed(known.address), *(machine.macs if machine else ())]
    strangers = {interface.mac for item in others for interface in item.interfaces}
    created = parse_time(workflow.meta.created) if workflow else None
    since = created - _MARGIN if created else None
    every = [line for line in lines if since is None or line.time is None or line.time >= since]
    ours = {id(line) for line in about(every, [name for name in dict.fromkeys(names) if name], agent_speaks=False)}
    return [
        line
        for line in every
        if id(line) in ours or (line.source == SMEE and line.host.count(":") == 5 and line.host not in strangers)
    ]


def names_of(server: str, name: str, hardware: Hardware | None, workflows: Iterable[Workflow]) -> list[str]:
    """Every word by which a line of a log may mean this machine."""
    names = [server, name, (hardware.agent_id if hardware else "") or ""]
    for interface in hardware.interfaces if hardware else ():
        names += [interface.mac, *_routed(interface.address)]
    return names + [word for item in workflows for word in (item.name, item.agent_id or "")]


def _routed(address: str | None) -> list[str]:
    """The address, where it is one's own: loopback names nobody."""
    return [address] if address and not address.startswith("127.") else []


def _text(cluster: ClusterSnapshot, part: str) -> str:
    outcome = cluster.outcomes.get(part)
    return outcome.stdout if outcome else ""
