#!/bin/sh
# What stands around a machine in the installer: its containers, its agent's and bootkit's logs, disk, network.
# Only reading. The functions are called by the parts of a script; a part fails where this is not the installer.
# shellcheck disable=SC2002,SC2317  # a missing file is the program's matter, not a redirection's
installer() {
  cat /host_root/etc/os-release /etc/os-release 2>/dev/null | grep -qiE '^ID="?(hookos|captainos)' && return 0
  cat /proc/cmdline 2>/dev/null | grep -q 'grpc_authority=' && return 0
  echo "this machine is not in the installer" >&2
  return 3
}
# docker runs inside the container hook-docker: nerdctl gets there (Hook 0.9 and later), ctr (before), either of them
# from within an sshd container, or docker itself where this is hook-docker. Never with a terminal. A docker that
# answers "no such container" was reached: the other ways would find none, either.
in_docker() {
  first=
  for way in nerdctl ctr outer_nerdctl outer_ctr docker; do
    if text=$("by_$way" "$@" 2>&1); then
      printf '%s\n' "$text"
      return 0
    fi
    case $text in *'No such container'*) first=$text && break ;; esac
    [ -n "$first" ] || first=$text
  done
  printf '%s\n' "$first" >&2
  return 1
}
by_nerdctl() {
  nerdctl -n services.linuxkit exec hook-docker docker "$@"
}
by_ctr() {
  ctr -n services.linuxkit tasks exec --exec-id "metalfoundry-$$-$1" hook-docker docker "$@"
}
by_outer_nerdctl() {
  nsenter -t 1 -m -- nerdctl -n services.linuxkit exec hook-docker docker "$@"
}
by_outer_ctr() {
  nsenter -t 1 -m -- ctr -n services.linuxkit tasks exec --exec-id "metalfoundry-$$-$1" hook-docker docker "$@"
}
by_docker() {
  docker "$@"
}
# CaptainOS has neither docker nor hook-docker: its agent is a systemd unit.
agent_log() {
  installer || return
  if text=$(in_docker logs tink-worker "--tail=$1" 2>&1); then
    printf '%s\n' "$text"
    return 0
  fi
  case $text in *'No such container'*) ;; *)
    if command -v journalctl >/dev/null 2>&1; then
      journalctl -u tink-agent -u tink-agent-setup --no-pager -o cat -n "$1"
      return
    fi
    ;;
  esac
  printf '%s\n' "$text" >&2
  return 1
}
# The first way that gets through is taken for good: `ps` tells which one does.
follow_agent() {
  installer || return
  for way in nerdctl ctr outer_nerdctl outer_ctr docker; do
    "by_$way" ps >/dev/null 2>&1 || continue
    "by_$way" logs tink-worker "--tail=$1" -f 2>&1
    return
  done
  journalctl -u tink-agent -u tink-agent-setup --no-pager -o cat -n "$1" -f
}
bootkit_log() {
  installer || return
  for file in /host_root/var/log/hook-bootkit.log /var/log/hook-bootkit.log; do
    tail -n "$1" "$file" 2>/dev/null && return 0
  done
  echo "there is no hook-bootkit.log" >&2
  return 1
}
containers() {
  installer || return
  in_docker ps -a --format '{{.Names}}\t{{.Status}}\t{{.Image}}' && return 0
  nerdctl -n tinkerbell ps -a --format '{{.Names}}\t{{.Status}}\t{{.Image}}'
}
argument() {
  cat /proc/cmdline | tr ' ' '\n' | sed -n "s/^$1=//p" | tail -n 1
}
within() {
  if command -v timeout >/dev/null 2>&1; then
    timeout "$@"
  else
    shift
    "$@"
  fi
}
port() {
  [ -n "$1" ] && [ -n "$2" ] && command -v nc >/dev/null 2>&1 || return 0
  if text=$(within 2 nc -z -w 1 "$1" "$2" 2>&1 </dev/null); then
    echo grpc=yes
  else
    case $text in *sage:* | *'invalid option'* | *unrecognized*) ;; *) echo grpc=no ;; esac
  fi
}
around() {
  df -Pk / 2>/dev/null | sed -n '2s/^.* \([0-9][0-9]*\)  *[0-9]*% .*$/disk_free_kib=\1/p'
  ip -o addr show scope global 2>/dev/null | sed -n 's/^[0-9]*: *\([^ ]*\) .*inet6* \([^ /]*\).*/address=\2/p'
  command -v ip >/dev/null 2>&1 && echo addresses=read
  installer 2>/dev/null || return 0
  authority=$(argument grpc_authority)
  port "${authority%:*}" "${authority##*:}"
}
