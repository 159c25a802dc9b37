"""Re-install one server; progress on stderr, the report as JSON on stdout: `python script.py INVENTORY SERVER`."""

import json
import sys

from metalfoundry import Foundry, MetalfoundryError, Options, PhaseEnded, Record, UnsafeError


def progress(record: Record) -> None:
    """A line for each phase."""
    if isinstance(record.event, PhaseEnded):
        print(f"{record.time:%H:%M:%S} {record.server} {record.event.title}", file=sys.stderr)


def main(inventory: str, server: str) -> int:
    """The exit code is that of `fab provision`."""
    try:
        with Foundry.load(inventory, sinks=[progress]) as foundry:
            report = foundry.provision(server, Options(reason="new disk"))
    except MetalfoundryError as error:  # the inventory, or a server that is not in it
        print(f"{error}\n{error.next}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(report.to_json(), indent=2))
    if isinstance(report.error, UnsafeError):
        print(f"the next boot may wipe {server}: {report.error.next}", file=sys.stderr)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
