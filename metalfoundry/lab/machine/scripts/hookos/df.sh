#!/bin/sh
echo 'Filesystem     1024-blocks    Used Available Capacity Mounted on'
if [ -e "$LAB_ROOT/.full" ]; then echo 'tmpfs              1048576 1048500        76     100% /'
else echo 'tmpfs             24717232 1153024  23564208       5% /'; fi
