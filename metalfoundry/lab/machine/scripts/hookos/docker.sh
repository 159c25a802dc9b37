#!/bin/sh
log=$LAB_ROOT/.tink-worker.log
case $1 in
logs)
  shift; lines='' follow=''
  for a do
    case $a in
    -f | --follow) follow=-f ;;
    --tail=*) lines=${a#--tail=} ;; --tail | -n) lines=next ;; *) [ "$lines" = next ] && lines=$a ;; esac
  done
  [ -e "$log" ] || { echo 'Error response from daemon: No such container: tink-worker' >&2; exit 1; }
  case $lines in "" | all) exec @tail@ $follow -n +1 "$log" ;; *) exec @tail@ $follow -n "$lines" "$log" ;; esac ;;
ps)
  case " $* " in *" --format "*) [ -e "$LAB_ROOT/.containers" ] && exec @cat@ "$LAB_ROOT/.containers"; exit 0 ;; esac
  echo 'CONTAINER ID   IMAGE                                   COMMAND       STATUS         NAMES'
  [ -e "$log" ] && echo '6f1c0ffee001   ghcr.io/tinkerbell/tink-agent:v0.21.0   "tink-agent"  Up 2 min   tink-worker'
  exit 0 ;;
esac
echo "docker: '$1' is not known here" >&2; exit 1
