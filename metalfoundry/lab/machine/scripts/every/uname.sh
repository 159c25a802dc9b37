#!/bin/sh
read -r name <"$LAB_ROOT/etc/hostname"
case $1 in
-n) echo "$name" ;; -r) echo "$LAB_KERNEL" ;; -m) echo x86_64 ;; -a) echo "Linux $name $LAB_KERNEL x86_64 GNU/Linux" ;;
*) echo Linux ;;
esac
