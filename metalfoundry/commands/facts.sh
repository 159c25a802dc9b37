#!/bin/sh
# What a machine says of itself: `key=value` lines, one fact each, a key may come more than once.
# Only external programs and absolute paths; whatever is missing is left out, and nothing is changed.
# A caller may set MARKER (a path), CLOUD_INIT, CHECK_SECONDS (a limit for each check), and put `check` calls behind
# this text.
# shellcheck disable=SC2154  # key stands before each call
newline='
'
say() {
  value=$("$@" 2>/dev/null)
  value=${value%%"$newline"*}
  [ -n "$value" ] && printf '%s=%s\n' "$key" "$value"
}
key=boot_id say cat /proc/sys/kernel/random/boot_id
key=machine_id say cat /etc/machine-id
key=hostname say hostname
key=uptime say cat /proc/uptime
key=cmdline say cat /proc/cmdline
key=serial say cat /sys/class/dmi/id/product_serial
key=uuid say cat /sys/class/dmi/id/product_uuid
key=clock say date -u +%s
# In the sshd container of HookOS the machine's own root is /host_root.
for release in /host_root/etc/os-release /etc/os-release; do
  text=$(cat "$release" 2>/dev/null) || continue
  printf '%s\n' "$text" | while IFS= read -r line; do
    case $line in
      ID=* | NAME=* | VERSION_ID=* | PRETTY_NAME=*) printf 'os.%s\n' "$line" ;;
    esac
  done
  break
done
# A card in a bond shows the bond's MAC as its own, and keeps its own beside it.
# shellcheck disable=SC2045  # names of network devices; a glob would leave its pattern where there are none
for name in $(ls /sys/class/net 2>/dev/null); do
  [ "$name" = lo ] || cat "/sys/class/net/$name/address" "/sys/class/net/$name/bonding_slave/perm_hwaddr" 2>/dev/null
done | while IFS= read -r address; do printf 'mac=%s\n' "$address"; done
# Inside a network namespace /sys may still show the outer one's cards.
for address in $({ ip -o link | sed -n 's/.* link\/ether \([0-9A-Fa-f:]*\) .*/\1/p'; } 2>/dev/null); do
  printf 'mac=%s\n' "$address"
done
# The root file system: its UUID and type, and when it and what a first boot makes were born and changed last.
key=root say findmnt -n -o UUID,FSTYPE /
stat -c 'born=%W %Y %d %n' / /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_rsa_key.pub \
  "$MARKER" 2>/dev/null
cat /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_rsa_key.pub 2>/dev/null |
  while IFS= read -r line; do printf 'host_key=%s\n' "$line"; done
key=marker.text say sh -c "cat \"\$1\" | tr '\\n' ' '" sh "$MARKER"
if [ -n "${CLOUD_INIT:-}" ]; then
  key=cloud_init say cloud-init status
fi
[ -z "${CHECK_SECONDS:-}" ] || command -v timeout >/dev/null || CHECK_SECONDS=
check() {
  number=$1
  shift
  output=$({ ${CHECK_SECONDS:+timeout "$CHECK_SECONDS"} sh -c "$1" </dev/null; } 2>&1)
  status=$?
  case ${CHECK_SECONDS:+$status} in
  124) status=- ;;
  143) status=- output= ;; # an older busybox's timeout, whose shell adds "Terminated"
  esac
  printf 'check=%s %s %s\n' "$number" "$status" "$(printf '%s' "$output" | tail -n 1)"
}
