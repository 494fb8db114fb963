#!/bin/sh
# tools/seed-promises in its quick form, and the page against it. Usage: seed_promises.sh SOURCE_ROOT ATTUNE
set -eu
root=$1 attune=$2
command -v python3 >/dev/null || { echo "skip: no python3"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for part in examples src docs tests; do ln -s "$root/$part" "$part"; done
ATTUNE_PEERS=$folder/none ATTUNE_HOME=$root "$root/tools/seed-promises" --quick --attune "$attune"
"$root/tools/seed-promises" --check
