#!/usr/bin/env bash
# Where the CPU of a step goes, on servers of its own: bench/profile.sh [--call]. SORT=tottime, W=characters of a statement.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python -m bench --profile "$@"
