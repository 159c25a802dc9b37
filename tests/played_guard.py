"""A guard that is played: what guard.sh's `start` does for the client, without a guard."""

from __future__ import annotations

import re
from dataclasses import replace

from metalfoundry.commands.command import Command

_TEXT = re.compile(r"(guard_text\(\) \{ cat <<'METALFOUNDRY_GUARD'\n).*?(\nMETALFOUNDRY_GUARD\n)", re.DOTALL)
ALIVE = r"""
[ "$ACTION" = start ] || { echo state=none; exit 0; }
echo pid=1
[ -n "${HARDWARE:-}" ] || exit 0
at=/metadata/annotations/metalfoundry.dev~1
printf '[{"op":"test","path":"%srun","value":"%s"},{"op":"test","path":"%srenewal","value":"%s"},{"op":"add",%s}]' \
  "$at" "$RUN" "$at" "$RENEWAL" "\"path\":\"${at}guard\",\"value\":\"played@jump $RUN $RENEWAL holds\"" |
  $KUBECTL patch hardware.v1alpha1.tinkerbell.org "$HARDWARE" -n "$NAMESPACE" --type=json --patch-file=/dev/stdin \
    >/dev/null 2>&1 || exit 8
"""
DEAD = 'echo "no guard has acknowledged it" >&2; exit 8'


def played(command: Command, guard: str = ALIVE) -> Command:
    """`command` with that text in the guard's place."""
    return replace(command, stdin=_TEXT.sub(lambda found: found[1] + guard + found[2], command.stdin))


def asked(stdin: str) -> dict[str, str]:
    """The words that stand before a guard's text."""
    head = stdin.split("guard_text() {", 1)[0]
    return {name: value.strip("'") for name, value in re.findall(r"^([A-Z]+)=(.*)$", head, re.MULTILINE)}
