"""What goes over the wire, so that it means the same whatever login shell sshd starts there.

sshd gives the line to the user's login shell. csh takes `!` and newlines within quotes for something of its own, fish a
backslash, and neither knows `2>&1`. So a line with more in it than words travels on stdin, to a plain `sh`.
"""

from __future__ import annotations

import re

from metalfoundry.commands.command import Command, Raw

_SAME_EVERYWHERE = re.compile(r"[^!\\\n]{0,900}")  # csh has no longer words than 1024
_READER = """sh -c 'eval "$(head -c {size})"'"""
_WHOLE = "whole() {{\n{line}\n}}; whole"  # a line that arrives in part does nothing


def sent(command: Command) -> tuple[str, str]:
    """The line and the stdin that run `command`."""
    simple = not any(isinstance(word, Raw) for word in command.argv)
    if simple and _SAME_EVERYWHERE.fullmatch(command.line):
        return command.line, command.stdin
    return in_any_shell(command.line, command.stdin)


def in_any_shell(text: str, stdin: str) -> tuple[str, str]:
    """The line and the stdin that let `sh` run `text`, with `stdin` as its own."""
    whole = _WHOLE.format(line=text)
    return _READER.format(size=len(whole.encode())), whole + stdin
