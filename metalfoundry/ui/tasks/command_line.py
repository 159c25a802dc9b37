"""The words of a command line, checked against the tasks before Invoke parses them; and the help of a task.

Invoke takes `--help` or a misspelt option for a server's name, and knows no optional name.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext

from metalfoundry.model.errors import UsageError
from metalfoundry.model.program import ours

HELP = ("--help", "-h")
NAMED = ("status", "netboot.status", "doctor", "known-hosts")
"""The tasks with an optional NAME: it becomes the value of --server."""
ONE = ("attach", "logs", "netboot.break")
"""The tasks that take one NAME only."""
MAY_BE_EMPTY = ("reason",)
"""The options whose empty value means what it says; with any other it comes of a variable that is not set."""
Contexts = Mapping[str, ParserContext]


class HelpWanted(Exception):
    """The help of `task` was asked for."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task


def checked(words: Sequence[str], tasks: Contexts, core: ParserContext, foreign: Container[str] = ()) -> Iterator[str]:
    """`words` (without the core options in front), known to fit the tasks, and as Invoke can parse them. `foreign`: the
    tasks of the user's own, which may take an empty value.

    Raises UsageError with the right line, HelpWanted.
    """
    task: ParserContext | None = None
    awaited: list[str] = []  # what the task still takes without an option
    flag, argument = "", None
    for word in words:
        if argument is not None and argument.optional and (word in tasks or word.startswith("-")):
            argument = None
        if argument is not None:
            _check_value(task, flag, argument, word, foreign)
            argument = None
        elif task is not None and word in HELP:
            raise HelpWanted(str(task.name))
        elif word.startswith("-") and len(word) > 1:
            flag = word.partition("=")[0]
            known = _option(task, core, flag)
            awaited = [name for name in awaited if name != known.name]
            argument = known if _value_follows(task, known, word, foreign) else None
        elif task is not None and awaited and (task.name not in NAMED or word not in tasks):
            if not word.strip(", "):
                raise UsageError(f"{word!r} is not a name", next=usage(task))
            awaited = awaited[1:]
            if task.name in NAMED:
                yield "--server"
        elif word in tasks:
            _check_given(task, awaited)
            task = tasks[word]
            awaited = ["server"] if task.name in NAMED else [str(argument.name) for argument in task.positional_args]
        else:
            raise _unknown_word(task, word, tasks)
        yield word
    if argument is not None and not argument.optional:
        raise UsageError(f"{flag} needs a value", next=_shown(task, flag, argument))
    _check_given(task, awaited)


def _near(name: str, known: Iterable[str]) -> str:
    from metalfoundry.model.names import nearest  # here: only an error needs it

    return nearest(name, known)


def unknown_task(name: str, tasks: Iterable[str]) -> UsageError:
    """The error for a task, or a group of tasks, that does not exist."""
    return UsageError(f"there is no task {name}{_near(name, tasks)}", next=ours("--list"))


def usage(task: ParserContext) -> str:
    """The task with what it takes, as one types it."""
    return " ".join((ours(str(task.name)), *([_takes(task)] if _takes(task) else [])))


def help_text(task: ParserContext, text: str) -> str:
    """Usage, what the task does (`text`), and its options."""
    first = {f"--{argument.name}" for argument in task.positional_args}
    rows = [(flag, meaning) for flag, meaning in task.help_tuples() if flag.partition("=")[0] not in first]
    takes = [(_shown_name(task, str(argument.name)), argument.help) for argument in task.positional_args]
    parts = [f"Usage: {usage(task)}{' [OPTIONS]' if rows else ''}\n\n{text}\n"]
    for title, lines in (("", takes), ("Options:\n", rows)):
        if lines:
            parts.append(title + "".join(f"  {word:<26} {meaning or ''}".rstrip() + "\n" for word, meaning in lines))
    return "\n".join(parts)


def _takes(task: ParserContext) -> str:
    if task.name in NAMED:
        return "[NAME[,NAME…]]"
    return " ".join(_shown_name(task, str(argument.name)) for argument in task.positional_args)


def _shown_name(task: ParserContext, name: str) -> str:
    return name.upper() if name != "name" or task.name in ONE else "NAME[,NAME…]"


def _option(task: ParserContext | None, core: ParserContext, flag: str) -> Argument:
    """The option of the task, or of Fabric; of several short ones in one word, the first."""
    spellings = [flag] if flag.startswith("--") else [flag, flag[:2]]
    contexts = [context for context in (task, core) if context is not None]
    for context in contexts:
        for spelling in spellings:
            name = context.inverse_flags.get(spelling, spelling)
            if name in context.flags:
                found: Argument = context.flags[name]
                return found
    context = contexts[0]
    what = f"{context.name} has no option {flag}" if context.name else f"there is no option {flag}"
    words = [str(context.name)] if context.name else []
    raise UsageError(what + _near(flag, context.flags), next=ours("--help", *words))


def _value_follows(task: ParserContext | None, argument: Argument, word: str, foreign: Container[str]) -> bool:
    flag, equals, value = word.partition("=")
    if equals and argument.takes_value:
        _check_value(task, flag, argument, value, foreign)
    return bool(argument.takes_value) and not equals and (len(flag) == 2 or flag.startswith("--"))


def _check_value(
    task: ParserContext | None, flag: str, argument: Argument, value: str, foreign: Container[str]
) -> None:
    if task is not None and value in task.flags:
        raise UsageError(f"{flag} needs a value", next=_shown(task, flag, argument))
    if argument.kind is int and not value.removeprefix("-").isdecimal():
        raise UsageError(f"{flag} needs a whole number, not {value!r}", next=_shown(task, flag, argument))
    own = task is not None and task.name in foreign
    if not own and argument.name not in MAY_BE_EMPTY and not value.strip(", "):
        step = f"{_shown(task, flag, argument)}, or leave it out"
        if task is not None and argument in task.positional_args:
            step = usage(task)
        raise UsageError(f"{flag} has an empty value", next=step)


def _check_given(task: ParserContext | None, awaited: Sequence[str]) -> None:
    if task is not None and awaited and task.name not in NAMED:
        what = "a server's name" if awaited[0] == "name" else f"a {awaited[0]}"
        raise UsageError(f"{task.name} needs {what}", next=usage(task))


def _shown(task: ParserContext | None, flag: str, argument: Argument) -> str:
    value = "10" if argument.kind is int else flag[2:].upper() or "VALUE"
    return f"{usage(task) if task is not None else ours('TASK')} {flag} {value}"


def _unknown_word(task: ParserContext | None, word: str, tasks: Contexts) -> UsageError:
    if task is None:
        return unknown_task(word, tasks)
    if not _takes(task):
        return UsageError(
            f"{task.name} takes no name, and there is no task {word}{_near(word, tasks)}", next=usage(task)
        )
    return UsageError(f"{word!r} is one argument too many; join names with commas", next=usage(task))
