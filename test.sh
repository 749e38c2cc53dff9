#!/usr/bin/env bash
# Installs what is missing, builds everything with warnings as errors, runs all tests: optimised, then under AddressSanitizer and
# UndefinedBehaviorSanitizer. Where there is nvcc, also compiles the CUDA backend, links the command and the GPU tests with it, and writes
# what the assembler says of every kernel to build/ptxas.txt; that needs no GPU. Exits non-zero when anything fails.
#   ./test.sh --quick   the optimised build only
set -euo pipefail
cd "$(dirname "$0")"

presets=(release asan)
case "${1:-}" in
  "") ;;
  --quick) presets=(release) ;;
  -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "test.sh: unknown option '$1' (known: --quick, --help)" >&2; exit 2 ;;
esac

./setup.sh
jobs=$(nproc)
export CCACHE_NOHASHDIR=1 # where there is ccache: debug information that names another clone's folder serves here
mkdir -p build
for preset in "${presets[@]}"; do
  echo "== $preset: build"
  cmake --preset "$preset" -DRETORT_WERROR=ON -DRETORT_TESTS=ON >"build/configure-$preset.log" 2>&1 ||
    { cat "build/configure-$preset.log" >&2; exit 1; }
  cmake --build --preset "$preset" -j "$jobs"
done

# One architecture, and host code that nothing runs for long without optimisation: a minute or two.
failed=()
cuda_stage() {
  local nvcc
  nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
  if [ ! -x "$nvcc" ]; then
    echo "== cuda: skipped, there is no nvcc"
    return
  fi
  echo "== cuda: build for sm_90"
  export CUDACXX=$nvcc
  cmake --preset cuda -B build/cuda-ci -DRETORT_WERROR=ON -DRETORT_TESTS=ON -DRETORT_BENCH=OFF -DRETORT_SIM=OFF -DRETORT_SIMD=OFF -DRETORT_CUDA_ARCHITECTURES=90 \
    -DCMAKE_CXX_FLAGS_RELEASE=-O0 >build/configure-cuda.log 2>&1 || { cat build/configure-cuda.log >&2; return 1; }
  grep '^-- CUDA backend' build/configure-cuda.log
  cmake --build build/cuda-ci -j "$jobs" --target retort gpu_tests || return 1
  NVCC=$nvcc bench/ptxas_report.sh build 90 >build/ptxas.log 2>&1 || { tail -n 25 build/ptxas.log >&2; return 1; }
  echo "build/ptxas.txt: $(tail -n 1 build/ptxas.log)"
  ctest --test-dir build/cuda-ci -L gpu -j "$jobs" --no-tests=error --output-on-failure
}
if [ ${#presets[@]} -gt 1 ]; then
  cuda_stage || failed+=(cuda)
fi

# Both are run even if the first fails, so that one look shows all that is wrong.
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
for preset in "${presets[@]}"; do
  echo "== $preset: test"
  ctest --preset "$preset" -j "$jobs" --no-tests=error || failed+=("$preset")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "test.sh: tests failed in: ${failed[*]}" >&2
  exit 1
fi
