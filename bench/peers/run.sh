#!/usr/bin/env bash
# Times training steps of Retort and PyTorch, taking turns: every PyTorch it finds is first tried in each set-up (defaults; tuned; tuned
# with tcmalloc; torch.compile), and the fastest one is the peer. Prints medians, spread and ratios; writes one JSON file a comparison.
#   bench/peers/run.sh [--build DIR] [--out DIR] [--threads N] [--steps N] [--rounds N] [--forms "F..."] [--methods "M..."]
#                      [--pythons "P..."] [--prefix "CMD"]
# --prefix is put before each measurement, e.g. "taskset -c 0,1". For the newest PyTorch, in a directory that git ignores:
#   python3 -m venv build/peers/venv && build/peers/venv/bin/pip install torch numpy
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/release out=$root/build/peers/results threads=$(nproc) steps=100 rounds=3 prefix=
forms="mtl-net mtl-net-released mtl-net-paper" methods="smooth-distill"
pythons="$root/build/peers/venv/bin/python /usr/bin/python3"
while [ $# -gt 0 ]; do
  case $1 in
    --build | --out | --threads | --steps | --rounds | --forms | --methods | --pythons | --prefix)
      [ $# -gt 1 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
step=$build/bench_step_step peer=$root/bench/peers/torch_step.py
[ -x "$step" ] || { echo "run.sh: no $step; build it: cmake --build --preset release --target bench_step_step" >&2; exit 2; }
mkdir -p "$out"

field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
tcmalloc=$(ldconfig -p | awk '/libtcmalloc_minimal\.so/ && !found++ { print $NF }')
set_ups() {
  echo "default||"
  echo "tuned||--tuned"
  if [ -n "$tcmalloc" ]; then echo "tuned, tcmalloc|env LD_PRELOAD=$tcmalloc|--tuned"; fi
  if "$1" -c 'import torch; raise SystemExit(not hasattr(torch.nn.Module, "compile"))'; then
    echo "tuned, compiled||--tuned --compile"
    if [ -n "$tcmalloc" ]; then echo "tuned, compiled, tcmalloc|env LD_PRELOAD=$tcmalloc|--tuned --compile"; fi
  fi
}

trial=$(mktemp)
trap 'rm -f "$trial"' EXIT
found=
for python in $pythons; do
  "$python" -c 'import torch' 2> /dev/null || { echo "no PyTorch in $python"; continue; }
  found=yes best= best_ms=
  version=$("$python" -c 'import torch; print(torch.__version__)')
  while IFS='|' read -r name environment flags; do
    # shellcheck disable=SC2086
    if $prefix $environment "$python" "$peer" $flags --threads "$threads" --steps 60 --json "$trial" > /dev/null 2> "$trial.log"; then
      ms=$(field "$trial" median_ms)
      printf 'PyTorch %s, %-26s median %6.2f ms\n' "$version" "$name" "$ms"
      if [ -z "$best_ms" ] || python3 -c "raise SystemExit(not $ms < $best_ms)"; then best_ms=$ms best="$environment $python $peer $flags" best_name=$name; fi
    else
      printf 'PyTorch %s, %-26s does not run: %s\n' "$version" "$name" "$(tail -n 1 "$trial.log")"
    fi
    rm -f "$trial.log"
  done < <(set_ups "$python")
  for form in $forms; do
    for method in $methods; do
      echo "== PyTorch $version ($best_name), $method, $form"
      json=$out/step-$method-$form-$threads-torch$version.json
      # shellcheck disable=SC2086
      $prefix "$step" --form "$form" --method "$method" --threads "$threads" --steps "$steps" --rounds "$rounds" --peer "${best# }" --json "$json"
      python3 - "$json" "$best_name" << 'PY'
import json, sys
path, name = sys.argv[1:]
result = json.load(open(path))
result["peer"]["set_up"] = name
for key in ("libraries",):
    result["peer"].pop(key, None)
json.dump(result, open(path, "w"), indent=1)
PY
    done
  done
done
[ -n "$found" ] || { echo "run.sh: no PyTorch found in: $pythons" >&2; exit 2; }
echo "results: $out"
