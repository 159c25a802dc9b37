#!/bin/sh
# Births are the system's own (`.born` for what came with its image, else unknown), and so is its one device.
case $1 in -c | --format) ;; *) echo "stat: only -c is known here" >&2; exit 1 ;; esac
format=$2; shift 2; status=0
read -r image <"$LAB_ROOT/.born"
for name do
  path=$LAB_ROOT$name
  [ -e "$path" ] || { echo "stat: cannot statx '$name': No such file or directory" >&2; status=1; continue; }
  born=0; [ "$name" = / ] && born=$image
  f=$(printf '%s' "$format" | @sed@ -e "s|%n|$name|g;s|%W|$born|g;s|%d|2049|g")
  if [ -e /proc/self ]; then
    @stat@ -c "$f" "$path" || status=1
  else # BSD's stat has other letters in its format
    f=$(printf '%s' "$f" | @sed@ -e 's/%Y/%m/g;s/%s/%z/g;s/%a/%Lp/g;s/%U/%Su/g;s/%G/%Sg/g')
    @stat@ -f "$f" "$path" || status=1
  fi
done
exit "$status"
