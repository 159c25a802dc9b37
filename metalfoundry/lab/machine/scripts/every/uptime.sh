#!/bin/sh
read -r booted <"$LAB_ROOT/.booted"
case $1 in
-s) @date@ -u -d "@$booted" '+%F %T' 2>/dev/null || @date@ -u -r "$booted" '+%F %T' ;;
*) echo " up $(( ($(@date@ +%s) - booted) / 60 )) min, 1 user, load average: 0.00, 0.00, 0.00" ;;
esac
