#!/bin/sh
while :; do case $1 in -n | -E | -H | --) shift ;; -u) shift 2 ;; *) break ;; esac; done
LAB_USER=root; export LAB_USER; exec "$@"
