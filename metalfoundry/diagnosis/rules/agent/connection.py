"""HookOS's agent runs, and does not get through to tink-server."""

from __future__ import annotations

from functools import partial

from metalfoundry.commands.log_parser import AGENT, LogLine
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import NEVER_INSTALLED, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import installer, waiting

rule = partial(findings.rule, Stage.AGENT)
EXPIRED = "certificate has expired or is not yet valid"
_ASKING = ("error getting action", "error reading/retrieving action", "failed to get workflow context", "rpc error")
_UNREACHABLE = (
    "connection refused",
    "error while dialing",
    "deadlineexceeded",
    "i/o timeout",
    "produced zero addresses",
    "no such host",
)
_TLS = ("authentication handshake failed", "first record does not look like a tls handshake")
_NOT_GRPC = ("unexpected http status code", "error reading server preface", "frame too large")
_NOT_ASKING = ("code = canceled", "stopped agent", "backing off", "error writing event", "error reporting action")
_GOOD = ("received action", "reported action status", "executed action")


def complaint_of(facts: Facts) -> LogLine | None:
    """The agent's last error when asking for work, unless it got work after it."""
    for line in reversed(facts.log(AGENT)):
        if line.has(*_NOT_ASKING):
            continue
        if line.has(*_GOOD):
            return None
        if line.has(*_ASKING):
            return line
    return None


def _authority(facts: Facts) -> str:
    """Where the agent looks for tink-server: by its command line, else by its log; empty where unknown."""
    machine = facts.machine_facts
    told = machine.kernel_args.get("grpc_authority", "") if machine else ""
    line = facts.find(AGENT, "starting gRPC transport")
    return told or (line.get("server") if line else "")


@rule("agent-too-old", NEVER_INSTALLED, 24, link="tink-worker against a tink-server from v0.17")
def agent_too_old(facts: Facts) -> Match | None:
    """The agent is older than tink-server."""
    line = facts.find(AGENT, "unknown method GetWorkflowContexts", "unknown service")
    if line is None or facts.find(AGENT, *_GOOD):
        return None
    version = facts.version or "the server's version"
    return certain(
        "the agent is an old tink-worker that asks for what this tink-server no longer has",
        evidence=[line],
        remedy=remedies.show_deployments(facts),
        advice=f"set tink_worker_image=ghcr.io/tinkerbell/tink-agent:{version} in Smee's kernel arguments, then reboot",
    )


@rule("tls-mismatch", NEVER_INSTALLED, 23, link="hook#114; grpc-go#6807; charts#61")
def tls_mismatch(facts: Facts) -> Match | None:
    """Agent and tink-server do not agree about TLS, or something else answers in its place."""
    line = complaint_of(facts)
    if line is None or line.has(EXPIRED) or not line.has(*_TLS, *_NOT_GRPC):
        return None
    where = _authority(facts) or "grpc_authority"
    if line.has("does not look like a TLS handshake"):
        what, advice = f"the agent speaks TLS, and {where} does not", "set tinkerbell_tls=false for the machine"
    elif line.has("x509"):
        what = f"the agent does not trust the certificate of {where}"
        advice = "set tinkerbell_insecure_tls=true, or tinkerbell_tls=false where tink-server has no TLS"
    elif line.has(*_NOT_GRPC):
        what = f"what answers at {where} is not tink-server's gRPC"
        advice = "grpc_authority must lead to port 42113; a proxy in between must pass HTTP/2 on"
    else:
        what, advice = f"the TLS handshake with {where} failed", "make tinkerbell_tls match tink-server's own setting"
    return certain(
        what,
        evidence=[line],
        remedy=remedies.show_deployments(facts),
        advice=f"{advice} (Smee's kernel arguments), then reboot",
    )


@rule("grpc-unreachable", NEVER_INSTALLED, 22, link="tink-server port 42113; vietcgi/gitops-metal-foundry 844e41b")
def grpc_unreachable(facts: Facts) -> Match | None:
    """The agent does not reach tink-server."""
    line, machine = complaint_of(facts), installer(facts)
    if line is not None and not (line.has(*_UNREACHABLE) and not line.has(*_TLS, *_NOT_GRPC, EXPIRED)):
        return None
    shut = machine is not None and machine.grpc is False
    if line is None and not (shut and waiting(facts)):
        return None
    where = _authority(facts) or "its grpc_authority"
    unresolved = line is not None and line.has("zero addresses", "no such host")
    return (certain if line else likely)(
        f"the agent does not reach tink-server at {where}"
        + (": the name does not resolve there" if unresolved else ""),
        evidence=[line, Evidence("machine", f"{where} takes no connection from there") if shut else None],
        remedy=remedies.kubectl(facts, "get", "services,endpoints", "-o", "wide"),
        advice="grpc_authority must be host:42113 as the machine reaches it; look at firewall and load balancer",
    )
