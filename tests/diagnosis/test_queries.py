"""What rules ask of an object, whatever stands in it."""

from __future__ import annotations

import pytest

from metalfoundry.diagnosis.queries import raw_action
from metalfoundry.model.resources import Workflow


@pytest.mark.parametrize(
    ("task", "action", "both"),
    [
        (["/dev:/dev"], ["/a:/b"], ["/dev:/dev", "/a:/b"]),
        (1, ["/a:/b"], ["/a:/b"]),
        ("/dev:/dev", None, []),
        ({}, 2, []),
    ],
)
def test_an_action_has_its_tasks_volumes_beside_its_own(task: object, action: object, both: list[str]) -> None:
    tasks = [{"volumes": task, "actions": [{"name": "write-netplan", "volumes": action}]}]
    workflow = Workflow.of({"metadata": {"name": "anvil-ubuntu"}, "status": {"tasks": tasks}})
    assert raw_action(workflow, "write-netplan")["volumes"] == both
