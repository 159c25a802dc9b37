"""`fab lab.up` and `fab lab.down` on the terminal."""

from __future__ import annotations

from pathlib import Path

from metalfoundry.model.errors import MetalfoundryError, UsageError
from metalfoundry.model.program import ours
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.confirm import typed
from metalfoundry.ui.tasks.errors import boundary


def up(scenario: str, speed: str, folder: str, *, ask: bool) -> None:
    """Start the lab in the background and say how to use it."""
    with boundary():
        from metalfoundry.lab import background, scenarios
        from metalfoundry.lab.clock import LabError

        if scenario == "list":
            say("\n".join(sorted(scenarios.SCENARIOS)))
            return
        if scenario not in scenarios.SCENARIOS:
            raise UsageError(
                f"there is no scenario {scenario}", next=f"one of: {', '.join(sorted(scenarios.SCENARIOS))}"
            )
        pace = _speed(speed)
        if ask and background.running(Path(folder)):
            question = f"A lab runs in {folder}, and would be replaced. Type yes to go on: "
            typed("yes", question, ours("lab.up", "--scenario", scenario, "--dir", folder, "--yes"))
        try:
            inventory = background.up(Path(folder), scenario, pace)
        except LabError as error:
            raise MetalfoundryError(str(error), where=folder, next=f"look into {folder}/lab.log") from error
        step = ours("provision", "colo-server-01", "--inventory", str(inventory))
        say(f"the lab is up ({scenario}); use it with:\n  {step}")


def down(folder: str) -> None:
    """Stop the lab."""
    with boundary():
        from metalfoundry.lab import background

        say("the lab is down" if background.down(Path(folder)) else f"no lab runs in {folder}")


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if speed <= 0:
        raise UsageError(f"--speed must be a number above 0, not {text!r}", next="--speed 5")
    return speed
