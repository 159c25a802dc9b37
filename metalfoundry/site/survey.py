"""What stands in a namespace at one moment: the objects by kind and name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metalfoundry.commands.rights import Right
from metalfoundry.model.resources import Hardware, Template, Workflow


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything in the namespace at one moment. `missing` lists rights that are not granted,
    `missing_for_bmc` those that only a BMC takes.

    `smee` holds Smee's HTTP status by path where it was asked for one machine.
    """

    hardware: Mapping[str, Hardware]
    templates: Mapping[str, Template]
    workflows: Mapping[str, Workflow]
    missing: tuple[Right, ...] = ()
    smee: Mapping[str, int] | None = None
    missing_for_bmc: tuple[Right, ...] = ()

    def of_agent(self, agents: Sequence[str], hardware: str) -> list[Workflow]:
        """All Workflows that the same agent would be served: by its id, or made for the same Hardware."""
        wanted = {agent.lower() for agent in agents if agent}
        return [
            workflow
            for workflow in self.workflows.values()
            if (workflow.agent_id or "").lower() in wanted or workflow.hardware_ref == hardware
        ]
