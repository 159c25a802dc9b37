#!/bin/sh
# Closes the netboot window of one run without the client's help; docs/guard.md says what it promises.
#
# The client sends assignments, this text as the function guard_text, and `eval "$(guard_text)"` to `sh -s`; ACTION
# chooses the sub-command. Detached, the guard is `sh guard.sh FOLDER`. Everything is a function and the last line
# calls one: a text that arrived in part does nothing.
#
# The guard proper is one loop that reads lines from a fifo. Watches, reads, patches and the clock are children that
# write there, so nothing ever keeps it waiting. Each line starts with the nonce; a line without it is not ours.
# shellcheck disable=SC2153  # capitals come from the client or from arm
set -uf
export LC_ALL=C

hardware_type=hardware.v1alpha1.tinkerbell.org
workflow_type=workflows.v1alpha1.tinkerbell.org

fail() { # STATUS WORDS
  status=$1
  shift
  printf '%s\n' "$*" >&2
  exit "$status"
}

# ---- the guard proper ------------------------------------------------------------------------------------------

guard() { # FOLDER
  DIR=$1
  # shellcheck disable=SC1091  # written by arm
  . "$DIR/facts" || exit 1
  umask 077
  WROTE='' SHUT='' OVER='' WHY='' PROVED=no CLOSED=no ENDING='' STOP='' STOP_AT=0
  CLAIM=unknown BY='' PXE=unknown OPEN='' RV='' HW_UID=''
  API=unknown TRIES=0 READING='' PROOF='' READ_SINCE=0 AGAIN='' NEXT_READ=0 SAW_HW='' SAW_WF=''
  PATCHING='' STANDBY='' PATCH='' PATCH_SINCE=0 REFUSED=0 PATCH_AFTER=0
  HW=down HW_SPOKE='' HW_AT=0 HW_QUICK=0 WF=down WF_SPOKE='' WF_AT=0 WF_QUICK=0 WF_GONE=''
  KID_HW='' KID_WF='' KID_READ='' KID_PATCH='' KID_TICK='' ANNOUNCED='' TICKS=0 LAST=''
  NOW=$(date +%s)
  trap '' HUP
  trap 'STOP=yes' TERM INT
  exec 3<>"$DIR/events"
  janitor &
  exec 4>"$DIR/life"
  ticker &
  adopt TICK "$!"
  log "armed hardware=$HARDWARE workflow=${WORKFLOW:-none} until=$UNTIL expires=$(stamp "$EXPIRES")"
  printf '%s\n' "$$" >"$DIR/pid"
  look
  watches
  loop
}

loop() {
  while :; do
    line=''
    IFS= read -r line <&3
    [ -n "$line" ] && hear "$line"
    if [ -n "$STOP" ] && [ "$STOP_AT" = 0 ]; then
      STOP_AT=$((NOW + 5))
      end_when_closed term
    fi
  done
}

hear() { # LINE
  rest=${1#"$NONCE|"}
  [ "$rest" != "$1" ] || return 0
  word=${rest%%|*}
  rest=${rest#*|}
  case $word in
    ADDED | MODIFIED | DELETED | READ) object "$word" "$rest" ;;
    tick) tick ;;
    kid) adopt "${rest%%|*}" "${rest#*|}" ;;
    ended) watch_ended "$rest" ;;
    read) read_done "$rest" ;;
    patch) patch_done "$rest" ;;
    ask) answer "$rest" ;;
    disarm) end_when_closed disarmed ;;
  esac
}

log() { # WORDS: one line per decision
  LAST="$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"
  printf '%s\n' "$LAST" >>"$DIR/log"
}

# ---- what is seen ----------------------------------------------------------------------------------------------

