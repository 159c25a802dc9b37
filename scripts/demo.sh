#!/bin/sh
# make demo: in the embedded lab one server is installed, and one hangs and is asked why. Ends with the lab down.
set -u
lab=$(mktemp -d)
hanging=

end() {
  trap '' INT TERM HUP
  [ -z "$hanging" ] || { kill -TERM "$hanging" 2>/dev/null && wait "$hanging"; }
  fab lab.down --dir "$lab" >/dev/null
  rm -rf "$lab"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

show() { # WORDS: type a command, then run it
  printf '\n\033[1m$ %s\033[0m\n' "$*"
  "$@"
}

lab_up() { # SCENARIO SPEED
  fab lab.up --scenario "$1" --speed "$2" --dir "$lab" --yes >/dev/null
}

export METALFOUNDRY_INVENTORY="$lab/inventory.yaml" METALFOUNDRY_STATE="$lab/state"

echo "The lab: a jump host, a Tinkerbell cluster and two servers, four times as fast as life."
lab_up installs 4 || exit
show fab status || exit
show fab provision colo-server-01 --yes --reason demo || exit

fab --list | grep -q '^  troubleshoot ' || exit 0
printf '\nThe lab again: now the installer comes up, and the registry refuses it the agent.\n'
lab_up agent-image-refused 4 || exit
printf '\n\033[1m$ %s\033[0m\n' "fab provision anvil --yes --reason demo &"
fab provision anvil --yes --reason demo >"$lab/anvil.txt" 2>&1 &
hanging=$!
asked=0 # the cause is there when the installer is up, which takes longer on a busy machine
until [ $((asked += 1)) = 30 ] || fab troubleshoot anvil | grep -q 'certain; agent-image-pull'; do sleep 1; done
show fab troubleshoot anvil
printf '\nMeanwhile, in the background:\n'
wait "$hanging"
hanging=
tail -n 9 "$lab/anvil.txt"
show fab netboot.status
