#!/bin/sh
# The tests of the shell scripts with Debian's second busybox, which is smaller and runs its own programs before those of
# PATH; it is unpacked into .cache, not installed.
set -eu
cd "$(dirname "$0")/.."
bin=.cache/busybox-static/bin
if [ ! -x "$bin/busybox" ]; then
  rm -rf .cache/busybox-static
  mkdir -p .cache/busybox-static
  (cd .cache/busybox-static && apt-get download -qq -o APT::Sandbox::User=root busybox-static && dpkg -x busybox-static_*.deb .)
fi
PATH=$PWD/$bin:$PATH exec make test ARGS="tests/commands tests/transport tests/guard -k 'busybox'"
