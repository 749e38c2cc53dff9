#!/usr/bin/env bash
# Everything that needs a GPU, in one command and under nine minutes: builds for the GPU at hand, runs the GPU tests, compute-sanitizer over
# the table of ops and a captured step, the benches of kernels and of the step beside cuDNN, cuBLAS and PyTorch, and trains twice to compare
# the bits. Needs no network. Ends with a table of what was done; a stage that was not run, or not to its end, says so, and no number stands
# for it.
#   bench/gpu_check.sh [--skip stage,...] [--only stage,...] [--budget seconds] [--jobs n] [--build folder] [--out folder]
# Stages: build tests memcheck racecheck initcheck kernels points step_graph step_eager step_tf32 replicas identity peer_step peer_loss
# Results: bench/results/<gpu>-<date>.json and .md. PYTHON names a Python with PyTorch. Exit code 0, 1 when a stage failed, 3 without a GPU.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
budget=530 jobs=$(nproc) skip="" only="" build=$root/build/gpu results=$root/bench/results
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --skip | --only | --budget | --jobs | --build | --out)
      [ $# -ge 2 ] || { echo "gpu_check.sh: $1 needs a value; --help tells" >&2; exit 2; } ;;&
    --skip) skip=$2 ;;
    --only) only=$2 ;;
    --budget) budget=$2 ;;
    --jobs) jobs=$2 ;;
    --build) build=$2 ;;
    --out) results=$2 ;;
    *) echo "gpu_check.sh: unknown argument '$1'; --help lists them" >&2; exit 2 ;;
  esac
  shift 2
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
out=$results/$slug-$(date +%F)
logs=$build/gpu_check
mkdir -p "$logs" "$results" || exit 2
rm -f "$logs"/*.log "$logs"/*.json "$logs/stages.tsv"

started=$SECONDS
failed=0 last=""

# stage <name> <most seconds> <command...>: runs it within what is left of the budget; its output goes to a log. 125: not to be had here.
stage() {
  local stage=$1 most=$2 state code begin=$SECONDS left=$((budget - (SECONDS - started)))
  shift 2
  if [[ ",$skip," == *",$stage,"* ]] || { [ -n "$only" ] && [[ ",$only," != *",$stage,"* ]]; }; then
    state=skipped
  elif [ "$left" -lt 5 ]; then
    state="not run: the time was up"
  else
    timeout --kill-after=5 $((most < left ? most : left)) "$@" > "$logs/$stage.log" 2>&1
    code=$?
    case $code in
      0) state=passed ;;
      124 | 137) state="cut off after $((SECONDS - begin)) s" ;;
      125) state="not available" ;;
      *) state=FAILED failed=1 ;;
    esac
  fi
  printf '%s\t%s\t%d\t%s\n' "$stage" "$state" $((SECONDS - begin)) \
    "$(grep -hE 'ERROR SUMMARY|tests passed|tests failed|assertions|identical|not available' "$logs/$stage.log" 2> /dev/null | tail -n 1 | tr -d '\t')" >> "$logs/stages.tsv"
  echo "gpu_check: $stage: $state ($((SECONDS - begin)) s)"
  if [ "$state" = FAILED ]; then
    echo "--- end of $logs/$stage.log"
    tail -n 25 "$logs/$stage.log"
  fi
  last=$state
}

build_stage() {
  cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DRETORT_CUDA=ON -DRETORT_CUDA_ARCHITECTURES="$arch" \
    -DRETORT_SIM=OFF -DRETORT_TESTS=ON -DRETORT_BENCH=ON && ninja -C "$build" -j "$jobs" gpu_tests retort bench/all
}

tests_stage() {
  if [ -z "$prebuilt" ]; then
    ctest --test-dir "$build" -L gpu --no-tests=error --output-on-failure
    return
  fi
  local test code=0 # what ctest needs (paths, Catch2) need not be where a build was brought to
  for test in "$build"/*_cuda_*_test "$build"/*_vendor_test; do "$test" || code=1; done
  return $code
}

sanitizer() { # <tool>: our own kernels, not those of NVIDIA's libraries
  local checker
  checker=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null) || { echo "compute-sanitizer: not available"; return 125; }
  if "$checker" --tool "$1" "$build/kernels_cuda_ops_test" "memory that the GPU*" 2>&1 | grep -q 'Device not supported'; then
    echo "compute-sanitizer: not available for this device (a sandbox, perhaps)"
    return 125
  fi
  RETORT_IMPL=cuda "$checker" --tool "$1" --error-exitcode 1 "$build/kernels_cuda_ops_test" "every CUDA kernel*" &&
    "$checker" --tool "$1" --error-exitcode 1 "$build/core_cuda_graph_test" "*replayed step*,*memory of a captured step*"
}

# A bench of ours: 125 when the build has it not, or not with this option (there was no Google Benchmark, or a switch is of a later version).
bench() { # <program> <option it must know> <arguments...>
  local program=$build/$1 option=$2
  shift 2
  local help=""
  if [ -x "$program" ]; then help=$("$program" --help) || return 1; fi # it does not even start: a library is missing
  if ! grep -q -e "$option" <<< "$help"; then
    echo "$program with $option: not available"
    return 125
  fi
  "$program" --device cuda "$@"
}

identity_stage() {
  local work=$logs/identity retort=$build/retort run extra
  rm -rf "$work" && mkdir -p "$work" || return 1
  "$retort" data synth --dataset wisdm --out "$work/raw" --subjects 6 --seconds 60 &&
    "$retort" data prepare --dataset wisdm --raw "$work/raw" --out "$work/data.safetensors" || return 1
  for run in a b eager; do
    extra=() && [ "$run" = eager ] && extra=(--no-graph)
    "$retort" train --device cuda --data "$work/data.safetensors" --out "$work/$run" --epochs 3 --max-steps 200 "${extra[@]}" || return 1
  done
  cmp "$work/a/last.safetensors" "$work/b/last.safetensors" && cmp "$work/a/last.safetensors" "$work/eager/last.safetensors" &&
    echo "two trainings by graph and one without: identical weights, bit for bit"
}

peer() { # <step or loss> <arguments...>
  "${PYTHON:-python3}" "$root/bench/peers/torch_gpu.py" "$@" # 125 without PyTorch, or when it sees no GPU
}
export -f build_stage tests_stage sanitizer bench identity_stage peer
prebuilt="" && [[ ",$skip," == *,build,* ]] && prebuilt=yes
export root build jobs arch logs prebuilt
export RETORT_REQUIRE_GPU=1 # a test that finds no GPU fails instead of being skipped
export RETORT_GOLDEN_DIR=$root/tests/golden # a build brought from elsewhere has the path of where it was made
if [ -n "$prebuilt" ]; then # libraries brought with it in lib/, and cuDNN and cuBLAS where PyTorch has its own
  packages=$("${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2> /dev/null)
  export LD_LIBRARY_PATH=$build/lib:$(printf '%s:' "$packages"/nvidia/*/lib)${LD_LIBRARY_PATH:-}