object() { # EVENT kind|uid|resourceVersion|state|allowPXE,...|run|action
  event=$1
  rest=$2
  kind=${rest%%|*} rest=${rest#*|}
  uid=${rest%%|*} rest=${rest#*|}
  rv=${rest%%|*} rest=${rest#*|}
  state=${rest%%|*} rest=${rest#*|}
  pxe=${rest%%|*} rest=${rest#*|}
  [ "$API" != unknown ] || API=ok
  case $kind in
    Hardware) hardware ;;
    Workflow) workflow ;;
  esac
}

hardware() {
  first=''
  if [ "$event" = READ ]; then SAW_HW=yes; elif [ -z "$HW_SPOKE" ]; then first=yes HW_SPOKE=yes; fi
  # A read and the watch overtake each other; what is older than the newest seen says nothing. The first line of a
  # watch counts always: after a restore from backup the numbers start again lower.
  if [ -z "$first" ] && [ "$uid" = "$HW_UID" ] && [ "$rv" -lt "${RV:-0}" ] 2>/dev/null; then return 0; fi
  RV=$rv HW_UID=$uid
  run=${rest%|*}
  if [ "$event" = DELETED ]; then
    CLAIM=hardware-gone
  elif [ "$run" = "$RUN" ]; then
    CLAIM=ours
  elif [ -z "$run" ]; then
    CLAIM=gone
  else
    CLAIM=foreign BY=$run
  fi
  [ "$pxe" = "$PXE" ] || interfaces
  announce
  judge
}

interfaces() { # prepares the close patch, so that closing costs no more than kubectl itself
  PXE=$pxe OPEN='' index=0 rest=$pxe
  PATCH="[{\"op\":\"test\",\"path\":\"/metadata/annotations/metalfoundry.dev~1run\",\"value\":\"$RUN\"}"
  while [ -n "$rest" ]; do
    if [ "${rest%%,*}" = true ]; then
      OPEN="$OPEN${OPEN:+,}$index"
      for field in allowPXE allowWorkflow; do
        PATCH="$PATCH,{\"op\":\"add\",\"path\":\"/spec/interfaces/$index/netboot/$field\",\"value\":false}"
      done
    fi
    rest=${rest#*,} index=$((index + 1))
  done
  PATCH=$PATCH]
  printf '%s\n' "$PATCH" >"$DIR/close.json"
  [ -z "$OPEN" ] || [ -z "$SHUT" ] || reopened
}

reopened() {
  if [ "$PROVED" = yes ]; then
    WHY=foreign-write
    [ "$CLAIM" != ours ] || log "reopened interfaces=$OPEN"
  fi
  PROVED=no
}

workflow() {
  if [ "$event" = READ ]; then SAW_WF=yes; else WF_SPOKE=yes; fi
  action=${rest#*|}
  [ -n "$WORKFLOW_UID" ] || WORKFLOW_UID=$uid
  state=${state#STATE_}
  if [ "$event" = DELETED ] || [ "$uid" != "$WORKFLOW_UID" ]; then
    workflow_gone
  else
    WF_GONE='' over=''
    case $state in SUCCESS | FAILED | TIMEOUT) over=yes ;; esac
    [ -z "$BOOT_ACTION" ] || [ "$action" != "$BOOT_ACTION" ] || over=yes
    if [ -z "$over" ]; then OVER=''; elif [ -z "$OVER" ]; then OVER=$NOW; fi
    case $state in
      RUNNING)
        if [ "$UNTIL" = running ]; then
          shut running
        elif [ -n "$BOOT_ACTION" ] && [ "$action" = "$BOOT_ACTION" ]; then
          shut boot-action
        fi
        ;;
      POST) shut post ;;
      SUCCESS) shut success ;;
      FAILED) shut failed ;;
      TIMEOUT) shut timeout ;;
    esac
  fi
  announce
}

workflow_gone() {
  WF_GONE=yes
  [ -n "$WORKFLOW_UID" ] || return 0
  [ -n "$OVER" ] || OVER=$NOW
  shut deleted
}

announce() {
  [ -z "$ANNOUNCED" ] && [ "$(watching)" = yes ] || return 0
  ANNOUNCED=yes
  log "watching claim=$CLAIM window=$(window)"
  standby
}

watching() {
  if [ "$API" != away ] && [ -n "$HW_SPOKE" ] && { [ -z "$WORKFLOW" ] || [ -n "$WF_SPOKE$WF_GONE" ]; }; then
    echo yes
  else
    echo no
  fi
}

window() {
  if [ "$PXE" = unknown ]; then echo unknown; elif [ -n "$OPEN" ]; then echo open; else echo closed; fi
}

# ---- what is decided -------------------------------------------------------------------------------------------

shut() { # REASON: from here on the window has to be closed; there is no way back
  [ -z "$SHUT" ] || return 0
  SHUT=$1 WHY=$1 PROVED=no
  judge
}

