#!/bin/sh
# libattune.a: one object in which only the public functions are visible, so that the names of helpers (text_add, file_read)
# cannot meet those of a host.
# Usage: mkstatic.sh OUT.a ATTUNE.map OBJCOPY AR WHOLE.a PART.a... -- COMPILER...
set -eu
out=$1 map=$2 objcopy=$3 ar=$4 whole=$5
shift 5
parts=
while [ "$1" != -- ]; do parts="$parts $1"; shift; done
shift
sed -n 's/^ *\(atn_[a-z_]*\);$/\1/p' "$map" >"$out.names"
"$@" -r -nostdlib -fno-lto -o "$out.o" -Wl,--whole-archive "$whole" -Wl,--no-whole-archive $parts
"$objcopy" --keep-global-symbols="$out.names" "$out.o"
rm -f "$out"
"$ar" rcs "$out" "$out.o"
rm -f "$out.o" "$out.names"
