#!/usr/bin/env bash
# What the GPU's assembler says of every kernel: registers, shared memory, spills. Needs nvcc, not a GPU.
#   bench/ptxas_report.sh [build folder, default build/cuda] [architecture, default 90]
# Writes <build folder>/ptxas.txt and fails when a kernel spills registers to memory.
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "ptxas_report.sh: unknown option '$1' (known: --help)" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/cuda}
arch=${2:-90}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ -x "$nvcc" ] || { echo "ptxas_report.sh: no nvcc; set NVCC or install the CUDA toolkit" >&2; exit 2; }
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
ln -s "$root" "$include/retort"
mkdir -p "$build"
log=$include/log

report() {  # <file.cu>
  echo "file $(basename "$1")"
  "$nvcc" -std=c++20 -O3 -arch="sm_$arch" -DFMT_USE_CONSTEXPR=1 -I"$include" -Xptxas -v -cubin -o /dev/null "$1" 2>&1
}
export -f report
export nvcc arch include
printf '%s\0' "$root"/kernels/cuda/*.cu | xargs -0 -P "$(nproc)" -I {} bash -c 'report "$1" > "$include/$(basename "$1").log" || exit 255' _ {} ||
  { cat "$include"/*.cu.log >&2; exit 1; }
cat "$include"/*.cu.log > "$log"

# One line a kernel: "file kernel registers shared spills".
awk '
  /^file /                    { file = $2 }
  /Compiling entry function/  { split($0, part, "\x27"); name = part[2] }
  /bytes stack frame/         { spill = 0; for (i = 1; i < NF; ++i) if ($i == "bytes" && $(i + 1) == "spill") spill += $(i - 1) }
  /Used [0-9]+ registers/     { registers = shared = 0
                                for (i = 1; i <= NF; ++i) {
                                  if ($i ~ /^registers/) registers = $(i - 1)
                                  if ($i == "bytes" && $(i + 1) ~ /^smem/) shared = $(i - 1)
                                }
                                print file, name, registers, shared, spill }
' "$log" | (command -v c++filt > /dev/null && c++filt -p || cat) | sed -E 's/\(anonymous namespace\):://g; s/retort:://g' > "$include/lines"
{
  echo "sm_$arch, $("$nvcc" --version | grep -o 'release [0-9.]*')"
  printf '%-16s %9s %8s %7s  %s\n' file registers shared spills kernel
  awk '{ n = NF; kernel = $2; for (i = 3; i <= n - 3; ++i) kernel = kernel " " $i
         printf "%-16s %9d %8d %7d  %s\n", $1, $(n - 2), $(n - 1), $n, kernel }' "$include/lines"
} > "$build/ptxas.txt"
cat "$build/ptxas.txt"
spilling=$(awk '$NF > 0' "$include/lines" | wc -l)
kernels=$(wc -l < "$include/lines")
[ "$kernels" -gt 0 ] || { echo "ptxas_report.sh: no kernel was found in ptxas's output" >&2; exit 1; }
[ "$spilling" -eq 0 ] || { echo "ptxas_report.sh: $spilling of $kernels kernels spill registers" >&2; exit 1; }
echo "$kernels kernels, none spills"
