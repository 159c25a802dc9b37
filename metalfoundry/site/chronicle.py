"""Kubernetes Events of what we do to a Hardware, made in the exec that does it. What keeps them from being made is told
once, and costs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from metalfoundry.commands.happenings import EVENT, event, happening
from metalfoundry.commands.kubectl import Kubectl, Refusal, refusal
from metalfoundry.commands.script import Outcome, Part
from metalfoundry.model.program import ours
from metalfoundry.model.resources import Hardware


class Chronicle:
    """What several runs share of it: the objects' uids, by which `kubectl describe` finds their Events, and whether
    Events can be made at all."""

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._silent = False

    def saw(self, hardware: Hardware) -> None:
        """Remember the object as it was read."""
        self._uids[hardware.name] = hardware.uid

    def parts(
        self, kubectl: Kubectl, name: str, operations: Sequence[Mapping[str, Any]], who: str, when: datetime
    ) -> list[Part]:
        """What tells of these operations; empty where they are nothing to tell of, or where nobody may."""
        told = None if self._silent else happening(operations, who)
        return [event(kubectl, name, self._uids.get(name, ""), told, when)] if told else []

    def heard(self, outcomes: Mapping[str, Outcome]) -> str:
        """The notice for an Event that was not made, the first time; "" otherwise."""
        made = outcomes.get(EVENT)
        if made is None or made.ok or self._silent:
            return ""
        self._silent = True
        why = (made.stderr.splitlines() or ["no reason given"])[-1][:300]
        may_not = refusal(made.exit_status, made.stderr) is Refusal.FORBIDDEN
        step = f"; for the right to it: {ours('rbac.print', '--user', 'NAME')}" if may_not else ""
        return f"what is done here does not show in the cluster's Events: {why}{step}"
