#!/bin/sh
echo "$LAB_USER"
