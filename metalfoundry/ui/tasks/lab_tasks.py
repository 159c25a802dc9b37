"""`fab lab.*`: the embedded lab."""

from __future__ import annotations

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.ui.tasks.options import task


@task(
    name="up",
    help={
        "scenario": "how the machines behave (default: installs; `list` shows all)",
        "speed": "how many times faster than real time (default: 1)",
        "dir": "where the lab keeps its files (default: .lab)",
        "yes": "replace a lab that runs there without asking",
    },
)
def up(c: Context, scenario: str = "installs", speed: str = "1", dir: str = ".lab", yes: bool = False) -> None:
    """Start the embedded lab in the background.

    Example: fab lab.up --scenario reboot-last
    """
    from metalfoundry.ui.tasks import lab as body

    body.up(scenario, speed, dir, ask=not yes)


@task(name="down", help={"dir": "where the lab keeps its files (default: .lab)"})
def down(c: Context, dir: str = ".lab") -> None:
    """Stop the embedded lab.

    Example: fab lab.down
    """
    from metalfoundry.ui.tasks import lab as body

    body.down(dir)


def collection() -> Collection:
    """The tasks as `lab.*`."""
    return Collection("lab", up, down)
