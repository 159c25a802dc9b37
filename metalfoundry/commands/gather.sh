#!/bin/sh
# Reads on the jump host what a diagnosis wants of the cluster; nothing is changed. The caller sets NAMESPACE,
# HARDWARE or WORKFLOW (its name), MAC, NAMES (words that name the machine), SMEE, TAIL, OURS, defines `k`, kubectl as it is
# spelt here with a limit of time, and calls `begin`: it starts what can be asked side by side, `result` gives it.
# shellcheck disable=SC2086,SC2153,SC2317  # lists of words are split on purpose; the capitals are the caller's
set -f
TINKERBELL='^[^ ]+ .*(tink|smee|boots|hook)'
FIELDS='{.metadata.labels.kustomize\.toolkit\.fluxcd\.io/namespace}{"\n"}{range .spec.interfaces[*]}{.dhcp.mac} {.dhcp.ip.address} {end}'
PODS='{range .items[*]}{.metadata.namespace} {.metadata.name} {.spec.containers[*].image}{"\n"}{end}'
later() {
  to=$dir/$1
  shift
  { "$@" >"$to.out" 2>"$to.err" </dev/null; echo "$?" >"$to.code"; } &
}
result() {
  cat "$dir/$1.out"
  cat "$dir/$1.err" >&2
  return "$(cat "$dir/$1.code")"
}
# Where it is not found in the namespace, Tinkerbell may run in another one, if this user may look there.
everywhere() {
  kind=$1 form=$2 sign=$3
  found=$(k get "$kind" -n "$NAMESPACE" -o "$form") || return
  if ! printf '%s\n' "$found" | grep -qE "$sign"; then
    found=$(k get "$kind" --all-namespaces -o "$form" 2>/dev/null || printf '%s' "$found")
  fi
  printf '%s\n' "$found"
}
deployments() {
  everywhere deployments.v1.apps json '"image": *"[^"]*(tink|smee|boots)'
}
# `namespace name image…` of every pod of the control plane.
tinkerbell_pods() {
  everywhere pods.v1. "jsonpath=$PODS" "$TINKERBELL" | grep -E "$TINKERBELL" && return 0
  k get pods.v1. -n "$NAMESPACE" -o name >/dev/null || return
  echo "no pod of Tinkerbell is to be seen" >&2
  return 1
}
# The last lines of every pod of the control plane, as far as they name the machine or refuse somebody.
pod_logs() {
  pods=$(tinkerbell_pods) || return
  printf '%s\n' "$pods" | {
    number=0
    while read -r space pod _; do
      number=$((number + 1))
      later "log$number" k logs -n "$space" "pods/$pod" --all-containers --prefix --timestamps --tail="$TAIL"
    done
    wait
    only_ours "$number"
  }
}
only_ours() {
  count=$1
  set -- -e 'does not allow it to pxe' -e 'error auto discovering' -e 'auto.ipxe'
  for word in $NAMES; do set -- "$@" -e "$word"; done
  read_one=1
  while [ "$count" -gt 0 ]; do
    grep -iF "$@" "$dir/log$count.out" | tail -n "$OURS"
    cat "$dir/log$count.err" >&2
    [ "$(cat "$dir/log$count.code")" -ne 0 ] || read_one=0
    count=$((count - 1))
  done
  return "$read_one"
}
flux() {
  [ -n "$flux_namespace" ] || return 0
  k get kustomizations.kustomize.toolkit.fluxcd.io -n "$flux_namespace" -o json
}
addresses() {
  hostname -I 2>/dev/null || ip -o addr 2>/dev/null | sed 's/.*inet6* \([^ /]*\).*/\1/'
}
begin() {
  dir=$(mktemp -d) || exit 1
  trap 'rm -rf "$dir"' EXIT
  trap 'exit 129' HUP INT TERM
  H=hardware.v1alpha1.tinkerbell.org
  W=workflows.v1alpha1.tinkerbell.org
  flux_namespace=
  if [ -z "$HARDWARE" ]; then
    HARDWARE=$(k get "$W/$WORKFLOW" -n "$NAMESPACE" -o 'jsonpath={.spec.hardwareRef}' </dev/null 2>/dev/null)
  fi
  if [ -n "$HARDWARE" ]; then
    words=$(k get "$H/$HARDWARE" -n "$NAMESPACE" -o "jsonpath=$FIELDS" </dev/null 2>/dev/null)
    flux_namespace=$(printf '%s\n' "$words" | sed -n 1p)
    words=$(printf '%s\n' "$words" | sed -n '2,$p')
    NAMES="$NAMES $HARDWARE $words"
    [ -n "$MAC" ] || MAC=${words%% *}
  fi
  later objects k get "$H,templates.v1alpha1.tinkerbell.org,$W" -n "$NAMESPACE" -o json
  later logs pod_logs
  later deployments deployments
  later events k get events.v1. -n "$NAMESPACE" -o json
  later bmc k get jobs.v1alpha1.bmc.tinkerbell.org,tasks.v1alpha1.bmc.tinkerbell.org -n "$NAMESPACE" -o json
  later flux flux
  wait
  # After the logs: our own questions are not to be among their lines.
  if [ -n "$SMEE" ] && [ -n "$MAC" ]; then
    later smee0 http_status "$SMEE/$MAC/auto.ipxe"
    later smee1 http_status "$SMEE/ipxe/script/$MAC/auto.ipxe"
    wait
  fi
}
