"""The machine shows a host key that is not the known one: whose words are these?"""

from __future__ import annotations

from functools import partial

from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts
from metalfoundry.diagnosis.findings import BAD_MACHINE, Evidence, Match, Stage, likely
from metalfoundry.diagnosis.verification import doubtful

rule = partial(findings.rule, Stage.STRAY)


@rule("host-key-changed", BAD_MACHINE, link="docs/host-keys.md", doubts=True)
def host_key_changed(facts: Facts) -> Match | None:
    """What answers shows another host key than the known one, and no installation explains it."""
    refused = facts.key_refused
    if refused is None or not doubtful(facts):
        return None
    return likely(
        f"what answers may be another machine: {refused.what}",
        evidence=[Evidence("ssh", f"{refused.where}: {refused.what}")],
        first="find out whether the host was re-installed" if refused.forget else "",
        remedy=refused.forget or remedies.show_hardware(facts),
        advice="" if refused.forget else refused.next,
    )
