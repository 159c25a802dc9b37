#!/bin/sh
while :; do case $1 in -n | --namespace) shift 2 ;; *) break ;; esac; done
[ "$1" = exec ] || { echo "nerdctl: unknown command $1" >&2; exit 1; }
shift
case $1 in -*t*) echo 'level=fatal msg="provided file is not a console"' >&2; exit 1 ;; esac
[ "$1" = hook-docker ] || { echo "no such container $1" >&2; exit 1; }
shift; program=$1; shift
exec "${0%/*}/inside/$program" "$@"
