#!/usr/bin/env bash
# Installs what Retort needs from Debian's or Ubuntu's own packages, and only what is missing. Asks nothing.
#   ./setup.sh         compiler, libraries, gnuplot
#   ./setup.sh --dev   also the peers that tests and benchmarks compare with (PyTorch, OpenBLAS, oneDNN), clang-format, valgrind
set -euo pipefail

packages=(g++ cmake ninja-build git ca-certificates libfmt-dev libeigen3-dev nlohmann-json3-dev libfast-float-dev libcli11-dev
          libboost-dev libboost-context-dev libboost-math-dev libhwy-dev libssl-dev libtomlplusplus-dev catch2 libbenchmark-dev gnuplot-nox python3
          libopenmpi-dev openmpi-bin)
optional=(ccache)   # nicer to have: a rebuild takes seconds; a system without it builds as well
case "${1:-}" in
  "") ;;
  --dev) packages+=(python3-torch clang-format libopenblas-openmp-dev libdnnl-dev libtcmalloc-minimal4 valgrind) ;;
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "setup.sh: unknown option '$1' (known: --dev, --help)" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup.sh: this is not a Debian or Ubuntu system. Install the equivalents of: ${packages[*]}" >&2
  exit 2
fi

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
# Some packages carry their release in the name: libboost-context-dev stands for libboost-context1.74-dev and the like.
present() {
  installed "$1" && return
  case "$1" in
    libboost-dev) [ -e /usr/include/boost/version.hpp ] ;;
    libboost-math-dev) [ -e /usr/include/boost/math/distributions/students_t.hpp ] ;;
    ca-certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] ;;
    g++|cmake|git|ccache|clang-format|valgrind) command -v "$1" >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    gnuplot-nox) command -v gnuplot >/dev/null ;;
    python3) command -v python3 >/dev/null ;;
    python3-torch) python3 -c 'import torch' 2>/dev/null ;;
    *) return 1 ;;
  esac
}
missing=()
for package in "${packages[@]}"; do present "$package" || missing+=("$package"); done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: everything is installed"
  exit 0
fi
for package in "${optional[@]}"; do present "$package" || missing+=("$package"); done

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup.sh: run as root (there is no sudo): apt-get install ${missing[*]}" >&2; exit 2; }
  as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get "$@"; }

echo "setup: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
fail() { tail -n 15 "$log" >&2; echo "setup.sh: $1" >&2; exit 2; }
known() { [[ "$(apt-cache policy "$1" 2>/dev/null)" =~ Candidate:\ [^\(] ]]; }

# A bare machine has no package lists; a machine with old ones asks for versions that are gone. Both are cured by an update.
apt update -q >"$log" 2>&1 || echo "setup: apt-get update failed, trying with the package lists at hand" >&2
wanted=()
for package in "${missing[@]}"; do
  if known "$package"; then
    wanted+=("$package")
  elif [[ " ${optional[*]} " != *" $package "* ]]; then
    echo "setup.sh: this system's package sources do not have $package; Retort is made for Debian 12 or Ubuntu 24.04 and newer" \
         "(on Ubuntu, the 'universe' part must be on)" >&2
    exit 2
  fi
done
apt install -q -y --no-install-recommends "${wanted[@]}" >>"$log" 2>&1 || fail "apt-get install failed; its last lines are above"
echo "setup: done"
