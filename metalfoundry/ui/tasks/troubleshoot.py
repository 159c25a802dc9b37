"""`fab troubleshoot` on the terminal: the two witnesses, then what was found, each with its proof and the next step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from metalfoundry.commands.log_commands import without_secrets
from metalfoundry.diagnosis.facts import seen
from metalfoundry.diagnosis.findings import Finding
from metalfoundry.diagnosis.unseen import not_seen
from metalfoundry.foundry import Foundry
from metalfoundry.model.plain_text import inline, json_text
from metalfoundry.runs.bundle import write_bundle
from metalfoundry.runs.troubleshoot import Diagnosis, worst
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.output.tables import Paper

_STYLES = {0: "green", 40: "bold red"}
_EVIDENCE_LINES = 8


def troubleshoot(foundry: Foundry, name: str, *, all: bool, bundle: str, json: bool) -> int:
    """Diagnose what was named; return the exit code."""
    if name == "all":
        found = foundry.troubleshoot_all(all=all)
    else:
        names = dict.fromkeys(word.strip() for word in name.split(",") if word.strip())
        found = [foundry.troubleshoot(one, all=all) for one in names]
    if bundle:
        write_bundle(Path(bundle), found)
    if json:
        shown = [one.to_json() for one in found]
        single = len(shown) == 1 and name != "all"
        say(json_text(shown[0] if single else {"servers": shown}, indent=2))
    else:
        _show(found)
    if bundle:
        say(
            f"wrote {bundle}: facts, logs and findings; secrets are taken out, look into it all the same",
            file=sys.stderr,
        )
    return worst(found)


def tell_diagnosis(one: Diagnosis | None) -> None:
    """On stderr, under the error of the run that it explains."""
    if one is not None:
        Paper(sys.stderr, soft_wrap=True).print(diagnosis_text(one))


def kept_logs(one: Diagnosis | None) -> dict[str, str]:
    """The logs that a diagnosis read, by source, as they were printed and without secrets."""
    kept: dict[str, str] = {}
    for source, fact in one.facts.logs.items() if one else ():
        lines = seen(fact)
        if lines:
            kept[source] = "".join(f"{line.raw or line.text}\n" for line in without_secrets(lines) if line)
    return kept


def _show(found: Sequence[Diagnosis]) -> None:
    console = Paper(soft_wrap=True)
    if not found:
        console.print("nothing is wrong: every Workflow has finished well, and no window is stray")
    for place, one in enumerate(found):
        if place:
            console.print()
        console.print(diagnosis_text(one))


def diagnosis_text(one: Diagnosis) -> Text:
    """One diagnosis as a person reads it."""
    text = Text()
    text.append(f"{one.name}\n", style="bold")
    text.append(f"  {one.summary.tinkerbell}\n  {one.summary.machine}\n  {one.summary.verdict}\n")
    for finding in one.findings:
        text.append("\n")
        text.append_text(finding_text(finding))
    unseen = not_seen(one.facts, one.findings)
    if unseen:
        text.append(f"\n  not seen: {unseen}\n", style="dim")
    text.rstrip()
    return text


def finding_text(finding: Finding) -> Text:
    """What, how sure, the proof, the next command."""
    text = Text()
    mark = "✓" if finding.exit_code == 0 else "✗"
    text.append(f"{mark} {inline(finding.what)}", style=_STYLES.get(finding.exit_code, "bold yellow"))
    text.append(f"  [{finding.certainty.value}; {finding.id}]\n", style="dim")
    for item in finding.evidence:
        at = f" {item.time.astimezone():%H:%M:%S}" if item.time else ""
        text.append(f"    {item.source}{at}: ", style="dim")
        text.append("\n      ".join(item.line.splitlines()[:_EVIDENCE_LINES]) + "\n")
    if finding.first:
        text.append("    first: ", style="dim")
        text.append(f"{finding.first}\n")
    if finding.remedy:
        label = "    then: " if finding.first else "    now: "
        text.append(label, style="dim")
        text.append(f"\n{' ' * len(label)}".join(finding.remedy.splitlines()) + "\n", style="bold")
    if finding.advice:
        text.append(f"    {finding.advice}\n")
    return text
