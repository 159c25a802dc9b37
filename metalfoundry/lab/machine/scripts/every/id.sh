#!/bin/sh
uid=0; [ "$LAB_USER" = root ] || uid=1000
case $1 in -u) echo "$uid" ;; -un) echo "$LAB_USER" ;; *) echo "uid=$uid($LAB_USER) gid=$uid($LAB_USER)" ;; esac
