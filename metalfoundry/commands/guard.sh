#!/bin/sh
# Closes netboot windows without the client's help: one reconciler per user and namespace. docs/guard.md has its promises.
#
# It keeps nothing but what it has seen. A pass reads all Hardware and Workflows, decides by `rule`, and patches under a
# test of the version that it read; what the next pass reads is the proof. Between passes a watch of the Workflows rings:
# its lines name what has changed, no more. The last line calls a function: a text that arrived in part does nothing.
# shellcheck disable=SC2086,SC2153,SC2154  # KUBECTL and BOUND are words; capitals come from the client or from launch
# shellcheck disable=SC2015                # in `A && B || C`, C is right as well where B fails
set -uf
export LC_ALL=C
hardware_type=hardware.v1alpha1.tinkerbell.org
workflow_type=workflows.v1alpha1.tinkerbell.org
pause_path=/metadata/annotations/kustomize.toolkit.fluxcd.io~1reconcile
keys='run renewal lease workflow workflow-uid until boot-action flux guard'
nl='
'

# ---- the rule: nothing but these variables decides; tests/guard/rule.txt is the same as a table --------------------
rule() { # run known flux open age lease ending workflow uid until boot wf_uid wf_state wf_action -> verdict
  verdict=keep state=${wf_state#STATE_}
  if [ -z "$run" ]; then
    verdict=nothing
    [ -z "$open" ] || verdict=stray
    [ -z "$flux" ] || verdict=unpause
    [ -z "$open" ] || [ -z "$known" ] || verdict=close-claim-gone
  elif [ "$age" -ge "$lease" ]; then
    verdict=end-expired
  elif [ -n "$ending" ]; then
    verdict=shut-term
  elif [ -n "$workflow" ] && [ -n "$uid" ] && [ "$uid" != "$wf_uid" ]; then
    verdict=shut-deleted
  elif [ -n "$workflow" ]; then
    case $state,$until in
      RUNNING,end) [ -z "$boot" ] || [ "$boot" != "$wf_action" ] || verdict=shut-boot-action ;;
      RUNNING,* | POST,* | SUCCESS,* | FAILED,* | TIMEOUT,*) verdict=shut-$state ;;
    esac
  fi
}

# ---- one pass ------------------------------------------------------------------------------------------------------
# What anybody may have written comes as a URL's query writes it: without blank, bar, quote or line end.
note() { printf '{{with index . "%s"}}{{urlquery .}}{{end}}|' "$1"; }
form() { # one line for each object, with a dot at its end
  printf '%s' '{{range .items}}{{if eq .kind "Hardware"}}H|{{.metadata.name}}|{{.metadata.resourceVersion}}|' \
    '{{range .spec.interfaces}}{{with .netboot}}{{with .allowPXE}}true{{end}}{{end}},{{end}}|' \
    '{{with .metadata.annotations}}map|'
  for key in $keys; do note "metalfoundry.dev/$key"; done
  note kustomize.toolkit.fluxcd.io/reconcile
  printf '%s' '{{with index . "metalfoundry.dev/lease"}}{{else}}{{with index . "metalfoundry.dev/window"}}{{urlquery .}}' \
    '{{end}}{{end}}|{{else}}||||||||||||{{end}}{{else}}W|{{.metadata.name}}|{{.metadata.uid}}|{{with .status}}' \
    '{{with .state}}{{urlquery .}}{{end}}|{{with .currentState}}{{with .actionName}}{{urlquery .}}{{end}}{{end}}' \
    '{{with .currentAction}}{{urlquery .}}{{end}}{{else}}|{{end}}|{{end}}.{{"\n"}}{{end}}'
}

# To each Hardware what is known of it, and its Workflow: a shell that looks for them takes seconds with a hundred servers.
# shellcheck disable=SC2016
join='$1 == "M" { known[$2] = $3 "|" $4 "|" $5 "|" $6 }
  $1 == "W" { flow[$2] = $3 "|" $4 "|" $5 }
  $1 == "H" { sub(/[.]$/, ""); line[++n] = $0; name[n] = $2; at[n] = $9 }
  END { for (i = 1; i <= n; i++)
    print line[i] (name[i] in known ? known[name[i]] : "|||") "|" (at[i] in flow ? flow[at[i]] : "||") "|." }'
