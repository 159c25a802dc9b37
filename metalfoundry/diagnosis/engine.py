"""Run all rules over the facts. Where no rule speaks, the answer is what is known and what was not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, Seen, seen
from metalfoundry.diagnosis.findings import ARMED, BAD_MACHINE, FAILED, FINE, Certainty, Evidence, Finding, Rule, Stage
from metalfoundry.diagnosis.rules import RULES
from metalfoundry.diagnosis.summary import machine_says, tinkerbell_says
from metalfoundry.diagnosis.unseen import missed

_ENDS = {"FAILED": 31, "TIMEOUT": 32, "RUNNING": 31, "POST": 31}


def judge(facts: Facts, *, all: bool = False, rules: Sequence[Rule] = RULES) -> tuple[Finding, ...]:
    """Findings, the surest first, then by stage; never empty.

    A finding that another one explains is left out unless `all`. A finding may only hide what is no surer than itself.
    After a failed run windows are judged as they are now, and no finding says that nothing is wrong; beside a certain
    failure none does, either, nor beside a doubt that it is the machine which answers.
    """
    version, latest, failed = facts.version, facts.latest, facts.aftermath is not None
    matches = (rule.finding(latest if rule.window else facts, version) for rule in rules)
    findings = [finding for finding in matches if finding and not (failed and finding.reassures)]
    findings = _without_reassurance(findings)
    if _only_windows(findings):
        findings.append(unknown(facts))
    findings.sort(key=lambda finding: finding.order)
    return tuple(findings if all else _shown(findings))


def _shown(findings: Sequence[Finding]) -> list[Finding]:
    """Those that none explains which is at least as sure."""

    def explained(finding: Finding) -> bool:
        return any(finding.id in other.explains and other.order[0] <= finding.order[0] for other in findings)

    return [finding for finding in findings if not explained(finding)]


def _without_reassurance(findings: list[Finding]) -> list[Finding]:
    """No finding that reassures where a certain failure is shown; where that is an armed trap alone, it stays as what
    it reports."""
    if any(item.doubts for item in findings):
        return [item for item in findings if item.exit_code != FINE or item.window]
    sure = [item for item in _shown(findings) if item.certainty is Certainty.CERTAIN and item.exit_code != FINE]
    if _only_windows(sure):
        return [replace(item, reassurance="") for item in findings] if sure else findings
    return [item for item in findings if not item.reassures]


def _only_windows(findings: Sequence[Finding]) -> bool:
    """Whether none of them says anything about the installation."""
    return all(finding.window for finding in findings)


def exit_code(findings: Sequence[Finding]) -> int:
    """40 where a trap is armed; else what the first finding says: 0 where nothing is wrong."""
    if any(finding.exit_code == ARMED for finding in findings):
        return ARMED
    return findings[0].exit_code if findings else FINE


def unknown(facts: Facts) -> Finding:
    """No rule fits: what is known, what could not be seen, and where to look next."""
    workflow, blind = seen(facts.workflow), missed(facts)
    what = f"no known failure fits. {tinkerbell_says(facts)} {machine_says(facts)}"
    if blind:
        what += f" Not seen: {blind}."
    step = remedies.logs(facts) if isinstance(facts.workflow, Seen) else remedies.kubectl(facts, "get", "workflows")
    evidence = (Evidence(f"Workflow {workflow.name}", f"state {workflow.state or 'not set'}"),) if workflow else ()
    return Finding(
        id="unknown",
        certainty=Certainty.POSSIBLE,
        stage=Stage.UNKNOWN,
        text=what,
        evidence=evidence,
        remedy=step,
        advice="look at the machine's console next; a bundle (--bundle) shows others what was seen",
        exit_code=_unknown_code(facts),
    )


def _unknown_code(facts: Facts) -> int:
    workflow, failed = seen(facts.workflow), facts.aftermath is not None
    if workflow is not None and workflow.state == "SUCCESS":
        return BAD_MACHINE if failed else FINE
    if workflow is None:
        return FINE if isinstance(facts.workflow, Seen) and not failed else FAILED
    return _ENDS.get(workflow.state, 30)
