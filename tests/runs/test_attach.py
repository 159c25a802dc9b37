"""Ending a run from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from metalfoundry.commands.command import Command, Effect
from metalfoundry.lab.kubernetes.store import NotFound
from metalfoundry.runs.attach import cancel
from metalfoundry.site.window import Window
from tests.site.place import SERVER, Bench

IN_FLIGHT = 2.0  # seconds that the controller's write may still come after its Workflow was deleted


@pytest.mark.parametrize("state", ["", "PREPARING"])
def test_what_tinkerbell_opens_for_a_workflow_that_was_just_removed_is_closed(tmp_path: Path, state: str) -> None:
    with Bench(tmp_path) as bench:
        window = Window(bench.site(), SERVER, "run-1")
        window.claim.workflow = "anvil-ubuntu"
        window.claim.take(None)
        bench.store.create("workflows", {"metadata": {"name": "anvil-ubuntu"}, "spec": {}, "status": {"state": state}})
        due: list[float] = []

        def controller(command: Command) -> None:
            if due and bench.clock.now().mono >= due[0]:
                bench.set_pxe(True)
                due[0] = float("inf")
            elif not due and command.effect is Effect.RESTORE and "delete" in f"{command.line}{command.stdin}":
                due.append(bench.clock.now().mono + IN_FLIGHT)

        bench.shell.before = controller
        cancel(bench.site("lead@desk"), SERVER, "wrong image")
        assert due == [float("inf")]
        assert not bench.is_open
        with pytest.raises(NotFound):
            bench.store.get("workflows", "anvil-ubuntu")
