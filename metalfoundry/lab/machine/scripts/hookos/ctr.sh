#!/bin/sh
while [ $# -gt 0 ] && [ "$1" != hook-docker ]; do shift; done
[ $# -gt 1 ] || { echo "ctr: container not found" >&2; exit 1; }
shift; program=$1; shift
exec "${0%/*}/inside/$program" "$@"
