"""What a run leaves on the Hardware for everybody, in the patch that gives the claim back: what came of it, and the new
system's host keys."""

from __future__ import annotations

from metalfoundry.commands.claims import stamp
from metalfoundry.commands.history import HISTORY, HistoryEntry, with_run
from metalfoundry.commands.published_keys import HOST_KEYS, publication
from metalfoundry.model.errors import error_fields
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.runs.report import verdict_of


def leaves(run: ProvisionRun, hardware: Hardware) -> dict[str, str | None]:
    """The annotations to set, or (None) to take away. The keys of a system that was overwritten are nobody's."""
    told: dict[str, str | None] = {HISTORY: with_run(hardware, entry(run))}
    if run.keys_new:
        told[HOST_KEYS] = publication(run.keys_new)
    elif run.progress.disk(run.facts_new is not None):
        told[HOST_KEYS] = None
    return told


def entry(run: ProvisionRun) -> HistoryEntry:
    """This run as it stands now."""
    note, error = run.window.claim.note, run.failed
    return HistoryEntry(
        run=run.id,
        who=run.site.holder,
        reason=run.options.reason,
        verdict=verdict_of(error),
        exit_code=0 if error is None else int(getattr(error, "exit_code", 1)),
        cause=error_fields(error)["what"] if error is not None else "",
        started=note.opened if note else "",
        ended=stamp(run.site.now()),
    )