fi

# Without a build there is nothing to run; one from an earlier call serves when the stage is skipped.
stage build 240 bash -c build_stage
if [[ $last == passed || $last == skipped ]] && [ -x "$build/kernels_cuda_ops_test" ]; then
  stage tests 150 bash -c tests_stage
  stage kernels 120 bash -c "bench bench_kernels_ops --device --seconds 0.01 --repetitions 5 --filter '^(conv2d|linear|matmul|batch_norm|max_pool|log_softmax)' --json '$logs/kernels.json'"
  stage points 40 bash -c "bench bench_kernels_gpu_points --device --json '$logs/points.json'"
  stage step_graph 25 bash -c "bench bench_step_step --no-graph --warm-up 2000 --steps 1000 --json '$logs/step_graph.json'"
  stage step_eager 25 bash -c "bench bench_step_step --no-graph --no-graph --warm-up 2000 --steps 1000 --json '$logs/step_eager.json'"
  stage step_tf32 25 bash -c "bench bench_step_step --tf32 --tf32 --warm-up 2000 --steps 1000 --json '$logs/step_tf32.json'"
  stage replicas 40 bash -c "bench bench_step_step --replicas --replicas 16 --warm-up 500 --steps 500 --rounds 5 --json '$logs/replicas.json'"
  stage identity 40 bash -c identity_stage
  stage peer_step 120 bash -c "peer step --json '$logs/peer_step.json'"
  stage peer_loss 40 bash -c "peer loss --json '$logs/peer_loss.json'"
  stage memcheck 120 bash -c 'sanitizer memcheck'
  stage racecheck 120 bash -c 'sanitizer racecheck'
  stage initcheck 120 bash -c 'sanitizer initcheck'
else
  failed=1 # nothing was tested
fi

python3 "$root/bench/gpu_table.py" --logs "$logs" --out "$out" --gpu "$name" --capability "$capability" --driver "$driver" \
  --nvcc "$("${CUDACXX:-nvcc}" --version 2> /dev/null | grep -o 'V[0-9.]*$')" \
  --commit "$(git -C "$root" describe --always --dirty 2> /dev/null || echo unknown)" || exit 1
exit $failed
