#!/bin/sh
# One pass over the Hardware of NAMESPACE: closes every netboot window past its `expires` and gives its claim back.
# docs/guard.md says what it promises. Needs kubectl, date, sed; may get, list and patch Hardware, nothing else.
#
# Each write tests the run id and the object's version: a claim extended since the list was read is left alone.
# kubectl takes the objects apart and prints what people wrote as Go strings (%q), which hold neither raw newline
# nor tab, and in which a quote inside a JSON string looks different from one of the JSON itself.
set -uf
export LC_ALL=C

hardware_type=hardware.v1alpha1.tinkerbell.org
flux=kustomize.toolkit.fluxcd.io
tab=$(printf '\t')

# name|version|allowPXE,...|Flux's label|Flux's switch|manager=time ...|run TAB window
form='{{range .items}}{{.metadata.name}}|{{.metadata.resourceVersion}}|{{range .spec.interfaces}}{{with .netboot}}'\
'{{with .allowPXE}}true{{end}}{{end}},{{end}}|{{with .metadata.labels}}{{with index . "'$flux'/name"}}yes{{end}}'\
'{{end}}|{{with .metadata.annotations}}{{with index . "'$flux'/reconcile"}}{{if eq . "disabled"}}disabled{{end}}'\
'{{end}}{{end}}|{{range .metadata.managedFields}}{{if eq .manager "metalfoundry"}}ours={{.time}} {{else}}'\
'other={{.time}} {{end}}{{end}}|{{with .metadata.annotations}}{{with index . "metalfoundry.dev/run"}}'\
'{{printf "%q" .}}{{end}}{{"\t"}}{{with index . "metalfoundry.dev/window"}}{{printf "%q" .}}{{end}}{{else}}'\
'{{"\t"}}{{end}}{{"\n"}}{{end}}'

stamp() { # EPOCH
  date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$1" +%Y-%m-%dT%H:%M:%SZ
}

say() { # WORDS: one line per decision
  printf '%s %s\n' "$(stamp "$(date +%s)")" "$*"
}

expires_of() { # WINDOW: the time, or nothing where it cannot be read
  printf '%s\n' "$1" | sed -n \
    's/.*[{, nt]\\"expires\\": *\\"\([0-9]\{4\}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z\)\\".*/\1/p'
}

before_of() { # WINDOW: null, "value", or nothing
  printf '%s\n' "$1" | sed -n \
    -e 's/.*[{, nt]\\"kustomize\.toolkit\.fluxcd\.io\/reconcile\\": *null[ ,}\\].*/null/p' \
    -e 's/.*[{, nt]\\"kustomize\.toolkit\.fluxcd\.io\/reconcile\\": *\\"\([^"\\]*\)\\".*/"\1"/p'
}

last_write() { # TIMES: the newest of our own writes; of any, where none is ours
  written=$(printf '%s\n' "$1" | tr ' ' '\n' | sed -n 's/^ours=//p' | sort | tail -n 1)
  [ -n "$written" ] || written=$(printf '%s\n' "$1" | tr ' ' '\n' | sed -n 's/^other=//p' | sort | tail -n 1)
  printf '%s\n' "$written"
}

before() { # TIME TIME: RFC3339 in UTC and whole seconds sorts as text
  [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort | head -n 1)" = "$1" ]
}

expired() { # WINDOW TIMES
  until=$(expires_of "$1")
  if [ -n "$until" ]; then
    before "$until" "$now"
  else
    # A live client writes a readable window anew every few minutes. What stays unreadable for an hour has none.
    until="unreadable"
    written=$(last_write "$2")
    [ -n "$written" ] && before "$written" "$hour_ago"
  fi
}

open_of() { # allowPXE,...: numbers of the open interfaces
  open='' index=0 list=$1
  while [ -n "$list" ]; do
    [ "${list%%,*}" != true ] || open="$open $index"
    list=${list#*,} index=$((index + 1))
  done
}

operation() { # OP PATH [VALUE]: one more operation of the patch
  patch="$patch,{\"op\":\"$1\",\"path\":\"$2\"${3:+,\"value\":$3}}"
}

flux_back() { # takes back what the claim did, where it still stands
  [ "$switch" = disabled ] || return 0
  case $(before_of "$window") in
    null) operation remove /metadata/annotations/kustomize.toolkit.fluxcd.io~1reconcile ;;
    \"*) operation add /metadata/annotations/kustomize.toolkit.fluxcd.io~1reconcile "$(before_of "$window")" ;;
    *) [ "$label" != yes ] || operation remove /metadata/annotations/kustomize.toolkit.fluxcd.io~1reconcile ;;
  esac
}

sweep() { # closes, gives Flux back, removes the claim: one patch
  patch="[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"$version\"}"
  # Where Go writes a character as JSON does not, the version alone has to do.
  case $run in *\\[!\"\\]*) ;; *) operation test /metadata/annotations/metalfoundry.dev~1run "$run" ;; esac
  for index in $open; do
    operation add "/spec/interfaces/$index/netboot/allowPXE" false
    operation add "/spec/interfaces/$index/netboot/allowWorkflow" false
  done
  flux_back
  operation remove /metadata/annotations/metalfoundry.dev~1run
  [ -z "$window" ] || operation remove /metadata/annotations/metalfoundry.dev~1window
  if printf '%s]\n' "$patch" | $KUBECTL patch "$hardware_type" "$name" -n "$NAMESPACE" --type=json \
    --patch-file=/dev/stdin --field-manager=metalfoundry --request-timeout=20s >/dev/null; then
    say "swept hardware=$name run=$run expires=$until closed=${open# }"
  else
    say "refused hardware=$name run=$run expires=$until"
    failed=1
  fi
}

one() { # LINE
  name=${1%%|*} rest=${1#*|}
  version=${rest%%|*} rest=${rest#*|}
  open_of "${rest%%|*}" && rest=${rest#*|}
  label=${rest%%|*} rest=${rest#*|}
  switch=${rest%%|*} rest=${rest#*|}
  times=${rest%%|*} rest=${rest#*|}
  run=${rest%%"$tab"*} window=${rest#*"$tab"}
  if [ -z "$run" ]; then
    [ -z "$open" ] || say "stray hardware=$name open=${open# }"
  elif expired "$window" "$times"; then
    sweep
  elif [ "$until" = unreadable ]; then
    say "unreadable hardware=$name run=$run open=${open# }"
  fi
}

main() {
  NAMESPACE=${NAMESPACE:?is not set}
  KUBECTL=${KUBECTL:-kubectl}
  seconds=${NOW:-$(date +%s)}
  now=$(stamp "$seconds") hour_ago=$(stamp $((seconds - 3600)))
  lines=$($KUBECTL get "$hardware_type" -n "$NAMESPACE" --request-timeout=20s -o "go-template=$form") || {
    say "list-failed"
    exit 1
  }
  failed=0
  printf '%s\n' "$lines" | {
    while IFS= read -r line; do
      [ -z "$line" ] || one "$line"
    done
    exit "$failed"
  }
}

main
