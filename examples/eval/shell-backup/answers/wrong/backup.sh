#!/bin/sh
cp "$1" "$1.bak" || true