judge() {
  case $CLAIM in
    unknown) return 0 ;;
    ours) ;;
    foreign) finish "claim-foreign by=$(printf '%.100s' "$BY" | tr -cd '!-~')" ;;
    gone) finish claim-gone ;;
    *) finish "$CLAIM" ;;
  esac
  [ -n "$SHUT" ] || return 0
  if [ -z "$OPEN" ]; then
    [ "$PROVED" = yes ] || [ -n "$PATCHING" ] || [ -n "$PROOF" ] || look
  elif [ -z "$PATCHING" ] && [ "$NOW" -ge "$PATCH_AFTER" ]; then
    close
  fi
}

end_when_closed() { # REASON
  ENDING=$1
  if [ "$CLAIM" = ours ] && [ -z "$OPEN" ] && [ -z "$PATCHING" ]; then
    if [ "$PROVED" = yes ] || [ "$(watching)" = yes ]; then finish "$ENDING"; fi
  fi
  if [ -n "$SHUT" ]; then judge; else shut "$ENDING"; fi
}

proved() {
  PROVED=yes
  if [ -n "$WROTE" ]; then
    log "closed reason=$WHY interfaces=$WROTE"
    CLOSED=yes
  else
    log "found-closed reason=$WHY"
  fi
  WROTE=''
  [ -z "$ENDING" ] || finish "$ENDING"
}

tick() {
  NOW=$(date +%s) TICKS=$((TICKS + 1))
  read -r EXPIRES 2>/dev/null <"$DIR/expires" || finish_unheard
  [ "$EXPIRES" -le "$HARD_CAP" ] || EXPIRES=$HARD_CAP
  [ "$NOW" -lt "$EXPIRES" ] || shut expired
  [ "$STOP_AT" = 0 ] || [ "$NOW" -lt "$STOP_AT" ] || finish "$ENDING"
  if [ "$NOW" -ge "$HARD_CAP" ] && [ "$PROVED" = yes ]; then finish hard-cap; fi
  [ -z "$OVER" ] || [ "$PROVED" != yes ] || [ $((NOW - OVER)) -lt "$LINGER" ] || finish over
  [ "$NOW" -lt $((HARD_CAP + 3600)) ] || finish gave-up
  # kubectl has its own time limit; this one is for what hangs before it, such as a credential helper.
  [ -z "$READING" ] || [ $((NOW - READ_SINCE)) -lt 20 ] || slay "$KID_READ"
  [ -z "$PATCHING" ] || [ $((NOW - PATCH_SINCE)) -lt 20 ] || slay "$KID_PATCH"
  [ "$NOW" -lt "$NEXT_READ" ] || look
  [ "$API" = away ] || [ -n "$READING" ] || judge
  [ -z "$ANNOUNCED" ] || [ -n "$PATCHING" ] || [ "$API" = away ] || standby
}

finish_unheard() { # nobody can speak to a guard whose folder is gone; it closes, says so in a new one, and goes
  EXPIRES=0
  mkdir -p "$DIR" && printf '%s\n' "$PATCH" >"$DIR/close.json"
  end_when_closed folder-gone
}

finish() { # REASON: leaves the log and one file of facts; ends all children
  trap '' TERM INT
  log "ended reason=$1 window=$(window)"
  printf '%s\n' "state=ended" "end=$1" "window=$(window)" "closed=$CLOSED" "shut=$SHUT" >"$DIR/ended.new"
  echo bye >&4
  stop_kids
  mv "$DIR/ended.new" "$DIR/ended"
  rm -f "$DIR/guard.sh" "$DIR/close.json" "$DIR/kids" "$DIR/life" "$DIR/patch" "$DIR/events" "$DIR/pid"
  exit 0
}

# ---- what is done ----------------------------------------------------------------------------------------------

# The fields of object(), as a go-template: with jsonpath, whose `range` state outlives an object, `kubectl get -w`
# ends at the second event without a word (1.20 to 1.33). The run id stands near the end because somebody else's may
# hold anything.
fields() {
  printf '%s' '|{{.kind}}|{{.metadata.uid}}|{{.metadata.resourceVersion}}|{{with .status}}{{with .state}}{{.}}{{end}}' \
    '{{end}}|{{range .spec.interfaces}}{{with .netboot}}{{with .allowPXE}}true{{end}}{{end}},{{end}}|' \
    '{{with .metadata.annotations}}{{with index . "metalfoundry.dev/run"}}{{.}}{{end}}{{end}}|{{with .status}}' \
    '{{with .currentState}}{{with .actionName}}{{.}}{{end}}{{end}}{{with .currentAction}}{{.}}{{end}}{{end}}{{"\n"}}'
}

