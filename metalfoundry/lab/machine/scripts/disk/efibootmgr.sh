#!/bin/sh
case $1 in
-n) echo "bootnext $2" >"$LAB_CONTROL"; echo "BootNext: $2" ;;
esac
printf 'BootCurrent: 0001\nBootOrder: 0003,0001\nBoot0001* ubuntu\nBoot0003* Network: IPv4 eno1\n'
