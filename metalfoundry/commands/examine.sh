#!/bin/sh
# Reads on the jump host what `fab doctor` wants of the site; nothing is changed. Stands behind gather.sh, whose `later`,
# `result`, `deployments` and `k` it uses. The caller sets NAMESPACE, NAMES (Hardware), SMEE, REVIEW, TOOLS and calls
# `examine`.
# shellcheck disable=SC2086,SC2154  # TOOLS is split on purpose; dir is examine's
rights() { printf '%s\n' "$REVIEW" | k create -f - -o json --validate=false; }
tools() {
  for tool in $TOOLS; do
    command -v "$tool" >/dev/null 2>&1 || echo "$tool"
  done
  command -v curl >/dev/null 2>&1 || command -v wget >/dev/null 2>&1 || command -v bash >/dev/null 2>&1 || echo curl
}
# `name mac status status` of each Hardware: what Smee says to its first interface, on both of its paths.
smee() {
  [ -n "$SMEE" ] || return 0
  asked=0
  while read -r name mac _; do
    case " $NAMES " in *" $name "*) ;; *) continue ;; esac
    case $mac in '' | *[!0-9a-f:]*) continue ;; esac
    asked=$((asked + 1))
    ask_smee "$name" "$mac" >"$dir/smee.$asked" &
    [ $((asked % 20)) -ne 0 ] || wait
  done <"$dir/macs.out"
  wait
  while [ "$asked" -gt 0 ]; do
    cat "$dir/smee.$asked"
    asked=$((asked - 1))
  done
}
ask_smee() {
  first=$(http_status "$SMEE/$2/auto.ipxe") second=$(http_status "$SMEE/ipxe/script/$2/auto.ipxe")
  printf '%s %s %s %s\n' "$1" "$2" "${first:-000}" "${second:-000}"
}
examine() {
  dir=$(mktemp -d) || exit 1
  trap 'rm -rf "$dir"' EXIT
  trap 'exit 129' HUP INT TERM
  H=hardware.v1alpha1.tinkerbell.org
  later objects k get "$H,templates.v1alpha1.tinkerbell.org,workflows.v1alpha1.tinkerbell.org" -n "$NAMESPACE" -o json
  later macs k get "$H" -n "$NAMESPACE" -o \
    'jsonpath={range .items[*]}{.metadata.name} {.spec.interfaces[0].dhcp.mac}{"\n"}{end}'
  later rights rights
  later client k version --client -o json
  later server k get --raw /version
  later served k get --raw /apis/tinkerbell.org
  later deployments deployments
  later bmc k get machines.v1alpha1.bmc.tinkerbell.org -n "$NAMESPACE" -o json
  wait
  later smee smee
  wait
}
