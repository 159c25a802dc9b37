"""Several commands in one exec: each remote command costs a round trip, so reads that belong together travel together.

The script goes over stdin to `sh -s`; every part's stdout, stderr and exit status come back between marker lines.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from metalfoundry.commands.command import Command, Effect, Raw

MARK = "@@metalfoundry"
_END = "METALFOUNDRY_STDIN"
_PART = f"""part() {{
label=$1 name="$mark $1"; shift
printf '{MARK} %s out\\n' "$name"
{{ err=$("$@" 2>&1 >&3); code=$?; }} 3>&1
printf '\\n{MARK} %s err\\n%s\\n{MARK} %s exit %s\\n' "$name" "$err" "$name" "$code"
case $code in 0) went="$went$label " ;; esac
}}
"""
# What has a ticket, $1 of the shell, begins once, and not any more when `settling` was there first. A folder that
# cannot be made for another reason, such as a full disk, is no hindrance.
_BEGIN = 'case $ticket in ?*) mkdir "/tmp/$ticket" 2>/dev/null || [ ! -d "/tmp/$ticket" ] || exit 9 ;; esac\n'
_END_OF_TICKET = 'case $ticket in ?*) rmdir "/tmp/$ticket" 2>/dev/null ;; esac\n'
# Over SSH nothing ends a script whose client has left, so its end is waited for. While it runs its ticket stands among
# its arguments. No program is told on its command line what is looked for, or it would be found; and not every grep
# reads on behind a NUL.
_SETTLE = """settle() {
turns=$(($1 * 4)); shift
for ticket in "$@"; do
mkdir "/tmp/$ticket" 2>/dev/null && continue
while runs "$ticket"; do
[ "$turns" -gt 0 ] || return 1
turns=$((turns - 1)); sleep 0.25
done
done
[ -r /proc/self/cmdline ]
}
runs() {
case $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ') in *"$1"*) return 0 ;; esac
return 1
}
"""
_TIME = f"""printf '\\n{MARK} %s at %s\\n' "$mark" "$(date +%s 2>/dev/null)"\n"""
_AT = re.compile(rf"\n{MARK} \w+ at (?P<seconds>[0-9]{{1,11}})$", re.MULTILINE)
_FIRST = re.compile(rf"^{MARK} (?P<mark>\w+) \S+ out$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """One command of a script: a name without blanks, its words, and what it reads on stdin. `after`: it is run only
    where the part of that name, before it, has ended with status 0."""

    name: str
    argv: tuple[str | Raw, ...]
    stdin: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one part left behind."""

    exit_status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it ended with exit status 0."""
        return self.exit_status == 0


def script(parts: Sequence[Part], *, effect: Effect, functions: str = "", secrets: tuple[str, ...] = ()) -> Command:
    """One Command that runs `parts` in order, whatever each returns, but for those that go `after` one. `functions` is
    shell text they may call.

    All is one function, called by the last line: a script that arrives in part does nothing.
    """
    lines = [_PART, functions, "script() {\nwent=' '\n", _BEGIN, _TIME]
    for part in parts:
        words = " ".join(word if isinstance(word, Raw) else shlex.quote(word) for word in part.argv)
        call = f"part {part.name} {words} {_here(part.stdin) if part.stdin else f'</dev/null{chr(10)}'}"
        lines.append(f'case $went in *" {part.after} "*)\n{call};;\nesac\n' if part.after else call)
    text = "".join(["ticket=${1-}\n", *lines, _END_OF_TICKET, "}\nscript\n"])
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]  # what a part prints cannot hold it, by accident or design
    return Command(("sh", "-s"), stdin=f"mark={mark}\n{text}", secrets=secrets, effect=effect)


def ticketed(command: Command, ticket: str) -> Command:
    """A script under a name by which `settling` finds it."""
    return replace(command, argv=(*command.argv, ticket))


def settling(tickets: Sequence[str], seconds: int) -> Command:
    """Ask whether the scripts with these tickets have ended, and keep those that have not begun from it: the part
    "settled" ends with status 0. Waits up to `seconds`.
    """
    return script([Part("settled", ("settle", str(seconds), *tickets))], effect=Effect.READ, functions=_SETTLE)


def read_time(stdout: str) -> int | None:
    """The remote host's time when a script began there, in seconds since 1970; None where it was not said."""
    found = _AT.match(stdout)
    return int(found["seconds"]) if found else None


def read_script(stdout: str) -> dict[str, Outcome]:
    """The parts that ran to their end, by name; one that was cut short is missing.

    The script's own mark is the first: what parts print comes behind it, and other marks in it are text.
    """
    first = _FIRST.search(stdout)
    if first is None:
        return {}
    sign = rf"^{MARK} {re.escape(first['mark'])} (?P<name>\S+) (?:(?P<kind>out|err)|exit (?P<code>[0-9]{{1,3}}))$"
    outcomes: dict[str, Outcome] = {}
    before: dict[str, re.Match[str]] = {}
    for found in re.finditer(sign, stdout, re.MULTILINE):
        name = found["name"]
        if found["kind"] == "out":
            before = {"name": found, "out": found}
        elif not before or before["name"]["name"] != name:
            continue
        elif found["kind"] == "err":
            before["err"] = found
        elif "err" in before:
            out = stdout[before["out"].end() + 1 : before["err"].start() - 1]
            err = stdout[before["err"].end() + 1 : found.start() - 1]
            outcomes[name] = Outcome(int(found["code"]), out, err.strip())
            before = {}
    return outcomes


def _here(text: str) -> str:
    """`text` as a here-document that nothing in it can end."""
    end = _END
    while end in text:
        end += "_"
    return f"<<'{end}'\n{text}{'' if text.endswith(chr(10)) else chr(10)}{end}\n"
