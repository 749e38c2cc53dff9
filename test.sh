#!/usr/bin/env bash
# Installs what is missing, builds everything with warnings as errors, runs all tests: optimised, then under AddressSanitizer and
# UndefinedBehaviorSanitizer. Exits non-zero when anything fails; the last line is ctest's verdict on all of them.
#   ./test.sh --quick   the optimised build only
set -euo pipefail
cd "$(dirname "$0")"

presets=(release asan)
case "${1:-}" in
  "") ;;
  --quick) presets=(release) ;;
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "test.sh: unknown option '$1' (known: --quick, --help)" >&2; exit 2 ;;
esac

./setup.sh
jobs=$(nproc)
mkdir -p build
for preset in "${presets[@]}"; do
  echo "== $preset: build"
  cmake --preset "$preset" -DRETORT_WERROR=ON -DRETORT_TESTS=ON >"build/configure-$preset.log" 2>&1 ||
    { cat "build/configure-$preset.log" >&2; exit 1; }
  cmake --build --preset "$preset" -j "$jobs"
done

# Both are run even if the first fails, so that one look shows all that is wrong.
failed=()
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
for preset in "${presets[@]}"; do
  echo "== $preset: test"
  ctest --preset "$preset" -j "$jobs" --no-tests=error || failed+=("$preset")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "test.sh: tests failed in: ${failed[*]}" >&2
  exit 1
fi
