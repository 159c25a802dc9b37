#!/bin/sh
echo "2: eno1    inet $LAB_IP/24 brd + scope global eno1"
