"""Re-install servers side by side, two at a time: `python two_at_once.py INVENTORY SERVER...`."""

import sys

from metalfoundry import Foundry, Options, Policy


def main(inventory: str, *names: str) -> int:
    """The exit code is the highest of all runs. Ctrl-C ends them all, netboot closed, and their reports still come."""
    with Foundry.load(inventory) as foundry:
        fleet = foundry.provision_many(names, Options(reason="new disks"), Policy(parallel=2, canary=0))
        for report in fleet:
            print(f"{report.server}: {report.verdict}, netboot {'closed' if report.closed else 'NOT CLOSED'}")
    return max((report.exit_code for report in fleet.reports.values()), default=0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
