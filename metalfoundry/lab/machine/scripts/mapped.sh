#!/bin/sh
# Every absolute path among the arguments of @program@ becomes one below LAB_ROOT; /proc/uptime is made when it is read.
absent=@absent@ # kept: a path that does not exist stays as it is
n=$#
while [ "$n" -gt 0 ]; do
  a=$1; shift; n=$((n - 1))
  case $a in
  /proc/uptime)
    read -r booted <"$LAB_ROOT/.booted"
    up=$(($(@date@ +%s) - booted))
    printf '%s.00 %s.00\n' "$up" "$up" >"$LAB_ROOT/proc/uptime"
    a=$LAB_ROOT$a ;;
  /dev/null | /dev/std*) ;;
  /*) if [ "$absent" = mapped ] || [ -e "$LAB_ROOT$a" ]; then a=$LAB_ROOT$a; fi ;;
  esac
  set -- "$@" "$a"
done
exec @program@ "$@"
