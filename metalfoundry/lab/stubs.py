"""The programs on a machine's PATH: small sh scripts that show the machine's own files instead of this computer's.

They know from the environment: LAB_ROOT (the running system's files), LAB_CONTROL (a pipe to the machine),
LAB_USER, LAB_IP, LAB_KERNEL. Absolute paths in their arguments are taken below LAB_ROOT.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from metalfoundry.lab.pace import LabError
from metalfoundry.lab.systems import Kind

_HEAD = "#!/bin/sh\n"
# Every absolute path becomes one below LAB_ROOT; /proc/uptime is made when it is read.
_MAP = """\
n=$#
while [ "$n" -gt 0 ]; do
  a=$1; shift; n=$((n - 1))
  case $a in
  /proc/uptime)
    read -r booted <"$LAB_ROOT/.booted"
    up=$(( $({date} +%s) - booted ))
    printf '%s.00 %s.00\\n' "$up" "$up" >"$LAB_ROOT/proc/uptime"
    a=$LAB_ROOT$a ;;
  /dev/null | /dev/std*) ;;
  /*) {condition}a=$LAB_ROOT$a ;;
  esac
  set -- "$@" "$a"
done
exec {program} "$@"
"""
_ALWAYS, _IF_THERE = "", '[ -e "$LAB_ROOT$a" ] && '
_FILTERS = ("grep", "head", "tail", "wc", "sed", "awk", "cut", "sort", "md5sum", "sha256sum")
_MAPPED = {
    **dict.fromkeys(("cat", "ls", "stat", "test", "readlink", "find"), _ALWAYS),
    **dict.fromkeys(_FILTERS, _IF_THERE),
}
_PLAIN = (
    "sh",
    "date",
    "sleep",
    "tr",
    "uniq",
    "env",
    "true",
    "false",
    "printf",
    "echo",
    "basename",
    "dirname",
    "expr",
    "timeout",
)
_STAT_BSD = """\
case $1 in
-c | --format) f=$({sed} -e 's/%Y/%m/g;s/%s/%z/g;s/%n/%N/g;s/%a/%Lp/g;s/%U/%Su/g;s/%G/%Sg/g' <<EOF
$2
EOF
); shift 2; set -- -f "$f" "$@" ;;
esac
"""
_REBOOT = """\
case " $* " in *" --help "*) echo "usage: reboot [-f]"; exit 0 ;; esac
[ "$LAB_USER" = root ] || { echo "Call to Reboot failed: Interactive authentication required." >&2; exit 1; }
[ -e "$LAB_ROOT/.no-reboot" ] && { echo "Failed to set wall message, ignoring: reboot is refused" >&2; exit 1; }
echo reboot >"$LAB_CONTROL"
"""
_OWN = {
    "hostname": 'read -r name <"$LAB_ROOT/etc/hostname"; [ "$1" = -I ] && name=$LAB_IP; echo "$name"\n',
    "uname": """\
read -r name <"$LAB_ROOT/etc/hostname"
case $1 in
-n) echo "$name" ;; -r) echo "$LAB_KERNEL" ;; -m) echo x86_64 ;; -a) echo "Linux $name $LAB_KERNEL x86_64 GNU/Linux" ;;
*) echo Linux ;;
esac
""",
    "uptime": """\
read -r booted <"$LAB_ROOT/.booted"
case $1 in
-s) {date} -u -d "@$booted" '+%F %T' 2>/dev/null || {date} -u -r "$booted" '+%F %T' ;;
*) echo " up $(( ($({date} +%s) - booted) / 60 )) min, 1 user, load average: 0.00, 0.00, 0.00" ;;
esac
""",
    "id": """\
uid=0; [ "$LAB_USER" = root ] || uid=1000
case $1 in -u) echo "$uid" ;; -un) echo "$LAB_USER" ;; *) echo "uid=$uid($LAB_USER) gid=$uid($LAB_USER)" ;; esac
""",
    "whoami": 'echo "$LAB_USER"\n',
    "reboot": _REBOOT,
    "ip": 'echo "2: eno1    inet $LAB_IP/24 brd + scope global eno1"\n',
    "dmesg": "exit 0\n",
}
_SYSTEMD = {
    "systemctl": """\
for a do
  case $a in reboot) exec "$0-reboot" ;; is-system-running) echo running; exit 0 ;; esac
done
exit 0
""",
    "systemctl-reboot": _REBOOT,
    "shutdown": 'case $1 in -r) shift; exec "${0%shutdown}reboot" ;; esac; exit 1\n',
    "sudo": """\
while :; do case $1 in -n | -E | -H | --) shift ;; -u) shift 2 ;; *) break ;; esac; done
LAB_USER=root; export LAB_USER; exec "$@"
""",
    "cloud-init": """\
[ "$1" = status ] || exit 0
read -r said <"$LAB_ROOT/.cloud-init" || said=
[ -n "$said" ] || { echo "cloud-init: not found" >&2; exit 127; }
case " $* " in
*json*) printf '{"status": "%s", "extended_status": "%s", "errors": []}\\n' "$said" "$said" ;;
*) echo "status: $said" ;;
esac
[ "$said" = error ] && exit 1
exit 0
""",
    "efibootmgr": """\
case $1 in
-n) echo "bootnext $2" >"$LAB_CONTROL"; echo "BootNext: $2" ;;
esac
printf 'BootCurrent: 0001\\nBootOrder: 0003,0001\\nBoot0001* ubuntu\\nBoot0003* Network: IPv4 eno1\\n'
""",
}
# In HookOS docker lives inside hook-docker: it is reached through nerdctl or ctr, never directly.
_HOOK = {
    "nerdctl": """\
while :; do case $1 in -n | --namespace) shift 2 ;; *) break ;; esac; done
[ "$1" = exec ] || { echo "nerdctl: unknown command $1" >&2; exit 1; }
shift
case $1 in -*t*) echo 'level=fatal msg="provided file is not a console"' >&2; exit 1 ;; esac
[ "$1" = hook-docker ] || { echo "no such container $1" >&2; exit 1; }
shift; exec "${0%/*}/inside/$@"
""",
    "ctr": """\
while [ $# -gt 0 ] && [ "$1" != hook-docker ]; do shift; done
[ $# -gt 1 ] || { echo "ctr: container not found" >&2; exit 1; }
shift; exec "${0%/*}/inside/$@"
""",
    "nc": '[ ! -e "$LAB_ROOT/.no-grpc" ]\n',
    "nslookup": "exit 0\n",
    "df": """\
echo 'Filesystem     1024-blocks    Used Available Capacity Mounted on'
if [ -e "$LAB_ROOT/.full" ]; then echo 'tmpfs              1048576 1048500        76     100% /'
else echo 'tmpfs             24717232 1153024  23564208       5% /'; fi
""",
    "nsenter": 'while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done; shift; exec "$@"\n',
    "inside/docker": """\
log=$LAB_ROOT/.tink-worker.log
case $1 in
logs)
  shift; lines= follow=
  for a do
    case $a in
    -f | --follow) follow=-f ;;
    --tail=*) lines=${a#--tail=} ;; --tail | -n) lines=next ;; *) [ "$lines" = next ] && lines=$a ;; esac
  done
  [ -e "$log" ] || { echo 'Error response from daemon: No such container: tink-worker' >&2; exit 1; }
  case $lines in "" | all) exec {tail} $follow -n +1 "$log" ;; *) exec {tail} $follow -n "$lines" "$log" ;; esac ;;
ps)
  case " $* " in *" --format "*) [ -e "$LAB_ROOT/.containers" ] && exec {cat} "$LAB_ROOT/.containers"; exit 0 ;; esac
  echo 'CONTAINER ID   IMAGE                                   COMMAND       STATUS         NAMES'
  [ -e "$log" ] && echo '6f1c0ffee001   ghcr.io/tinkerbell/tink-agent:v0.21.0   "tink-agent"  Up 2 min   tink-worker'
  exit 0 ;;
esac
echo "docker: '$1' is not known here" >&2; exit 1
""",
}


def write_stubs(folder: Path, kind: Kind) -> Path:
    """Write the programs of a system of that kind into `folder`, made anew, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "inside").mkdir(parents=True)
    tools = {name: _real(name) for name in ("date", "sed", "cat", "tail")}
    bsd = not Path("/proc/self").exists()
    for name, condition in _MAPPED.items():
        real = shutil.which(name)
        if real:
            before = _STAT_BSD.replace("{sed}", tools["sed"]) if bsd and name == "stat" else ""
            body = _MAP.replace("{date}", tools["date"]).replace("{condition}", condition).replace("{program}", real)
            _put(folder / name, before + body)
    for name in _PLAIN:
        real = shutil.which(name)
        if real:
            (folder / name).symlink_to(real)
    for name, body in _own(kind):
        for tool, real in tools.items():
            body = body.replace("{" + tool + "}", real)
        _put(folder / name, body)
    return folder


def _own(kind: Kind) -> Iterable[tuple[str, str]]:
    return (_OWN | (_HOOK if kind is Kind.HOOK else _SYSTEMD)).items()


def _real(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LabError(f"the lab needs the program {name!r} on PATH")
    return found


def _put(path: Path, body: str) -> None:
    path.write_text(_HEAD + body, encoding="utf-8")
    path.chmod(0o755)