pump() { # kubectl writes a line in pieces; they become one write, so that lines do not mix
  while IFS= read -r piece; do
    case $piece in "$NONCE|"*) printf '%.2000s\n' "$piece" >&3 ;; esac
  done
}

look() { # reads Hardware and Workflow in one process
  if [ -n "$READING" ]; then
    AGAIN=yes
    return 0
  fi
  READING=yes READ_SINCE=$NOW AGAIN='' PROOF='' SAW_HW='' SAW_WF=''
  [ -z "$SHUT" ] || [ -n "$PATCHING" ] || PROOF=yes
  (
    exec 4>&- 5>&-
    if [ -n "$WORKFLOW" ]; then
      set -- "$hardware_type/$HARDWARE" "$workflow_type/$WORKFLOW"
      form="{{range .items}}$NONCE|READ$(fields){{end}}"
    else
      set -- "$hardware_type/$HARDWARE"
      form="$NONCE|READ$(fields)"
    fi
    {
      # shellcheck disable=SC2086  # KUBECTL may be several words
      $KUBECTL get "$@" -n "$NAMESPACE" --ignore-not-found --request-timeout=10s -o "go-template=$form" \
        2>"$DIR/err.read" 3>&- &
      printf '%s|kid|READ|%s\n' "$NONCE" "$!" >&3
      wait "$!"
      printf '%s|read|%s\n' "$NONCE" "$?"
    } | pump
  ) &
}

read_done() { # EXIT-STATUS
  proof=$PROOF READING='' PROOF='' KID_READ=''
  if [ "$1" != 0 ]; then
    [ "$API" = away ] || log "api-away error=$(reason read)"
    API=away TRIES=$((TRIES + 1))
    delay=$((RETRY * TRIES))
    [ "$delay" -le 30 ] || delay=30
    NEXT_READ=$((NOW + delay))
    return 0
  fi
  [ "$API" != away ] || log "api-back"
  API=ok TRIES=0 NEXT_READ=$((NOW + REREAD))
  [ -n "$SAW_HW" ] || CLAIM=hardware-gone
  [ -z "$WORKFLOW" ] || [ -n "$SAW_WF" ] || workflow_gone
  if [ -n "$AGAIN" ]; then
    look
  elif [ -n "$proof" ] && [ "$CLAIM" = ours ] && [ -z "$OPEN" ] && [ "$PROVED" = no ]; then
    proved
  fi
  judge
  watches
  announce
}

watches() { # starts what is down
  [ "$HW" = up ] || watch HW "$hardware_type" "$HARDWARE"
  [ -z "$WORKFLOW" ] || [ "$WF" = up ] || watch WF "$workflow_type" "$WORKFLOW"
}

watch() { # HW|WF TYPE NAME
  if [ "$1" = HW ]; then HW=up HW_SPOKE='' HW_AT=$TICKS; else WF=up WF_SPOKE='' WF_AT=$TICKS; fi
  (
    exec 4>&- 5>&-
    {
      # An end after ten minutes: should everything of ours be killed at once, kubectl is not left for ever.
      # shellcheck disable=SC2086
      $KUBECTL get "$2" -n "$NAMESPACE" --field-selector "metadata.name=$3" -w --output-watch-events \
        --request-timeout=600s -o "go-template=$NONCE|{{.type}}{{with .object}}$(fields){{end}}" 2>"$DIR/err.$1" 3>&- &
      printf '%s|kid|%s|%s\n' "$NONCE" "$1" "$!" >&3
      wait "$!"
    } | pump
    printf '%s|ended|%s\n' "$NONCE" "$1" >&3
  ) &
}

watch_ended() { # HW|WF: an ended watch says nothing about why; read again, then resume
  quick=0
  if [ "$1" = HW ]; then
    HW=down KID_HW=''
    [ $((TICKS - HW_AT)) -ge 2 ] || quick=$((HW_QUICK + 1))
    HW_QUICK=$quick
  else
    WF=down KID_WF=''
    [ $((TICKS - WF_AT)) -ge 2 ] || quick=$((WF_QUICK + 1))
    WF_QUICK=$quick
  fi
  if [ "$quick" -le 1 ]; then
    look
  elif [ "$API" = ok ]; then
    [ "$quick" != 3 ] || log "watch-failing kind=$1 error=$(reason "$1")"
    NEXT_READ=$NOW
  fi
}

