#!/usr/bin/env bash
# Unpacks what pack.sh packed and runs the bench, on a machine without a network.
#
#   bash run.sh SITE [flags of tinymoe bench]      default: --preset gpu-smoke
#
# Reports lie in SITE/results, after every case already: a run that is cut off leaves <name>.part.json.
set -euo pipefail

parts=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
site=$(cd "$1" && pwd)
shift
export TINYMOE_CACHE=$site/cache
if [ ! -d "$site/app" ]; then
  cat "$parts"/part-* | xz -dT0 | tar -C "$site" -xf -
  for folder in "$site"/cache/tensorflow-*-*; do
    "$site/node/bin/node" "$site/app/bench/gpu/adopt.js" "${folder##*-}"
  done
fi

folders=("$site"/cache/tensorflow-*-*/)
libraries=${folders[0]}
links=$site/links
mkdir -p "$links"

# The newest library of a name on this machine.
newest() {
  { ldconfig -p | awk '{print $NF}'; find / -xdev -name "$1.so.*" 2>/dev/null || true; } |
    { grep -E "/$1\.so\.[0-9.]+$" || true; } | sort -V | tail -n 1
}
carried() { [ -n "$(find "$libraries" -name "$1" -print -quit)" ]; }

if [[ $libraries == *-cuda/ ]]; then
  # The machine's own where the pack has none; a later major version serves under the older name.
  for pair in libcublas:12 libcublasLt:12 libcudnn:9 libnvrtc:12 libnvJitLink:12; do
    name=${pair%:*} soname=${pair%:*}.so.${pair#*:}
    carried "$soname" || [ -e "$links/$soname" ] && continue
    found=$(newest "$name")
    if [ -n "$found" ]; then ln -s "$found" "$links/$soname" && echo "$soname -> $found"; else echo "$soname: not found"; fi
  done
  # Never called by a transformer: an empty library is enough for TensorFlow to start.
  for soname in libcufft.so.11 libcusolver.so.11 libcusparse.so.12 libcurand.so.10; do
    carried "$soname" || [ -e "$links/$soname" ] && continue
    found=$(newest "${soname%%.so*}")
    if [ -n "$found" ]; then ln -s "$found" "$links/$soname"; else echo | cc -shared -x c - -Wl,-soname,"$soname" -o "$links/$soname"; fi
  done
fi

path=$links:$libraries/tensorflow
for folder in "$libraries"/nvidia/*/lib; do [ -d "$folder" ] && path=$path:$folder; done
export LD_LIBRARY_PATH=$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PATH=$site/node/bin:$PATH

node "$site/app/src/cli/main.js" doctor
[ $# -gt 0 ] || set -- --preset gpu-smoke
node "$site/app/src/cli/main.js" bench --out "$site/results" "$@"
