#!/bin/sh
# attune doctor --judge of an installed tree: zoo, mutants, kernels, headers and worker are found there, not in the
# checkout.
#
#     sh tests/judge/doctor_installed.sh BUILD_ROOT FOLDER
set -eu
here=$(cd "$(dirname "$0")" && pwd) build=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
DESTDIR="$folder/root" meson install -C "$build" --no-rebuild >"$folder/install.log" 2>&1 || {
    tail -20 "$folder/install.log"
    echo "FAIL doctor of an installed tree: meson install failed; rerun: sh $0 $*"
    exit 1
}
unset ATTUNE_HOME ATTUNE_WORKER
cd "$folder"
sh "$here/doctor.sh" "$(find "$folder/root" -path '*/bin/attune')" 10
