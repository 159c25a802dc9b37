#!/bin/sh
[ ! -e "$LAB_ROOT/.no-grpc" ]
