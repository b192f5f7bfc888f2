#!/bin/sh
set -e
cp "$1" "$1.bak"