# Most of kubectl's time is its own start: one that is already waiting for its patch closes four times as fast.
standby() {
  [ -z "$STANDBY" ] && [ -p "$DIR/patch" ] || return 0
  STANDBY=yes
  exec 5<>"$DIR/patch"
  patch_from "$DIR/patch"
}

close() {
  PATCHING=yes PROOF='' PATCH_SINCE=$NOW WROTE=$OPEN
  if [ -n "$STANDBY" ]; then
    STANDBY=''
    printf '%s\n' "$PATCH" >&5
    exec 5>&-
  else
    patch_from "$DIR/close.json"
  fi
}

patch_from() { # FILE
  (
    exec 4>&-
    # Through cat, because kubectl opens /dev/stdin anew: on a fifo whose writer has gone that would wait for ever.
    # shellcheck disable=SC2086
    cat <"$1" 3>&- 5>&- | $KUBECTL patch "$hardware_type" "$HARDWARE" -n "$NAMESPACE" --type=json \
      --patch-file=/dev/stdin --field-manager=metalfoundry --request-timeout=10s \
      >/dev/null 2>"$DIR/err.patch" 3>&- 5>&- &
    exec 5>&-
    printf '%s|kid|PATCH|%s\n' "$NONCE" "$!" >&3
    wait "$!"
    printf '%s|patch|%s\n' "$NONCE" "$?" >&3
  ) &
}

patch_done() { # EXIT-STATUS: whatever it says, what counts is what is read afterwards
  KID_PATCH=''
  if [ -z "$PATCHING" ]; then # the one on standby ended by itself; the next tick starts another
    STANDBY=''
    exec 5>&-
    return 0
  fi
  PATCHING=''
  if [ "$1" = 0 ]; then
    REFUSED=0 PATCH_AFTER=0 PROVED=no
    standby
  else
    WROTE='' REFUSED=$((REFUSED + 1)) PATCH_AFTER=$NOW
    [ "$REFUSED" != 2 ] || log "close-refused error=$(reason patch)"
    [ "$REFUSED" -lt 2 ] || PATCH_AFTER=$((NOW + RETRY))
  fi
  look
}

adopt() { # WHOSE PID
  case $1 in HW) KID_HW=$2 ;; WF) KID_WF=$2 ;; READ) KID_READ=$2 ;; PATCH) KID_PATCH=$2 ;; TICK) KID_TICK=$2 ;; esac
  printf '%s\n' "$KID_HW $KID_WF $KID_READ $KID_PATCH $KID_TICK" >"$DIR/kids"
}

reason() { # NAME: the last line that kubectl left on stderr
  tail -n 1 "$DIR/err.$1" | tr -cd ' -~' | cut -c 1-200
}

# ---- life and death --------------------------------------------------------------------------------------------

ticker() {
  exec 4>&- 5>&-
  while sleep "$TICK" && kill -0 "$$" 2>/dev/null; do printf '%s|tick|\n' "$NONCE" >&3; done
}

# Sleeps until the guard says bye or, being killed, closes the fifo without a word: then closes the window once and
# ends the children. Without it an idle watch would stay.
janitor() {
  trap '' TERM INT
  exec 3>&-
  word=''
  read -r word <"$DIR/life"
  [ "$word" != bye ] || exit 0
  read -r patch <"$DIR/close.json" && case $patch in
    *allowPXE*)
      # shellcheck disable=SC2086
      $KUBECTL patch "$hardware_type" "$HARDWARE" -n "$NAMESPACE" --type=json --patch-file=/dev/stdin \
        --field-manager=metalfoundry --request-timeout=5s <"$DIR/close.json" >/dev/null 2>"$DIR/err.patch"
      log "killed last-close=$?"
      ;;
    *) log "killed last-close=not-needed" ;;
  esac
  stop_kids
}

slay() { # PIDS
  # shellcheck disable=SC2086  # a list
  kill -TERM $1 2>/dev/null
  # shellcheck disable=SC2086
  case $KUBECTL in sudo\ *) sudo -n kill -TERM $1 2>/dev/null ;; esac
}

stop_kids() {
  kids=''
  read -r kids 2>/dev/null <"$DIR/kids"
  [ -z "$kids" ] || slay "$kids"
  # The whole group, where the guard leads one; otherwise no group has this number.
  kill -TERM "-$$" 2>/dev/null
  case $KUBECTL in sudo\ *) sudo -n kill -TERM "-$$" 2>/dev/null ;; esac
  return 0
}

