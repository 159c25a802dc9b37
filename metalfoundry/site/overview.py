"""The whole namespace as it changes, from two watches: one of all Hardware, one of all Workflows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from metalfoundry.commands.kubectl import HARDWARE, WORKFLOWS
from metalfoundry.model.errors import AuthError, HostKeyError, TransportError
from metalfoundry.model.resources import Hardware, Workflow
from metalfoundry.site.cluster import Cluster
from metalfoundry.site.site import Site
from metalfoundry.site.stream import AGAIN, TICK_SECONDS, settled
from metalfoundry.site.survey import Survey
from metalfoundry.transport.clock import Deadline

READ_SECONDS = 30.0
KINDS = (HARDWARE, WORKFLOWS)


def surveys(site: Site, deadline: Deadline) -> Iterator[Survey | None]:
    """What there is now, and again after each change, until `deadline`; None in silence.

    Changes that come together are shown together. Once a watch stands, the first time and after each end or lost link,
    all is read anew: what was deleted before says nothing. Raises AuthError or HostKeyError when the jump host does not
    let us in any more, WatchBroken when there is no watching, and what Cluster.survey raises at the beginning.
    """
    cluster = Cluster(site)
    survey = cluster.survey(deadline.within(READ_SECONDS))
    yield survey
    shown = survey
    streams = [lambda kind=kind: settled(site, kind, deadline) for kind in KINDS]
    for arrived in site.merge(streams, TICK_SECONDS):
        if arrived is None or arrived[1] is None:
            if survey is not shown:
                shown = survey
                yield survey
            yield None
        elif arrived[1][0] == AGAIN:
            survey = _anew(cluster, deadline) or survey
        else:
            survey = _with(survey, KINDS[arrived[0]], *arrived[1])


def _with(survey: Survey, kind: str, event: str, item: dict[str, Any]) -> Survey:
    """`survey` with one change; the same object where it is none."""
    seen = Hardware.of(item) if kind == HARDWARE else Workflow.of(item)
    name = seen.name
    known: dict[str, Any] = dict(survey.hardware if kind == HARDWARE else survey.workflows)
    before = known.pop(name, None)
    if event != "DELETED":
        if before is not None and before.resource_version == seen.resource_version:
            return survey
        known[name] = seen
    elif before is None:
        return survey
    return replace(survey, hardware=known) if kind == HARDWARE else replace(survey, workflows=known)


def _anew(cluster: Cluster, deadline: Deadline) -> Survey | None:
    try:
        return cluster.survey(deadline.within(READ_SECONDS))
    except (AuthError, HostKeyError):
        raise
    except TransportError:
        return None
