#!/bin/sh
read -r name <"$LAB_ROOT/etc/hostname"; [ "$1" = -I ] && name=$LAB_IP; echo "$name"
