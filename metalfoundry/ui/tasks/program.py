"""The command line around fab.py's tasks: `metalfoundry`, and plain `fab` once it has loaded them.

A fault in the command line ends with 2 and shows the right line, where Fabric's own program ends with 1 or a traceback.
"""

from __future__ import annotations

import atexit
import sys
from contextlib import ExitStack
from importlib.metadata import version
from inspect import cleandoc
from typing import Any

from fabric import Config, Executor
from fabric.main import Fab
from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext

from metalfoundry.model.errors import UsageError
from metalfoundry.model.plain_text import json_text
from metalfoundry.model.program import called, ours
from metalfoundry.ui.output.outlet import Outlet, outlets
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.command_line import HelpWanted, checked, help_text, unknown_task
from metalfoundry.ui.tasks.errors import described, error_json

REFUSED = {
    "hosts": ("-H", "servers come from the inventory", "name them after the task"),
    "identity": (
        "-i",
        "keys come from the inventory, your SSH agent and ~/.ssh/config",
        "set `identity` in the inventory",
    ),
    "ssh-config": ("-S", "~/.ssh/config is read", "leave it out"),
    "prompt-for-login-password": ("--prompt-for-login-password", "only keys are used", "leave it out"),
    "prompt-for-passphrase": (
        "--prompt-for-passphrase",
        "it would not reach your keys",
        "load the key into an SSH agent",
    ),
    "connect-timeout": ("-t", "time limits come from the inventory", "set `timeouts` in the inventory"),
    "command-timeout": ("-T", "time limits come from the inventory", "set `timeouts` in the inventory"),
    "echo": ("-e", "it would show nothing", "use --plan before a run, --events - during one"),
    "dry": ("--dry", "it would not stop anything", "use --plan"),
    "hide": ("--hide", "it would hide nothing", "leave it out"),
    "pty": ("-p", "no command runs on a terminal", "leave it out"),
    "warn-only": ("-w", "a failed command is never passed over", "leave it out"),
    "prompt-for-sudo-password": ("--prompt-for-sudo-password", "no password is passed on", "leave it out"),
}
"""Fabric's own options that our tasks would ignore: how each is spelt, why it is refused, and what to do instead."""


class Program(Fab):  # type: ignore[misc]  # Fabric has no type information
    """Fabric's program, with the command line checked first. Where it is plain `fab`, its own output may go away like a
    task's."""

    _streams = ExitStack()

    def print_version(self) -> None:
        """Only ours."""
        say(f"metalfoundry {self.version}")

    def parse_core(self, argv: Any) -> None:
        """As Invoke's; what does not parse is a usage error."""
        try:
            super().parse_core(argv)
        except (ParseError, ValueError) as error:
            raise _refused(_other(error), False) from None

    def parse_tasks(self) -> None:
        """As Invoke's; what does not fit is a usage error, and a task's help may stand behind its name."""
        if not isinstance(sys.stdout, Outlet):  # plain `fab`: it ran before it was of this class
            self._streams.enter_context(outlets())
            atexit.register(self._streams.close)
        words = self.core.unparsed
        try:
            tasks = self._tasks()
            foreign = {name for name in tasks if not self._is_ours(name)}
            words[:] = list(checked(words, tasks, self.initial_context, foreign))
            super().parse_tasks()
            self._refuse_ignored()
        except HelpWanted as wanted:
            self.print_task_help(wanted.task)
            raise Exit(code=0) from None
        except ParseError as error:
            raise _refused(_other(error), "--json" in words) from None
        except UsageError as error:
            raise _refused(error, "--json" in words) from None

    def parse_cleanup(self) -> None:
        """As Invoke's; the help of a task, or a list of a group, that does not exist is a usage error."""
        groups = self.collection.collections
        for name, known in ((self.args.help.value, self._tasks()), (self.args.list.value, groups)):
            if isinstance(name, str) and name not in known:
                raise _refused(unknown_task(name, known), False)
        super().parse_cleanup()

    def execute(self) -> None:
        """As Invoke's. The streams are the tasks' own from here on, for a user's own task may need them whole."""
        self._streams.close()
        super().execute()

    def print_task_help(self, name: str) -> None:
        """Usage, what the task does, and its options."""
        say(help_text(self._tasks()[name], cleandoc(self.collection[name].__doc__ or "")), end="")

    def _tasks(self) -> dict[str, ParserContext]:
        contexts = self.collection.to_contexts()
        return {str(name): context for context in contexts for name in (context.name, *context.aliases)}

    def _is_ours(self, task: str) -> bool:
        return bool(self.collection[task].body.__module__.startswith("metalfoundry."))

    def _refuse_ignored(self) -> None:
        """Refuse what none of our tasks heeds; a task of the user's own may."""
        if any(self._is_ours(task.name) for task in self.tasks):
            for name, (spelt, why, step) in REFUSED.items():
                if self.args[name].value:
                    raise UsageError(f"{spelt} is not for these tasks: {why}", next=step)


def _other(error: Exception) -> UsageError:
    """What Invoke alone finds wrong."""
    return UsageError(str(error), next=f"{ours('--list')}, or {ours('--help', 'TASK')}")


def _refused(error: UsageError, json: bool) -> Exit:
    if json:
        say(json_text(error_json(error), indent=2))
    return Exit(described(error), code=error.exit_code)


def main() -> None:
    """The console script."""
    called("metalfoundry")
    from metalfoundry.fab import ns

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
