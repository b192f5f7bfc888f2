#!/bin/sh
set -eu
[ -f "$1" ] || { echo "no such file: $1" >&2; exit 1; }
cp -- "$1" "$1.bak"
