"""Re-install one server, but end the run after some seconds: `python cancel.py INVENTORY SERVER SECONDS`."""

import sys
from threading import Timer

from metalfoundry import Foundry, Options, Report


def reinstall(foundry: Foundry, server: str, seconds: float) -> Report:
    """The report of a run that may take `seconds`; what it did until then is taken back, and netboot is closed."""
    timer = Timer(seconds, foundry.cancel_runs, ["the maintenance window is over"])
    timer.start()
    try:
        return foundry.provision(server, Options(reason="new disk"))
    finally:
        timer.cancel()


def main(inventory: str, server: str, seconds: str) -> int:
    """The exit code is 130 where the time was up."""
    with Foundry.load(inventory) as foundry:
        report = reinstall(foundry, server, float(seconds))
    print(f"{server}: {report.verdict}")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
