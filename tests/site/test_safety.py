"""What has to be seen before netboot opens, while it is open, and before it counts as closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import LinkLost, MetalfoundryError, PreflightError, UnsafeError
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.phases.claim import TakeClaim
from metalfoundry.site.window import Window
from tests.played_guard import ALIVE, DEAD
from tests.site.place import SERVER, Bench

LEASE = 600.0


def claimed(bench: Bench) -> Window:
    window = Window(bench.site(), SERVER, "run-1", "new disk", lease=LEASE)
    window.claim.take(None)
    return window


def test_while_smee_serves_the_installer_nothing_counts_as_closed(bench: Bench, tmp_path: Path) -> None:
    curl = tmp_path / "bin" / "curl"
    curl.write_text("#!/bin/sh\nprintf 200\n")
    curl.chmod(0o755)
    site = bench.site()
    known = site.inventory
    site = replace(
        site, inventory=known.model_copy(update={"site": known.site.model_copy(update={"smee": "http://127.0.0.1:1/"})})
    )
    window = Window(site, SERVER, "run-1", lease=LEASE)
    window.claim.take(None)
    window.open()
    bench.shell.after = lambda command: bench.clock.advance(40)
    with pytest.raises(UnsafeError, match="Smee still serves the installer"):
        window.close("the installer runs")
    curl.write_text("#!/bin/sh\nprintf 404\n")
    assert window.close("the installer runs").smee


def test_a_guard_whose_word_stays_away_is_none(bench: Bench) -> None:
    window = claimed(bench)
    bench.shell.guard = DEAD
    for step in (window.arm, window.open):
        with pytest.raises(PreflightError, match="no guard acknowledges this claim") as caught:
            step()
        assert "no guard has acknowledged it" in caught.value.evidence
    assert not bench.is_open


def test_the_heartbeat_sees_its_renewal_acknowledged(bench: Bench) -> None:
    window = claimed(bench)
    window.arm()
    bench.clock.advance(LEASE / 3)
    said = len(bench.shell.said)
    window.beat()
    assert len(bench.shell.said) == said + 1
    assert bench.annotations["metalfoundry.dev/renewal"] == "2"
    assert bench.annotations["metalfoundry.dev/guard"] == "played@jump run-1 2 holds"


def test_a_guard_that_dies_is_missed_at_the_next_heartbeat(bench: Bench) -> None:
    window = claimed(bench)
    window.arm()
    window.open()
    bench.shell.guard = DEAD
    bench.clock.advance(LEASE / 3)
    with pytest.raises(PreflightError, match="no guard acknowledges this claim"):
        window.beat()
    window.end("the guard is gone")
    assert not bench.is_open


def test_a_guard_that_died_is_started_again_at_the_next_heartbeat(bench: Bench) -> None:
    window = claimed(bench)
    window.arm()
    bench.shell.guard = DEAD
    bench.shell.after = lambda command: setattr(bench.shell, "guard", ALIVE)
    bench.clock.advance(LEASE / 3)
    window.beat()
    assert window.guard.name == "played@jump"


def test_nothing_is_opened_on_an_old_word(bench: Bench) -> None:
    window = claimed(bench)
    window.arm()
    bench.clock.advance(61)
    bench.shell.guard = DEAD
    with pytest.raises(PreflightError, match="no guard acknowledges this claim"):
        window.open()
    assert not bench.is_open
    bench.shell.guard = ALIVE
    window.open()
    assert bench.is_open


def test_what_the_guard_has_shut_is_not_opened(bench: Bench) -> None:
    window = claimed(bench)
    bench.shell.guard = ALIVE.replace("holds", "shut-deleted")
    with pytest.raises(MetalfoundryError, match=r"has shut the window of anvil already \(deleted\)"):
        window.open()
    assert not bench.is_open


def test_what_the_guard_has_shut_for_an_earlier_workflow_is_opened(bench: Bench) -> None:
    window = claimed(bench)
    bench.shell.guard = ALIVE.replace("holds", "shut-SUCCESS")
    window.arm()
    bench.shell.guard = ALIVE
    window.open()
    assert bench.is_open


def test_who_takes_a_run_up_takes_claim_and_guard_in_one_exec(bench: Bench) -> None:
    """The guard of the run before may be dead, and netboot may stand open."""
    claimed(bench)
    bench.clock.advance(LEASE + 1)
    window = Window(bench.site(), SERVER, "run-2", lease=LEASE)
    target = SimpleNamespace(
        hardware=Hardware.of(bench.hardware), document=SimpleNamespace(name="wf"), boot_action=None
    )
    run: Any = SimpleNamespace(
        window=window, site=bench.site(), target=target, id="run-2", undo=lambda *_: None, say=lambda _: None
    )
    taken: list[Command] = []

    def stop(command: Command) -> None:
        if command.effect is Effect.WRITE:
            taken.append(command)
            raise LinkLost("far enough", where="jump", sent=False)

    bench.shell.before = stop
    with pytest.raises(LinkLost):
        TakeClaim().act(run)
    assert "run-2" in taken[0].stdin
    assert "ACTION=start" in taken[0].stdin
