#!/bin/sh
# Records `fab provision` in the embedded lab as text, on terminals of several kinds: docs/recordings/*.txt, and for
# tests/ui/test_recordings.py the events that each was drawn from. Needs tmux. RECORDINGS="success narrow" does some.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
lab=

end() {
  tmux -L metalfoundry-record kill-server 2>/dev/null || true
  [ -z "$lab" ] || { kill "$lab" 2>/dev/null && wait "$lab"; } || true
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM HUP

lab_up() { # SCENARIO SPEED SERVER…
  .venv/bin/python - "$work/lab" "$@" <<'PYTHON' &
import signal
import sys
from pathlib import Path

from metalfoundry.lab.lab import Lab

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
folder, scenario, speed, *servers = sys.argv[1:]
with Lab(Path(folder), scenario, float(speed), servers) as lab:
    (Path(folder) / "ready").touch()
    signal.pause()
PYTHON
  lab=$!
  until [ -e "$work/lab/ready" ]; do kill -0 "$lab"; sleep 0.2; done
}

lab_down() {
  kill "$lab"
  wait "$lab" || true
  lab=
  rm -rf "$work/lab"
}

screen() { tmux -L metalfoundry-record capture-pane -p -S - ${colours:+-e}; }

named() { # what a reader does not need to know of the computer that this ran on
  sed -e "s|$work/state|~/.local/state/metalfoundry|g" -e "s|$(id -un)@$(uname -n)|kevin@laptop|g" -e 's/[[:space:]]*$//'
}

record() { # NAME SCENARIO SPEED COLUMNS MIDDLE ENVIRONMENT SERVERS [PIPE]: MIDDLE is a pattern of the screen on the way
  name=$1 scenario=$2 speed=$3 columns=$4 middle=$5 environment=$6 servers=$7 pipe=${8-}
  case " ${RECORDINGS-$name} " in *" $name "*) ;; *) return 0 ;; esac
  echo "recording $name" >&2
  # shellcheck disable=SC2086  # several words
  lab_up "$scenario" "$speed" $servers
  rm -rf "$work/state"
  command="fab provision $(echo "$servers" | tr ' ' ',') --yes --reason \"new disk\"$pipe"
  tmux -L metalfoundry-record -f /dev/null new-session -d -x "$columns" -y 45 \
    "env -u TMUX PS1='$ ' LC_ALL=C.UTF-8 TZ=UTC PATH='$root/.venv/bin:$PATH' METALFOUNDRY_STATE='$work/state' \
    METALFOUNDRY_INVENTORY='$work/lab/inventory.yaml' $environment bash --norc --noprofile"
  sleep 1
  tmux -L metalfoundry-record send-keys "$command" Enter
  until screen | grep -Eq "$middle"; do sleep 0.1; done
  screen | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | named >"$work/middle.txt"
  until screen | tail -n +2 | grep -Eqx '\$ *'; do sleep 0.5; done
  {
    [ -n "$pipe" ] || { cat "$work/middle.txt" && printf '\n%s\n\n' "[… and at the end]"; }
    screen | sed -e '/^\$ *$/,$d' | named
  } >"docs/recordings/$name.txt"
  tmux -L metalfoundry-record kill-server
  cat "$work"/state/runs/*/events.jsonl | grep -v '"event": "Command' | named >"tests/ui/recorded/$name.jsonl"
  lab_down
}

mkdir -p docs/recordings tests/ui/recorded
colours=
record success installs 2 100 '2/3 write' '' 'colo-server-01'
record failure action-fails 2 100 '1/3 stream' '' 'colo-server-01'
record fleet installs 4 100 'rack-1-03 +Verify' '' 'colo-server-01 anvil rack-1-03 rack-1-04 rack-1-05'
record narrow installs 2 60 'OPEN' '' 'colo-server-01'
record lines installs 2 120 'claim taken' '' 'colo-server-01' ' | cat'
colours=yes
record no-colour installs 2 100 'OPEN' 'NO_COLOR=1' 'colo-server-01'
