"""`fab completion`: a script for bash, zsh or fish that completes tasks, flags and the inventory's server names."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context

from metalfoundry.model.errors import UsageError
from metalfoundry.ui.output.plain import say
from metalfoundry.ui.tasks.command_line import NAMED
from metalfoundry.ui.tasks.complete_words import FILES, KINDS, NAMES
from metalfoundry.ui.tasks.errors import boundary
from metalfoundry.ui.tasks.options import task

PROGRAMS = "fab metalfoundry"
FILE_FLAGS = ("inventory", "workflow", "html", "bundle", "events", "dir")
BASH = """\
_metalfoundry() {
    local line=${COMP_LINE:0:COMP_POINT} current IFS=$' \\t\\n'
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    IFS=$'\\n'
    COMPREPLY=($(%(program)s %(table)s "${words[@]:1}" 2>/dev/null))
    if [[ ${COMPREPLY[0]} == %(files)s ]]; then
        COMPREPLY=()
        compopt -o default
    elif [[ $current == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#*=}")
    fi
}
complete -F _metalfoundry %(programs)s
"""
ZSH = """\
_metalfoundry() {
    local -a found
    found=("${(@f)$(%(program)s %(table)s "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ $found[1] == %(files)s ]]; then
        compset -P '*='
        _files
    elif [[ -n $found[1] ]]; then
        compadd -- $found
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _metalfoundry %(programs)s
"""
FISH = """\
function __metalfoundry
    set -l words (commandline -opc) (commandline -ct)
    set -l found (%(program)s %(table)s $words[2..-1] 2>/dev/null)
    if test "$found" = %(files)s
        __fish_complete_path (string replace -r '^--[a-z-]+=' '' -- (commandline -ct))
    else
        printf '%%s\\n' $found
    end
end
for program in %(programs)s
    complete -c $program -f -a '(__metalfoundry)'
end
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@task(help={"shell": "bash, zsh or fish (default: as $SHELL says)"})
def completion(c: Context, shell: str = "") -> None:
    """Print a script that completes tasks and server names.

    Example: source <(fab completion --shell bash)
    """
    with boundary():
        from metalfoundry.fab import ns

        say(script(shell or Path(os.environ.get("SHELL", "")).name, ns), end="")


def script(shell: str, tasks: Collection) -> str:
    """The script for this shell. Raises UsageError for one that is not known."""
    if shell not in SCRIPTS:
        raise UsageError(f"there is no completion for {shell or 'an unnamed shell'}", next="--shell bash, zsh or fish")
    program = f"{shlex.quote(sys.executable)} -P -m metalfoundry.ui.tasks.complete_words"
    table = shlex.quote(table_of(tasks))
    return SCRIPTS[shell] % {"program": program, "table": table, "files": FILES, "programs": PROGRAMS}


def table_of(tasks: Collection) -> str:
    """The tasks as completing.py reads them."""
    lines = []
    for context in sorted(tasks.to_contexts(), key=lambda one: str(one.name)):
        first = context.positional_args[0].name if context.positional_args else ""
        named = first in ("name", "run") or context.name in NAMED
        flags = [
            f"{flag}={_kind(argument.name)}" if argument.takes_value else flag
            for flag, argument in sorted(context.flags.items())
            if argument.name != first
        ]
        kind = NAMES if named else "-"
        lines += [" ".join((str(name), kind, *flags)) for name in (context.name, *context.aliases)]
    return "\n".join(lines)


def _kind(name: str) -> str:
    if name in FILE_FLAGS:
        return "file"
    return NAMES if name == "server" else name if name in KINDS else "word"