pass() {
  DUE='' HEARD=0 NEXT=$((NOW + PACE))
  empty events
  empty pass
  if ! list=$($LIMIT $KUBECTL get "$hardware_type,$workflow_type" -n "$NAMESPACE" $BOUND -o "go-template=$FORM" 2>&1) ||
    ! list=$(printf '%s%s\n' "$MEMORY" "$list" | awk -F '|' "$join"); then
    [ -n "$AWAY" ] || log "api-away error=$(last_of "$list")"
    AWAY=yes NEXT=$((NOW + RETRY))
    return 0
  fi
  [ -z "$AWAY" ] || log api-back
  AWAY='' SEEN=$nl ACKS='' WANTED=' ' CLAIMS=0 REFUSED=''
  clock && empty read
  IFS=$nl
  for line in $list; do hardware "$line"; done
  left=5
  for line in $ACKS; do # a few, and none once the bell rings: what is to be closed does not wait for all of them
    [ "$left" = 0 ] || { left=$((left - 1)) && patch "${line%%|*}" "${line#*|}" && DUE=yes || REFUSED=yes && heed; }
  done
  IFS=$BLANKS
  [ -z "$REFUSED" ] || NEXT=$((NOW + RETRY))
  [ "$SEEN" = "$MEMORY" ] || { MEMORY=$SEEN && { printf '%s' "$BOOT_ID$MEMORY" >"$DIR/memory"; } 2>/dev/null; }
  [ "$CLAIMS" = 0 ] || IDLE=$NOW
}
hardware() { # LINE of form, with what was seen before and its Workflow behind it
  split "$1" name version pxe map run renewal lease workflow uid until boot flux ack pause old \
    known known_renewal since did wf_uid wf_state wf_action
  case $lease in '' | *[!0-9]* | ??????????*) lease=600 ;; esac
  [ -n "$renewal" ] || renewal=$old # a claim of the first design: its note changes at each renewal
  ending=$ENDING open='' index=0
  [ "$run|$renewal" = "$known|$known_renewal" ] || since=$((NOW + 1)) # NOW is cut down: a lease never ends early
  age=$((NOW - since))
  while [ -n "$pxe" ]; do
    [ "${pxe%%,*}" != true ] || open="$open${open:+,}$index"
    pxe=${pxe#*,} index=$((index + 1))
  done
  rule
  proven
  act
  [ "$verdict" != close-claim-gone ] || run=$known renewal=$known_renewal # until it is closed
  [ -z "$run" ] || CLAIMS=$((CLAIMS + 1))
  [ -z "$run$did" ] || SEEN="${SEEN}M|$name|$run|$renewal|$since|$did|.$nl"
}
split() { # LINE NAME...: its fields but the first into variables of these names
  fields=${1#*|}
  shift
  for field in "$@"; do
    eval "$field=\${fields%%|*}"
    fields=${fields#*|}
  done
}
proven() { # what the pass before has done, by what was read now
  case $did in '' | [?!] | stray) return 0 ;; esac
  [ -z "$open" ] || { [ -n "$run" ] && [ "$run" != "$known" ]; } || return 0
  log "closed hardware=$name run=$known reason=$did"
  did=''
}
act() {
  ops='' ack_state='' reason=${verdict#*-}
  case $verdict in
    keep) ack_state=holds WANTED="$WANTED$workflow " ;;
    shut-*) ack_state=$verdict && close ;;
    close-*) close ;;
    end-*) close && give_back ;;
    unpause) give_back ;;
    stray) [ "$did" = stray ] || { log "stray hardware=$name interfaces=$open" && did=stray; } ;;
    nothing) did='' ;;
  esac
  urgent=$ops
  if [ -n "$ack_state" ] && plain "$run" && plain "$renewal" && [ "${ack#*+}" != "$run+$renewal+$ack_state" ]; then
    add "$(path guard)" "\"$GUARD $run $renewal $ack_state\""
  fi
  if [ -n "$ops" ] && [ -z "$urgent" ]; then
    ACKS="$ACKS$name|$(tests)$ops$nl"
  elif [ -n "$ops" ] && patch "$name" "$(tests)$ops"; then
    did=$reason DUE=yes
    [ "$verdict" != unpause ] || { log "unpaused hardware=$name" && did=''; }
  elif [ -n "$ops" ]; then # the first time it was changed meanwhile, as a rule
    [ "$did" != '?' ] || log "close-refused hardware=$name reason=$reason error=$(last_of "$reply")"
    case $did in [?!]) did='!' REFUSED=yes ;; *) did='?' DUE=yes ;; esac
  fi
}
plain() { case $1 in '' | *[!A-Za-z0-9._-]*) return 1 ;; esac; }
path() { printf '/metadata/annotations/metalfoundry.dev~1%s' "$1"; }
add() { ops="$ops,{\"op\":\"add\",\"path\":\"$1\",\"value\":$2}"; }
remove() { ops="$ops,{\"op\":\"remove\",\"path\":\"$1\"}"; }
tests() { # the object is as it was read, and its claim with it
  printf '{"op":"test","path":"/metadata/resourceVersion","value":"%s"}' "$version"
  ! plain "$run" || printf ',{"op":"test","path":"%s","value":"%s"}' "$(path run)" "$run"
  [ -n "$run" ] || [ -z "$map" ] || printf ',{"op":"test","path":"%s","value":null}' "$(path run)"
}
close() { # every interface that may netboot
  IFS=,
  for index in $open; do
    for key in allowPXE allowWorkflow; do add "/spec/interfaces/$index/netboot/$key" false; done
  done
  IFS=$nl
}
give_back() { # the claim (`remove` needs what it removes, so it is added first), and Flux's switch
  IFS=$BLANKS
  for key in $keys renewed window; do add "$(path "$key")" '""' && remove "$(path "$key")"; done
  IFS=$nl
  case $old in
    *reconcile%22%3A+null*) flux=absent ;;
    *reconcile%22%3A+%22*) flux=${old#*reconcile%22%3A+%22} && flux=${flux%%\%22*} ;;
  esac
  [ "$pause" = disabled ] && [ -n "$flux" ] || return 0
  if [ "$flux" != absent ] && plain "$flux"; then add "$pause_path" "\"$flux\""; else remove "$pause_path"; fi
}
patch() { # NAME OPERATIONS
  empty pass
  IFS=$BLANKS
  reply=$($LIMIT $KUBECTL patch "$hardware_type" "$1" -n "$NAMESPACE" $BOUND --type=json --field-manager=metalfoundry \
    -p "[$2]" 2>&1)
  set -- "$?"
  IFS=$nl
  return "$1"
}

