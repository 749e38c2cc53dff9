#!/usr/bin/env bash
# Everything that needs a GPU, in one command: builds for the GPU at hand, runs the GPU tests, compute-sanitizer's memcheck, racecheck and
# initcheck over the table of ops, and the step bench beside PyTorch. Needs no network. Ends with a table of what was done; a stage that was not
# run, or not to its end, says so, and no number stands for it.
#   bench/gpu_check.sh [--skip stage,...] [--budget seconds] [--jobs n] [--build folder]
# Stages: build tests memcheck racecheck initcheck step peer. Results: bench/results/<gpu>-<date>.json and .md.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
budget=530 jobs=$(nproc) skip="" build=$root/build/gpu
while [ $# -gt 0 ]; do
  case $1 in
    --skip) skip=$2; shift 2 ;;
    --budget) budget=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "gpu_check.sh: unknown argument '$1'; --help lists them" >&2; exit 2 ;;
  esac
done

gpu=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2> /dev/null | head -n 1) || true
if [ -z "$gpu" ]; then
  echo "gpu_check.sh: nvidia-smi shows no GPU; nothing was measured" >&2
  exit 3
fi
IFS=, read -r name capability driver <<< "$gpu"
capability=$(tr -d ' ' <<< "$capability") driver=$(tr -d ' ' <<< "$driver")
arch=${capability/./}
slug=$(tr '[:upper:] ' '[:lower:]-' <<< "$name" | tr -cd 'a-z0-9-')
out=$root/bench/results/$slug-$(date +%F)
logs=$build/gpu_check
mkdir -p "$logs" "$root/bench/results"
commit=$(git -C "$root" rev-parse --short HEAD 2> /dev/null || echo unknown)

stages=() states=() seconds=() notes=()
started=$SECONDS

# stage <name> <most seconds> <command...>: runs it within what is left of the budget; its output goes to a log.
stage() {
  local stage=$1 most=$2 state begin left
  shift 2
  stages+=("$stage")
  left=$((budget - (SECONDS - started)))
  begin=$SECONDS
  if [[ ",$skip," == *",$stage,"* ]]; then
    state=skipped
  elif [ "$left" -lt 5 ]; then
    state="not run: the time was up"
  else
    timeout --kill-after=5 $((most < left ? most : left)) "$@" > "$logs/$stage.log" 2>&1
    case $? in
      0) state=passed ;;
      124 | 137) state="cut off after $((SECONDS - begin)) s" ;;
      125) state="not available" ;;
      *) state=FAILED ;;
    esac
  fi
  states+=("$state") seconds+=($((SECONDS - begin)))
  notes+=("$([ -f "$logs/$stage.log" ] && grep -E 'ERROR SUMMARY|tests passed|tests failed|assertions' "$logs/$stage.log" | tail -n 1 | tr -d '|"\\')")
  echo "gpu_check: $stage: $state (${seconds[-1]} s)"
  [ "$state" = passed ]
}

build_stage() {
  cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DRETORT_CUDA=ON -DRETORT_CUDA_ARCHITECTURES="$arch" \
    -DRETORT_SIM=OFF -DRETORT_TESTS=ON -DRETORT_BENCH="$1" && ninja -C "$build" -j "$jobs" kernels_cuda_ops_test &&
    { [ "$1" = OFF ] || ninja -C "$build" -j "$jobs" bench_step_step; }
}

sanitizer() {  # <tool> [its options]
  local checker
  checker=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null) || return 125
  "$checker" --tool "$@" --error-exitcode 1 "$build/kernels_cuda_ops_test" "every CUDA kernel*"
}

# The step bench, once it runs on a GPU (its --help knows --device).
step_stage() {
  local bench=$build/bench_step_step
  [ -x "$bench" ] && "$bench" --help | grep -q -- --device || return 125
  "$bench" --device cuda --json "$logs/step.json"
}

peer_stage() {
  local python=${PYTHON:-python3}
  "$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2> /dev/null || return 125
  "$python" "$root/bench/peers/torch_step.py" --device cuda --json "$logs/peer.json"
}
export -f build_stage sanitizer step_stage peer_stage
export root build jobs arch logs
export RETORT_REQUIRE_GPU=1 # a test that finds no GPU fails instead of being skipped

rm -f "$logs"/*.log "$logs"/*.json
have_bench=OFF
[ -f /usr/include/benchmark/benchmark.h ] && have_bench=ON
if stage build 300 bash -c "build_stage $have_bench"; then
  stage tests 120 ctest --test-dir "$build" -L gpu --output-on-failure
  stage memcheck 120 bash -c 'sanitizer memcheck'
  stage racecheck 120 bash -c 'sanitizer racecheck'
  stage initcheck 120 bash -c 'sanitizer initcheck'
  stage step 60 bash -c step_stage
  stage peer 60 bash -c peer_stage
fi

{
  printf '{\n  "gpu": "%s", "compute_capability": "%s", "driver": "%s",\n  "nvcc": "%s", "date": "%s", "commit": "%s",\n  "stages": {\n' \
    "$name" "$capability" "$driver" "$(nvcc --version 2> /dev/null | grep -o 'V[0-9.]*$')" "$(date -u +%FT%TZ)" "$commit"
  for i in "${!stages[@]}"; do
    printf '    "%s": {"state": "%s", "seconds": %d}%s\n' "${stages[$i]}" "${states[$i]}" "${seconds[$i]}" \
      "$([ "$i" -lt $((${#stages[@]} - 1)) ] && echo ,)"
  done
  printf '  },\n  "step": %s,\n  "peer": %s\n}\n' "$(cat "$logs/step.json" 2> /dev/null || echo null)" "$(cat "$logs/peer.json" 2> /dev/null || echo null)"
} > "$out.json"
{
  printf '# %s, compute capability %s, driver %s\n\n%s, commit %s\n\n' "$name" "$capability" "$driver" "$(date +%F)" "$commit"
  printf '| stage | result | seconds | |\n|---|---|---:|---|\n'
  for i in "${!stages[@]}"; do printf '| %s | %s | %d | %s |\n' "${stages[$i]}" "${states[$i]}" "${seconds[$i]}" "${notes[$i]}"; done
  for part in step peer; do
    printf '\n## %s\n\n' "$part"
    if [ -s "$logs/$part.json" ]; then printf '```json\n%s\n```\n' "$(cat "$logs/$part.json")"; else echo "not measured"; fi
  done
} > "$out.md"
for i in "${!states[@]}"; do
  [ "${states[$i]}" != FAILED ] || { echo "--- end of $logs/${stages[$i]}.log"; tail -n 25 "$logs/${stages[$i]}.log"; }
done
echo "--- $out.json, $out.md"
cat "$out.md"
for state in "${states[@]}"; do [ "$state" != FAILED ] || exit 1; done
