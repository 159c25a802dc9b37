#!/bin/sh
case " $* " in *" --help "*) echo "usage: reboot [-f]"; exit 0 ;; esac
[ "$LAB_USER" = root ] || { echo "Call to Reboot failed: Interactive authentication required." >&2; exit 1; }
[ -e "$LAB_ROOT/.no-reboot" ] && { echo "Failed to set wall message, ignoring: reboot is refused" >&2; exit 1; }
echo reboot >"$LAB_CONTROL"
