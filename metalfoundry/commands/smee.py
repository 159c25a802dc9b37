"""Asking Smee itself whether a machine would be netbooted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metalfoundry.commands.reading import whole
from metalfoundry.commands.script import Outcome, Part

# curl, wget, or bash alone: a jump host has at least one of them; 000 is "no answer", as curl says it.
FUNCTIONS = r"""http_status() {
if command -v curl >/dev/null 2>&1; then
  curl -s -o /dev/null --max-time 3 -w '%{http_code}' "$1"; return 0
fi
if command -v wget >/dev/null 2>&1; then
  answer=$(wget -S -T 3 -t 1 -O /dev/null "$1" 2>&1 | awk '$1 ~ /^HTTP\// {code=$2} END {print code}')
  printf '%s' "${answer:-000}"; return 0
fi
if command -v bash >/dev/null 2>&1; then
  bash -c 'u=${1#http://}; h=${u%%/*}; p=${h##*:}; [ "$p" = "$h" ] && p=80
  exec 3<>"/dev/tcp/${h%:*}/$p" || { printf 000; exit; }
  printf "GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n" "${u#*/}" "$h" >&3
  read -r -t 3 v c r <&3; printf %s "${c:-000}"' bash "$1" 2>/dev/null; return 0
fi
printf 'neither curl, wget nor bash here' >&2; return 1
}
# URL PATH...: a line `PATH STATUS` for each, sixteen at a time; where nobody answers the first, no other is asked.
http_statuses() {
url=$1 first=$2; shift 2
status=$(http_status "$url$first") || return 1
printf '%s %s\n' "$first" "${status:-000}"
[ "${status:-000}" != 000 ] || return 0
asked=0
for path in "$@"; do
  (printf '%s %s\n' "$path" "$(http_status "$url$path")") &
  asked=$((asked + 1)); [ $((asked % 16)) -ne 0 ] || wait
done
wait
}
"""


def paths(mac: str) -> tuple[str, str]:
    """Both addresses of a machine's iPXE script: up to Tinkerbell 0.21, and from 0.22 on."""
    return f"/{mac}/auto.ipxe", f"/ipxe/script/{mac}/auto.ipxe"


def ask(smee: str, mac: str) -> list[Part]:
    """Two parts that print the HTTP status of either path; they need FUNCTIONS in the script."""
    return [Part(f"smee{index}", ("http_status", smee.rstrip("/") + path)) for index, path in enumerate(paths(mac))]


def ask_many(smee: str, macs: Sequence[str]) -> Part:
    """One part that asks for all of these machines, of which there is at least one; it needs FUNCTIONS, too."""
    wanted = dict.fromkeys(path for mac in macs for path in paths(mac))
    return Part("smee", ("http_statuses", smee.rstrip("/"), *wanted))


def read_many(outcomes: Mapping[str, Outcome], mac: str) -> dict[str, int]:
    """As `read_answers`, from the part of `ask_many`."""
    lines = outcomes["smee"].stdout.splitlines() if "smee" in outcomes else []
    said = dict(line.split(" ", 1) for line in lines if " " in line)
    return {path: whole(said.get(path, "").strip()) or 0 for path in paths(mac)}


def read_answers(outcomes: Mapping[str, Outcome], mac: str) -> dict[str, int]:
    """HTTP status by path; 0 where Smee did not answer or could not be asked."""
    answers = {}
    for index, path in enumerate(paths(mac)):
        outcome = outcomes.get(f"smee{index}")
        text = outcome.stdout.strip() if outcome else ""
        answers[path] = whole(text) or 0
    return answers


def says_open(answers: Mapping[str, int]) -> bool | None:
    """True: a script is served. False: both paths deny. None: Smee was not heard on some path."""
    if any(status == 200 for status in answers.values()):
        return True
    return False if answers and all(status in (403, 404) for status in answers.values()) else None
