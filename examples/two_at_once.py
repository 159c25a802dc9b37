"""Re-install servers side by side, two at a time: `python two_at_once.py INVENTORY SERVER...`."""

import sys
from concurrent.futures import ThreadPoolExecutor

from metalfoundry import Foundry, Options, Report


def reinstall(foundry: Foundry, names: list[str]) -> list[Report]:
    """One run in each thread. All go over the one connection to the jump host; Ctrl-C ends them all, netboot closed."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = [pool.submit(foundry.provision, name, Options(reason="new disks")) for name in names]
        try:
            return [run.result() for run in runs]
        except KeyboardInterrupt:
            for run in runs:
                run.cancel()  # what has not begun
            foundry.cancel_runs("Ctrl-C")
            return [run.result() for run in runs if not run.cancelled()]


def main(inventory: str, *names: str) -> int:
    """The exit code is the highest of all runs."""
    with Foundry.load(inventory) as foundry:
        reports = reinstall(foundry, list(names))
    for report in reports:
        print(f"{report.server}: {report.verdict}, netboot {'closed' if report.closed else 'NOT CLOSED'}")
    return max((report.exit_code for report in reports), default=0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
