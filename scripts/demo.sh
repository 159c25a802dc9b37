#!/bin/sh
# make demo: two servers in the embedded lab, one that installs and one that hangs. Ends with the lab down.
set -u
speed=${SPEED:-4}
lab=$(mktemp -d)
end() {
  trap '' INT TERM HUP
  fab lab.down --dir "$lab" >/dev/null
  rm -rf "$lab"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

show() { # WORDS: type a command, then run it
  printf '\n$ %s\n' "$*"
  "$@"
}

export METALFOUNDRY_INVENTORY="$lab/inventory.yaml"
fab lab.up --speed "$speed" --dir "$lab" >/dev/null || exit
echo "A lab is up: a jump host, a Tinkerbell cluster, two servers; $speed times as fast as life."
show fab status || exit
show fab provision colo-server-01 --yes --reason "new disk" || exit
show fab status || exit
