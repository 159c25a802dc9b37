#!/bin/sh
for a do
  case $a in reboot) exec "${0%systemctl}reboot" ;; is-system-running) echo running; exit 0 ;; esac
done
exit 0
