#!/bin/sh
# What a machine says of itself: `key=value` lines, one fact each, a key may come more than once.
# Only external programs and absolute paths; whatever is missing is left out, and nothing is changed.
# A caller may set MARKER (a path) and put `check` calls behind this text.
# shellcheck disable=SC2154  # key stands before each call
say() {
  value=$("$@" 2>/dev/null | tr '\n' ' ')
  value=${value% }
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
# shellcheck disable=SC2045  # names of network devices; a glob would leave its pattern where there are none
for name in $(ls /sys/class/net 2>/dev/null); do
  [ "$name" = lo ] || key=mac say cat "/sys/class/net/$name/address"
done
# Inside a network namespace /sys may still show the outer one's cards.
for address in $({ ip -o link | sed -n 's/.* link\/ether \([0-9A-Fa-f:]*\) .*/\1/p'; } 2>/dev/null); do
  printf 'mac=%s\n' "$address"
done
key=marker.mtime say stat -c %Y "$MARKER"
key=marker.text say cat "$MARKER"
if [ -n "${CLOUD_INIT:-}" ]; then
  key=cloud_init say cloud-init status
fi
check() {
  number=$1
  shift
  output=$(sh -c "$1" </dev/null 2>&1)
  printf 'check=%s %s %s\n' "$number" "$?" "$(printf '%s' "$output" | tail -n 1)"
}