# ---- its life ------------------------------------------------------------------------------------------------------
run() {
  umask 077
  STOP='' DUE='' # before a signal sets them
  trap '' HUP && trap 'STOP=yes' TERM INT && trap 'DUE=yes' USR1
  GUARD=$(printf '%s' "${GUARD:-$(id -un)@$(uname -n)}" | sed 's/[^A-Za-z0-9._@-]/-/g')
  DIR=${DIR:-/tmp} VERSION=${VERSION:-none} KUBECTL=${KUBECTL:-kubectl} BOUND=${BOUND-'--request-timeout=10s'}
  PACE=${PACE:-3} RETRY=${RETRY:-1} TICK=${TICK:-0.25} LINGER=${LINGER:-0} UPTIME=${UPTIME:-/proc/uptime} LIMIT=''
  BLANKS=$IFS ENDING='' AWAY='' WATCH='' RANG='' NEXT=0 NOW=0 WALL=$(date +%s) WANTED=' ' HEARD=0
  MEMORY='' BOOT_ID='' CLAIMS=0 FORM=$(form) registered=''
  ! command -v timeout >/dev/null || LIMIT="timeout ${HANG:-20}" # kubectl has a limit of its own, a credential helper has none
  clock
  born=$NOW IDLE=$NOW
  read -r BOOT_ID 2>/dev/null </proc/sys/kernel/random/boot_id
  kept=$(cat "$DIR/memory" 2>/dev/null)$nl
  [ "${kept%%"$nl"*}" != "$BOOT_ID" ] || MEMORY=$nl${kept#*"$nl"} # uptime goes on from one guard to the next
  log "started version=$VERSION pid=$$ guard=$GUARD namespace=$NAMESPACE"
  guarding || register
  until [ -n "$STOP" ]; do
    pass
    if [ -z "$registered" ] || ! guarding; then register; fi
    [ "$pid" = "$$" ] || [ -n "$DUE" ] || leave "yielded to=$pid"
    [ "$LINGER" = 0 ] || [ $((NOW - IDLE)) -lt "$LINGER" ] || leave idle
    while bell && [ -z "$DUE$STOP" ] && [ "$NOW" -lt "$NEXT" ]; do
      sleep "$TICK" &
      wait "$!"
      clock
      [ ! -s "$DIR/events" ] || heed
    done
  done
  [ "${AT_END:-leave}" != close ] || { ENDING=yes && pass && pass; }
  leave term
}
heed() { # a line that came since may name a Workflow whose window is to be closed yet
  count=0
  while read -r word && count=$((count + 1)); do
    [ "$count" -le "$HEARD" ] || case $WANTED in *" $word "*) DUE=yes left=0 ;; esac
  done 2>/dev/null <"$DIR/events"
  HEARD=$count
}
bell() { # starts the watch where it is down; it ends by itself, should everything of ours be killed at once
  [ -z "$WATCH" ] || ! kill -0 "$WATCH" 2>/dev/null || return 0
  [ "$NEXT" -le $((NOW + 1)) ] || NEXT=$((NOW + 1)) # without a bell it looks oftener
  [ -z "$RANG" ] || [ "$NOW" -ge $((RANG + 5)) ] || return 0
  RANG=$NOW
  $KUBECTL get "$workflow_type" -n "$NAMESPACE" ${BOUND:+--request-timeout=600s} -w --output-watch-events \
    -o 'go-template={{with .object}}{{.metadata.name}}{{"\n"}}{{end}}' </dev/null >>"$DIR/events" 2>/dev/null &
  WATCH=$!
}
clock() { # seconds that nobody sets: uptime, else small steps of the time of day
  read -r up rest 2>/dev/null <"$UPTIME" && NOW=${up%%.*} && return 0
  time=$(date +%s) && step=$((time - WALL)) WALL=$time
  if [ "$step" -ge 0 ] && [ "$step" -le 30 ]; then NOW=$((NOW + step)); else NOW=$((NOW + 1)); fi
}
register() {
  registered=yes pid=$$
  { printf '%s\n' "$$ $VERSION $born" >"$DIR/pid"; } 2>/dev/null
}
leave() { # REASON
  log "ended reason=$1 claims=$CLAIMS"
  case $KUBECTL in sudo\ *) sudo -n kill "$WATCH" ;; *) kill "$WATCH" ;; esac 2>/dev/null
  exit 0
}
# A full disk, or a folder that is gone, must not end it: no redirection of a special built-in, none around a kubectl.
log() { { printf '%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$DIR/log"; } 2>/dev/null; }
empty() { { printf '' >"$DIR/$1"; } 2>/dev/null; }
last_of() { printf '%s\n' "$1" | tail -n 1 | tr -cd ' -~' | cut -c 1-200; }

# ---- sub-commands --------------------------------------------------------------------------------------------------
fail() { # STATUS WORDS
  printf '%s\n' "$2" >&2
  exit "$1"
}
place() { # sets DIR
  plain "${PLACE:-}" || fail 2 "PLACE is missing or has odd characters"
  DIR=${STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/metalfoundry/guard}/$PLACE
}
guarding() { # whether pid, version and born are those of a guard that lives
  pid='' version='' born_of=''
  read -r pid version born_of 2>/dev/null <"$DIR/pid"
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
  [ "$pid" = "$$" ] || { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -p "$pid" -o args=; } 2>/dev/null | grep -qF "$DIR/guard-"
}
fresh() { [ -n "$(find "$DIR/pass" -mmin -2 2>/dev/null)" ]; }
await() { # STATUS SECONDS WORDS COMMAND...: until COMMAND succeeds; fails as in `fail` when it does not
  turns=$(($2 * 10)) status=$1 words=$3
  shift 3
  until "$@"; do
    [ "$turns" -gt 0 ] || fail "$status" "$words"
    turns=$((turns - 1)) && sleep 0.1
  done
}
start() { # a guard of this version is there and, where HARDWARE is named, acknowledges RENEWAL of RUN
  place
  for word in "${HARDWARE:-x}" "${RUN:-x}" "${RENEWAL:-x}" "${NAMESPACE:-}" "${VERSION:-}"; do
    plain "$word" || fail 2 "a word is missing or has odd characters"
  done
  if ours && fresh; then kill -USR1 "$pid"
  elif in_cluster && (await 8 "${PATIENCE:-5}" '' acked 2>/dev/null); then exit 0
  else launch; fi
  printf '%s\n' "pid=$pid" "version=$version"
  await 8 "${WAIT:-10}" "no guard has acknowledged renewal ${RENEWAL:-} of ${RUN:-} in ${WAIT:-10} s" acked
}
acked() {
  [ -n "${HARDWARE:-}" ] || return 0
  seen=$(${KUBECTL:-kubectl} get "$hardware_type" "$HARDWARE" -n "$NAMESPACE" ${BOUND-'--request-timeout=10s'} -o \
    'go-template={{with .metadata.annotations}}{{with index . "metalfoundry.dev/guard"}}{{.}}{{end}}{{end}}' 2>/dev/null)
  case $seen in *" $RUN $RENEWAL "*) printf 'guard=%s\n' "$seen" ;; *) return 1 ;; esac
}
in_cluster() { # whether the Deployment of `fab guard.install` has a pod that guards
  [ -n "$(${KUBECTL:-kubectl} get deployments.v1.apps/metalfoundry-guard -n "$NAMESPACE" --ignore-not-found \
    ${BOUND-'--request-timeout=10s'} -o 'go-template={{with .status.readyReplicas}}{{.}}{{end}}' 2>/dev/null)" ]
}
method() { # how to leave the SSH session
  if [ "$(id -u)" = 0 ] || [ "$(loginctl show-session -p KillUserProcesses --value 2>/dev/null)" != yes ]; then
    command -v setsid || command -v nohup
  elif [ "$(loginctl show-user "$(id -un)" -p Linger --value 2>/dev/null)" = yes ] && command -v systemd-run >/dev/null; then
    command -v systemd-run
  else
    fail 6 "this host ends a user's processes at logout; remedy: sudo loginctl enable-linger $(id -un)"
  fi
}
launch() {
  umask 077
  mkdir -p "$DIR" 2>/dev/null || fail 1 "cannot make $DIR"
  METHOD=$(method) || exit 6
  [ -z "$pid" ] || fresh || kill -KILL "$pid" # it hangs
  before=$version text=$DIR/guard-$VERSION.sh LINGER=${LINGER:-300} AT_END=${AT_END:-close}
  {
    for word in DIR NAMESPACE VERSION PATH HOME KUBECONFIG KUBECTL BOUND LINGER AT_END PACE RETRY TICK UPTIME HANG GUARD; do
      eval "[ -z \"\${$word+x}\" ] || printf 'export %s=%s\n' $word \"\$(quoted \"\$$word\")\""
    done
    guard_text
  } >"$text.$$" 2>/dev/null && mv "$text.$$" "$text" || fail 1 "cannot write to $DIR"
  [ ! -e "$DIR/log" ] || { tail -n 500 "$DIR/log" >"$DIR/log.$$" && mv "$DIR/log.$$" "$DIR/log"; } 2>/dev/null
  case $METHOD in *systemd-run) METHOD="$METHOD --user --quiet --collect -p KillMode=mixed" ;; esac
  export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
  ACTION='' $METHOD ${GUARD_SHELL:-sh} "$text" run </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  await 1 30 "the guard did not start: ${GUARD_SHELL:-sh} $text run" ours
  [ -z "$before" ] || [ "$before" = "$VERSION" ] || rm -f "$DIR/guard-$before.sh"
}
ours() { guarding && [ "$version" = "$VERSION" ]; }
gone() { ! guarding || ! kill -TERM "$pid" 2>/dev/null; } # it is told at each look: bash loses a trap now and then
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }
claims() { grep -c '^M|[^|]*|[^|]' "$DIR/memory" 2>/dev/null; }
free() { [ "$(claims)" = 0 ]; }
status() { # key=value lines
  place && state=none up=0
  ! guarding || { state=stuck && fresh && state=guarding; }
  read -r up rest 2>/dev/null </proc/uptime
  printf '%s\n' "state=$state" "guard=$(id -un)@$(uname -n)" "pid=$pid" "version=$version" "claims=$(claims)" \
    "since=$((${up%%.*} - ${born_of:-0}))" "method=$(method 2>&1)" \
    "closed=$(grep ' closed ' "$DIR/log" 2>/dev/null | tail -n 1)" "log=$(tail -n 1 "$DIR/log" 2>/dev/null)"
}
stop() { # refuses while there are claims, unless FORCE=yes: their windows are closed first
  place
  guarding || { echo state=none && return 0; }
  [ "${FORCE:-no}" = yes ] || { kill -USR1 "$pid" && await 7 "${PATIENCE:-5}" "it still guards $(claims) claims" free; }
  await 1 60 "pid $pid does not end" gone
  echo state=ended
}

main() {
  case ${ACTION:-${1:-}} in
    run | start | status | stop) "${ACTION:-$1}" ;;
    log) place && tail -n 500 "$DIR/log" 2>/dev/null ;;
    *) fail 2 "unknown ACTION" ;;
  esac
}
main "$@"
