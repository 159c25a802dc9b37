#!/bin/sh
case $1 in -r) shift; exec "${0%shutdown}reboot" ;; esac; exit 1