answer() { # TOKEN
  printf '%s\n' "state=guarding" "run=$RUN" "hardware=$HARDWARE" "workflow=$WORKFLOW" "pid=$$" \
    "watching=$(watching)" "api=$API" "claim=$CLAIM" "window=$(window)" "shut=$SHUT" "proved=$PROVED" \
    "closed=$CLOSED" "ending=$ENDING" "expires=$EXPIRES" "hard_cap=$HARD_CAP" "log=$LAST" >"$DIR/answer.new"
  mv "$DIR/answer.new" "$DIR/answer.$1"
}

# ---- sub-commands ----------------------------------------------------------------------------------------------

stamp() { # EPOCH: as RFC3339, where date can do that (GNU, busybox; then BSD)
  date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$1" +%Y-%m-%dT%H:%M:%SZ
}

quoted() { # WORD: for the shell
  printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

only() { # NAME VALUE CHARACTERS: refuses a value that could mean something else in a path, in JSON or to kubectl
  case $2 in '' | [.-]* | *[!$3]*) fail 2 "$1 is missing or has odd characters" ;; esac
}

epoch() { # NAME VALUE: seconds since 1970, or +SECONDS from now by this host's clock
  case $2 in
    +*) only "$1" "${2#+}" 0-9 && echo $(($(date +%s) + ${2#+})) ;;
    *) only "$1" "$2" 0-9 && echo "$2" ;;
  esac
}

place() { # sets ROOT, and DIR where a run is named
  ROOT=${STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/metalfoundry/guards}
  [ "${1:-}" = all ] || { only RUN "${RUN:-}" A-Za-z0-9._- && DIR=$ROOT/$RUN; }
}

own() { # after place: the folder is there, and is the one the client means
  [ -d "$DIR" ] || { echo state=none && exit 4; }
  KNOWN=''
  read -r KNOWN 2>/dev/null <"$DIR/nonce"
  [ -z "${NONCE:-}" ] || [ "$NONCE" = "$KNOWN" ] || fail 5 "another guard holds run $RUN"
}

ask() { # FOLDER WORD: a line to the loop itself; true when it answers, with $1/answer.$$ left
  pid='' known=''
  read -r pid 2>/dev/null <"$1/pid" && kill -0 "$pid" 2>/dev/null || return 1
  read -r known 2>/dev/null <"$1/nonce"
  [ -p "$1/events" ] || return 1
  printf '%s|%s|%s\n' "$known" "$2" "$$" 1<>"$1/events"
  turns=0
  while [ "$turns" -lt 100 ]; do
    [ ! -e "$1/answer.$$" ] || return 0
    [ ! -e "$1/ended" ] || return 1
    sleep 0.03
    turns=$((turns + 1))
  done
  return 1
}

method() { # how to leave the SSH session
  uid=$(id -u)
  if [ "$uid" != 0 ] && [ "$(loginctl show-session -p KillUserProcesses --value 2>/dev/null)" = yes ]; then
    user=$(id -un)
    linger=$(loginctl show-user "$user" -p Linger --value 2>/dev/null)
    if [ "$linger" = yes ] && command -v systemd-run >/dev/null; then
      echo systemd-run
    else
      fail 6 "this host ends a user's processes at logout; remedy: sudo loginctl enable-linger $user"
    fi
  elif command -v setsid >/dev/null; then
    echo setsid
  else
    echo nohup
  fi
}

arm() {
  place
  only NONCE "${NONCE:-}" A-Za-z0-9
  only NAMESPACE "${NAMESPACE:-}" a-z0-9.-
  only HARDWARE "${HARDWARE:-}" a-z0-9.-
  [ -z "${WORKFLOW:-}" ] || only WORKFLOW "$WORKFLOW" a-z0-9.-
  [ -z "${WORKFLOW_UID:-}" ] || only WORKFLOW_UID "$WORKFLOW_UID" A-Za-z0-9-
  case ${UNTIL:-running} in running | end) ;; *) fail 2 "UNTIL is neither running nor end" ;; esac
  HARD_CAP=$(epoch HARD_CAP "${HARD_CAP:-}") || exit 2
  EXPIRES=$(epoch EXPIRES "${EXPIRES:-}") || exit 2
  [ "$EXPIRES" -le "$HARD_CAP" ] || EXPIRES=$HARD_CAP
  METHOD=$(method) || exit 6
  umask 077
  { mkdir -p "$ROOT" && chmod 700 "$ROOT"; } || fail 1 "cannot make $ROOT"
  make_folder
  furnish || { rm -rf "$DIR" && fail 1 "cannot write to $DIR"; }
  detach
  turns=0
  until [ -s "$DIR/pid" ] || [ -s "$DIR/ended" ]; do
    [ "$turns" -lt 150 ] || fail 1 "the guard did not start: $(tail -n 1 "$DIR/errors")"
    sleep 0.03
    turns=$((turns + 1))
  done
  pid='' && read -r pid 2>/dev/null <"$DIR/pid"
  printf '%s\n' "run=$RUN" "pid=$pid" "method=$METHOD" "now=$(date +%s)" "expires=$EXPIRES" "hard_cap=$HARD_CAP"
}

