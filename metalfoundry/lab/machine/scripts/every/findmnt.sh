#!/bin/sh
exec @cat@ "$LAB_ROOT/.root"
