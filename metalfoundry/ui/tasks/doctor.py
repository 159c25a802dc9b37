"""`fab doctor`: every check on the terminal, what failed with its remedy."""

from __future__ import annotations

from collections.abc import Sequence

from metalfoundry.diagnosis.check import Check, CheckState
from metalfoundry.foundry import Foundry
from metalfoundry.model.errors import PreflightError
from metalfoundry.model.inventory import Server
from metalfoundry.model.plain_text import inline, json_text
from metalfoundry.ui.output.plain import say

SIGNS = {CheckState.PASSED: "✓", CheckState.FAILED: "✗", CheckState.UNSEEN: "-"}
EVIDENCE_LINES = 3


def doctor(foundry: Foundry, servers: Sequence[Server], *, all: bool, json: bool) -> int:
    """Show the checks; the exit code says whether one failed."""
    checks = foundry.doctor(servers)
    failed = [check for check in checks if check.state is CheckState.FAILED]
    if json:
        say(json_text({"checks": [check.to_json() for check in checks], "failed": len(failed)}, indent=2))
    else:
        _tell(checks, all)
    return PreflightError.exit_code if failed else 0


def _tell(checks: Sequence[Check], all: bool) -> None:
    for server in dict.fromkeys(check.server for check in checks):
        own = [check for check in checks if check.server == server]
        counted = [(state, sum(check.state is state for check in own)) for state in CheckState]
        say(f"{inline(server) or 'site'}: {', '.join(f'{number} {state}' for state, number in counted if number)}")
        for check in own:
            if all or check.state is not CheckState.PASSED:
                say(_line(check))


def _line(check: Check) -> str:
    lines = [f"  {SIGNS[check.state]} {check.check:<18} {check.what}"]
    if check.state is CheckState.FAILED:
        lines += [f"      proof: {line}" for line in check.evidence.splitlines()[-EVIDENCE_LINES:]]
    if check.next and check.state is not CheckState.PASSED:
        lines.append(f"      now:   {check.next}")
    return "\n".join(lines)