make_folder() { # mkdir decides between two that arm at once; a dead guard's remains make room, its log is kept
  OLD_LOG=''
  if ! mkdir "$DIR" 2>/dev/null; then
    ! ask "$DIR" ask || { rm -f "$DIR/answer.$$" && fail 3 "a guard for run $RUN is already armed"; }
    ! stuck "$DIR" || fail 3 "a guard for run $RUN is there and does not answer"
    if arming "$DIR" || ! mv "$DIR" "$DIR.dead.$$" 2>/dev/null || ! mkdir "$DIR" 2>/dev/null; then
      fail 3 "a guard for run $RUN is being armed"
    fi
    OLD_LOG=$DIR.dead.$$/log
  fi
}

furnish() {
  : >"$DIR/errors"
  [ -z "$OLD_LOG" ] || { cat "$OLD_LOG" >"$DIR/log" 2>/dev/null && rm -rf "${OLD_LOG%/log}"; }
  {
    for name in RUN NONCE NAMESPACE HARDWARE HARD_CAP EXPIRES PATH HOME; do
      eval "printf '%s=%s\n' $name \"\$(quoted \"\$$name\")\""
    done
    printf '%s\n' "WORKFLOW=$(quoted "${WORKFLOW:-}")" "WORKFLOW_UID=$(quoted "${WORKFLOW_UID:-}")" \
      "KUBECTL=$(quoted "${KUBECTL:-kubectl}")" "BOOT_ACTION=$(quoted "${BOOT_ACTION:-}")" \
      "UNTIL=${UNTIL:-running}" "TICK=${TICK:-3}" "RETRY=${RETRY:-3}" "REREAD=${REREAD:-30}" "LINGER=${LINGER:-5}" \
      "export PATH HOME"
    [ -z "${KUBECONFIG:-}" ] || printf '%s\n' "export KUBECONFIG=$(quoted "$KUBECONFIG")"
  } >"$DIR/facts" && guard_text >"$DIR/guard.sh" && printf '%s\n' "$NONCE" >"$DIR/nonce" &&
    printf '%s\n' "$EXPIRES" >"$DIR/expires" && mkfifo "$DIR/events" "$DIR/life" "$DIR/patch"
}

detach() {
  case $METHOD in
    systemd-run)
      XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
      export XDG_RUNTIME_DIR
      # KillMode: at a stop the guard alone is told, and still has its children to close with.
      # shellcheck disable=SC2086  # GUARD_SHELL may be two words
      systemd-run --user --quiet --collect -p KillMode=mixed --unit="metalfoundry-guard-$RUN-$NONCE" \
        ${GUARD_SHELL:-sh} "$DIR/guard.sh" "$DIR" </dev/null >/dev/null 2>>"$DIR/errors"
      ;;
    *)
      # shellcheck disable=SC2086
      ACTION='' "$METHOD" ${GUARD_SHELL:-sh} "$DIR/guard.sh" "$DIR" </dev/null >/dev/null 2>>"$DIR/errors" &
      ;;
  esac
}

alive() { # waits up to WAIT seconds for the watch to be established
  place
  own
  rounds=$((${WAIT:-10} * 10))
  while ask "$DIR" ask; do
    facts=$(cat "$DIR/answer.$$")
    rm -f "$DIR/answer.$$"
    case $facts in *watching=yes*) printf '%s\n' "$facts" && exit 0 ;; esac
    [ "$rounds" -gt 0 ] || { printf '%s\n' "$facts" && exit 8; }
    rounds=$((rounds - 1))
    sleep 0.1
  done
  epitaph
  exit 4
}

