#!/usr/bin/env bash
# Has the code come to need more instructions? Counts those of fixed workloads on one thread under valgrind's callgrind and compares them
# with the committed bench/regression/baseline.json. A count is the same on a busy machine as on a quiet one, and hardly differs from run
# to run; it is no time. Builds into build/regression for x86-64-v3, because valgrind knows AVX2 but not AVX-512.
#   bench/regression.sh                  compares: the machine's compiler and libraries must be those of a baseline
#   bench/regression.sh --update         counts and makes that the baseline for this compiler and these libraries; others stay
#   bench/regression.sh --tolerance PCT  how much more is a regression (default 2)
#   bench/regression.sh --build DIR      uses the build in DIR as it is
# Exit code 0: no regression; 1: a regression; 2: it could not be counted; 3: no baseline for this compiler and these libraries.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build='' update=() tolerance=2
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --update) update=(--update); shift ;;
    --build | --tolerance)
      [ $# -ge 2 ] || { echo "regression.sh: $1 needs a value; --help tells" >&2; exit 2; }
      declare "${1#--}=$2"; shift 2 ;;
    *) echo "regression.sh: unknown argument '$1'; --help lists them" >&2; exit 2 ;;
  esac
done
command -v valgrind > /dev/null || { echo "regression.sh: there is no valgrind; ./setup.sh --dev installs it" >&2; exit 2; }
if [ -z "$build" ]; then
  build=$root/build/regression
  arch=$([ "$(uname -m)" = x86_64 ] && echo x86-64-v3 || true)
  mkdir -p "$build"
  { cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DRETORT_ARCH="$arch" -DRETORT_TESTS=OFF -DRETORT_SIM=OFF \
      -DRETORT_CUDA=OFF -DRETORT_MPI=OFF && cmake --build "$build" --target bench_regression_workloads; } > "$build/build.log" 2>&1 ||
    { tail -n 25 "$build/build.log" >&2; echo "regression.sh: the build failed; all of it is in $build/build.log" >&2; exit 2; }
fi
exec python3 "$root/bench/regression/compare.py" --build "$build" --tolerance "$tolerance" "${update[@]}"
