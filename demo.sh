#!/usr/bin/env bash
# From a fresh clone to a results page: installs what is missing, builds, makes a synthetic Sleep data set, trains multi-task
# learning and Smooth-Distill on it, prints the table and writes the report. A few minutes on two cores, most of them the build.
#   RETORT_DEMO_SUBJECTS=12 RETORT_DEMO_SECONDS=24 RETORT_DEMO_EPOCHS=20 ./demo.sh     (the defaults; results in build/demo)
set -euo pipefail
cd "$(dirname "$0")"

case "${1:-}" in
  "") ;;
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "demo.sh: unknown option '$1' (known: --help)" >&2; exit 2 ;;
esac

./setup.sh
echo "== build"
cmake --preset release >/dev/null
cmake --build --preset release --target retort -j "$(nproc)"

retort=build/release/retort
demo=build/demo
rm -rf "$demo"
mkdir -p "$demo"

echo "== data (synthetic: generated, nobody wore a sensor)"
"$retort" data synth --dataset sleep --out "$demo/raw" --subjects "${RETORT_DEMO_SUBJECTS:-12}" --seconds "${RETORT_DEMO_SECONDS:-24}" --seed 1
"$retort" data prepare --dataset sleep --raw "$demo/raw" --out "$demo/sleep.safetensors"

for method in multi-task smooth-distill; do
  echo "== train: $method"
  "$retort" train --data "$demo/sleep.safetensors" --out "$demo/$method" --method "$method" --epochs "${RETORT_DEMO_EPOCHS:-20}" --seed 1
done

echo "== results"
"$retort" report "$demo/multi-task" "$demo/smooth-distill"
