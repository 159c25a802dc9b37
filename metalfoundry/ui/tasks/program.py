"""The `metalfoundry` program: Fabric's Program over fab.py's tasks.

It differs from plain `fab` in one thing that `fab` cannot do: a fault in the command's own words ends with 2.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fabric import Config, Executor
from fabric.main import Fab
from invoke.exceptions import Exit, ParseError

from metalfoundry.fab import ns
from metalfoundry.model.program import called
from metalfoundry.ui.output.outlet import outlets
from metalfoundry.ui.output.plain import say


class Program(Fab):  # type: ignore[misc]  # Fabric has no type information
    """Maps what Invoke calls 1 to the documented 2."""

    def print_version(self) -> None:
        """Only ours."""
        say(f"metalfoundry {self.version}")

    def parse_core(self, argv: Any) -> None:
        """As Invoke's; a parse error is a usage error."""
        self._as_usage(lambda: super(Program, self).parse_core(argv))

    def parse_tasks(self) -> None:
        """As Invoke's; a parse error is a usage error."""
        self._as_usage(super().parse_tasks)

    @staticmethod
    def _as_usage(parse: Any) -> None:
        try:
            parse()
        except ParseError as error:
            raise Exit(f"error: {error}\n  now:   metalfoundry --list, or metalfoundry --help TASK", code=2) from None


def main() -> None:
    """The console script."""
    called("metalfoundry")
    program = Program(
        name="metalfoundry",
        binary="metalfoundry",
        version=version("metalfoundry"),
        namespace=ns,
        executor_class=Executor,
        config_class=Config,
    )
    with outlets():
        program.run()