epitaph() { # what a guard that ended left, or that it died without a word
  cat "$DIR/ended" 2>/dev/null || printf '%s\n' state=dead end=died closed=unknown
  printf 'log=%s\n' "$(tail -n 1 "$DIR/log" 2>/dev/null)"
}

extend() { # EXPIRES anew; then as alive
  place
  own
  cap=$(sed -n "s/^HARD_CAP='\(.*\)'$/\1/p" "$DIR/facts")
  EXPIRES=$(epoch EXPIRES "${EXPIRES:-}") || exit 2
  [ "$EXPIRES" -le "$cap" ] || EXPIRES=$cap
  umask 077
  { printf '%s\n' "$EXPIRES" >"$DIR/expires.$$" && mv "$DIR/expires.$$" "$DIR/expires"; } || fail 1 "cannot write $DIR"
  alive
}

disarm() {
  place
  own
  rounds=$((${WAIT:-5} * 33))
  if [ ! -e "$DIR/ended" ] && ask "$DIR" ask; then
    printf '%s|disarm|\n' "$known" 1<>"$DIR/events"
    while [ ! -e "$DIR/ended" ] && kill -0 "$pid" 2>/dev/null; do
      [ "$rounds" -gt 0 ] || holding
      rounds=$((rounds - 1))
      sleep 0.03
    done
  elif [ ! -e "$DIR/ended" ] && stuck "$DIR"; then
    echo state=stuck
    exit 7
  fi
  epitaph
  if [ "${KEEP_LOG:-no}" = yes ]; then rm -f "$DIR/answer.$$"; else rm -rf "$DIR"; fi
}

holding() { # asked to end, it stays because it cannot see the window closed
  rm -f "$DIR/answer.$$"
  ask "$DIR" ask
  cat "$DIR/answer.$$"
  rm -f "$DIR/answer.$$"
  exit 7
}

stuck() { # FOLDER: its process is there, though it does not answer
  pid=''
  read -r pid 2>/dev/null <"$1/pid" && kill -0 "$pid" 2>/dev/null || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -p "$pid" -o args=; } 2>/dev/null | grep -qF "$1/guard.sh"
}

arming() { # FOLDER: no guard yet, and not older than a minute
  [ ! -e "$1/pid" ] && [ ! -e "$1/ended" ] && [ -n "$(find "$1" -prune -mmin -1 2>/dev/null)" ]
}

each() { # FUNCTION: for every folder of a guard on this host
  place all
  [ -d "$ROOT" ] || exit 0
  set +f
  for folder in "$ROOT"/*; do
    [ ! -d "$folder" ] || "$1" "$folder" "${folder##*/}"
  done
}

state_of() { # FOLDER
  if [ -e "$1/ended" ]; then
    echo ended
  elif ask "$1" ask; then
    rm -f "$1/answer.$$"
    echo guarding
  elif stuck "$1"; then
    echo stuck
  elif arming "$1"; then
    echo arming
  else
    echo dead
  fi
}

row() { # FOLDER RUN: run, hardware, state, pid, expires (epoch), last line of the log; tabs between
  machine=$(sed -n "s/^HARDWARE='\(.*\)'$/\1/p" "$1/facts" 2>/dev/null)
  until='' pid=''
  read -r until 2>/dev/null <"$1/expires"
  read -r pid 2>/dev/null <"$1/pid"
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$2" "$machine" "$(state_of "$1")" "$pid" "$until" \
    "$(tail -n 1 "$1/log" 2>/dev/null)"
}

reap_one() { # FOLDER RUN; where HARDWARE is named, only its guards
  [ -z "${HARDWARE:-}" ] || grep -qxF "HARDWARE='$HARDWARE'" "$1/facts" 2>/dev/null || return 0
  case $(state_of "$1") in ended | dead) rm -rf "$1" && printf '%s\n' "$2" ;; esac
}

main() {
  case ${ACTION:-} in
    arm) arm ;;
    alive) alive ;;
    extend) extend ;;
    disarm) disarm ;;
    list) each row ;;
    reap) each reap_one ;;
    log) place && own && cat "$DIR/log" ;;
    '') if [ -n "${1:-}" ]; then guard "$1"; else fail 2 "ACTION is missing"; fi ;;
    *) fail 2 "unknown ACTION" ;;
  esac
}

main "$@"
