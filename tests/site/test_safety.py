"""What has to be seen before netboot opens, while it is open, and before it counts as closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metalfoundry.commands.command import Command, Effect
from metalfoundry.model.errors import LinkLost, PreflightError, UnsafeError
from metalfoundry.model.hosts import Host
from metalfoundry.model.resources import Hardware
from metalfoundry.runs.phases.claim import TakeClaim
from metalfoundry.site.window import Window
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline
from tests.site.place import SERVER, Bench, Shell

LEASE = 600.0


class Guarded(Shell):
    """A jump host whose guard answers `alive` with this exit status; all else is as ever."""

    alive = 0

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        if "ACTION=alive" in command.stdin:
            return Result(self.alive, "state=guarding\npid=1\n" if self.alive == 0 else "state=dead\n", "")
        if "ACTION=arm" in command.stdin and "script()" not in command.stdin:
            return Result(0, "pid=1\n", "")
        return super().run(host, command, deadline)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        bench.shell = Guarded(tmp_path / "bin", bench.clock)
        yield bench


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


def test_a_guard_that_does_not_answer_is_none(bench: Bench) -> None:
    window = claimed(bench)
    cast(Guarded, bench.shell).alive = 4
    with pytest.raises(PreflightError, match="guard could not be armed"):
        window.arm("anvil-ubuntu", None)


def test_the_heartbeat_extends_the_guard_with_the_claim(bench: Bench) -> None:
    window = claimed(bench)
    window.arm("anvil-ubuntu", None)
    bench.clock.advance(LEASE / 3)
    said = len(bench.shell.said)
    window.beat()
    (beat,) = [command for command in bench.shell.said[said:] if command.effect is not Effect.READ]
    assert "ACTION=extend" in beat.stdin
    assert f"EXPIRES=+{LEASE:.0f}" in beat.stdin


def test_who_takes_a_run_up_takes_claim_and_guard_in_one_exec(bench: Bench) -> None:
    """The guard of the run before leaves with its claim, and netboot may stand open."""
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
    assert "ACTION=arm" in taken[0].stdin
