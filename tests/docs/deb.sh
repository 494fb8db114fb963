#!/bin/sh
# The Debian packages: built, free of lintian errors, unpacked, and a kernel judged by what was unpacked.
# Usage: deb.sh SOURCE_ROOT
set -eu
root=$1
[ "$(sed -n "s/^project(.*version: *'\([0-9.]*\)'.*/\1/p" "$root/meson.build" | head -1)" = \
  "$(sed -n '1s/.*(\([0-9.]*\)).*/\1/p' "$root/debian/changelog")" ] || { echo "debian/changelog has another version than meson.build"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
code=0
DEB_BUILD_OPTIONS=noautodbgsym "$root/packaging/build-deb" "$folder" || code=$?   # their symbols apart are of no use here
[ "$code" = 0 ] || exit "$code"
cd "$folder"
for deb in attune_*.deb libattune0_*.deb libattune-dev_*.deb; do dpkg-deb -x "$deb" unpacked; done
lib=$(dirname "$(find unpacked -name 'libattune.so.0')")
export LD_LIBRARY_PATH="$folder/$lib" NO_COLOR=1
unset ATTUNE_HOME ATTUNE_PROGRAM || true
unpacked/usr/bin/attune eval unpacked/usr/share/attune/kernels/flash_qvec.c --case "f32 h2 s64 d64 causal" --stage 2
unpacked/usr/bin/attune evolve --case "f32 h2 s64 d64" -i 1 --set evolve.final_seconds=1 --set evolve.control_races=0 -o out --quiet
unpacked/usr/bin/attune show out | sed -n 's/.*# then see //p' | while read -r file; do [ -s "$file" ] || echo "$file"; done >lost
[ ! -s lost ] || { echo "show names a file that is not there: $(cat lost)"; exit 1; }
[ -s out/best/best_program.c ] || { echo "the unpacked program evolved nothing"; exit 1; }
man -l unpacked/usr/share/man/man1/attune.1.gz >/dev/null 2>&1 || true
for file in usr/share/bash-completion/completions/attune usr/share/man/man1/attune.1.gz usr/include/attune/attune.h; do
    [ -s "unpacked/$file" ] || { echo "the packages lack $file"; exit 1; }
done
echo "packages build, lintian finds no error, the unpacked program judges and evolves"
