#!/usr/bin/env bash
# Downloads a public data set from its archive, unpacks what Retort reads and checks every file against the published sha256.
#   examples/fetch_data.sh wisdm|mhealth|sleep [DIR]           DIR: ~/.cache/retort/NAME, where reproduce_NAME looks for it
#   examples/fetch_data.sh --check wisdm|mhealth [DIR]         only checks what is in DIR
# Exit code: 0 everything is there and as published; 1 a file differs or is missing; 2 wrong use, or a tool is missing;
# 3 nothing could be downloaded (no network, archive moved): then it says how to get the files by hand.
set -euo pipefail

say() { echo "fetch_data: $*" >&2; }
usage() { sed -n '2,6s/^# \{0,1\}//p' "$0"; }

only_check=no
case "${1:-}" in
  -h|--help) usage; exit 0 ;;
  --check) only_check=yes; shift ;;
esac
dataset=${1:-}
dir=${2:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/retort/$dataset}

archive=https://archive.ics.uci.edu
case "$dataset" in
  wisdm)
    page=$archive/dataset/507
    url=$archive/static/public/507/wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip ;;
  mhealth)
    page=$archive/dataset/319
    url=$archive/static/public/319/mhealth+dataset.zip ;;
  sleep)
    say "the Sleep recordings are in no public archive. Ask their authors (https://github.com/Kuan2vn/smooth_distill), and put the files"
    say "*_<posture>_<position>.txt into $dir; docs/file_formats.md says what is in them. reproduce_sleep --synthetic needs none."
    exit 3 ;;
  *) usage >&2; exit 2 ;;
esac

# Beside this script in the source tree, in share/retort when installed.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hashes=$here/hashes/$dataset.sha256
[ -f "$hashes" ] || { say "$hashes is missing"; exit 2; }
command -v sha256sum >/dev/null || { say "needs sha256sum (coreutils)"; exit 2; }

check() {
  local bad
  if bad=$(cd "$dir" 2>/dev/null && sha256sum --check --quiet "$hashes" 2>/dev/null); then
    echo "fetch_data: $(wc -l <"$hashes") files in $dir are as published"
  elif [ -d "$dir" ]; then
    say "$(wc -l <<<"$bad") of $(wc -l <"$hashes") files in $dir differ or are missing, the first: $(head -n 1 <<<"$bad")"
    exit 1
  else
    say "$dir: no such directory"
    exit 1
  fi
}

by_hand() {
  say "$url cannot be downloaded ($1). By hand:"
  say "  1. open $page in a browser, on any machine, and download the zip file (button \"Download\")"
  say "  2. unpack it into $dir$([ "$dataset" = wisdm ] && echo ", with the zip file that is in it, so that there is $dir/raw/phone/accel" ||
    echo ", so that there is $dir/mHealth_subject1.log")"
  say "  3. $0 --check $dataset $dir"
  exit 3
}

if [ "$only_check" = yes ]; then
  check
  exit 0
fi
if (cd "$dir" 2>/dev/null && sha256sum --check --quiet "$hashes" >/dev/null 2>&1); then
  echo "fetch_data: $dir has everything already"
  exit 0
fi

if command -v curl >/dev/null; then
  download() { curl --fail --location --silent --show-error --retry 2 --connect-timeout 20 --output "$1" "$url"; }
elif command -v wget >/dev/null; then
  download() { wget --quiet --tries=3 --timeout=20 --output-document="$1" "$url"; }
else
  by_hand "neither curl nor wget is installed"
fi
# unzip is not on every machine; Python's standard library has one too.
if command -v unzip >/dev/null; then
  unpack() { unzip -q -o "$1" -d "$2"; }
elif command -v python3 >/dev/null; then
  unpack() { python3 -m zipfile -e "$1" "$2"; }
else
  say "needs unzip or python3"
  exit 2
fi

mkdir -p "$dir"
work=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$work"; rmdir "$dir" 2>/dev/null || true' EXIT  # an empty directory would look like data
echo "fetch_data: downloading $url"
download "$work/download.zip" 2>"$work/error" || by_hand "$(tail -n 1 "$work/error")"
unpack "$work/download.zip" "$work/files" || { say "the download is no zip file"; exit 1; }
for inner in "$work"/files/*.zip; do # WISDM's is a zip in a zip
  [ -f "$inner" ] && unpack "$inner" "$work/files"
done

# Only what the list names: WISDM also has gyroscopes, 1 GB of them.
while read -r _ name; do
  found=$(find "$work/files" -path "*/$name" -print -quit)
  [ -n "$found" ] || continue
  mkdir -p "$(dirname "$dir/$name")"
  mv "$found" "$dir/$name"
done <"$hashes"
check
