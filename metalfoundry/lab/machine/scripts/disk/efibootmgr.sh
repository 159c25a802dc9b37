#!/bin/sh
case $1 in
-n) echo "bootnext $2" >"$LAB_CONTROL"; echo "BootNext: $2" ;;
esac
case $1 in
-v) read -r mac <"$LAB_ROOT/sys/class/net/eno1/address"
    path="$(printf '\tPciRoot(0x0)/Pci(0x1c,0x0)/MAC(%s,1)/IPv4(0.0.0.0,0,0)' "$(echo "$mac" | tr -d :)")" ;;
esac
printf 'BootCurrent: 0001\nBootOrder: 0003,0001\nBoot0001* ubuntu\nBoot0003* Network: IPv4 eno1%s\n' "$path"
