#!/bin/sh
# BSD's stat has other letters in its format.
case $1 in
-c | --format) f=$(@sed@ -e 's/%Y/%m/g;s/%s/%z/g;s/%n/%N/g;s/%a/%Lp/g;s/%U/%Su/g;s/%G/%Sg/g' <<EOF
$2
EOF
); shift 2; set -- -f "$f" "$@" ;;
esac
