#!/usr/bin/env bash
# The pictures of README and docs, and the log of a run in plain lines, from two real runs.
#   scripts/pictures.sh [--set KEY=VALUE ...]    needs chromium
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
star-mlx loop --task arithmetic "$@" --plain >"$project/docs/plain.log"
star-mlx loop --task arithmetic "$@" --no-rationalize --plain >/dev/null
python "$project/scripts/screen.py" runs/arithmetic-001 "$project/docs/screen.svg"
star-mlx report runs/arithmetic-001 runs/arithmetic-002 --out report
chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,1750 \
  --screenshot="$project/docs/report.png" "file://$place/report/index.html" 2>/dev/null
cp report/charts/classes.png "$project/docs/with-without.png"
