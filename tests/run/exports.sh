#!/bin/sh
# The shared library exports exactly what the public headers declare (attune.h, plan.h, wisdom.h, status.h).
# Usage: exports.sh LIBATTUNE.so SOURCE_ROOT
set -eu
export LC_ALL=C
cd "$2"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort > "$dir/exported"
for h in attune plan wisdom status; do
    # the preprocessor drops the comments; what is left of a function is its name and a parenthesis
    echo "#include \"attune/$h.h\"" | ${CC:-cc} -E -P -Iinclude -x c - | grep -oE '\batn_[a-z_]+ ?\(' | tr -d ' ('
done | sort -u > "$dir/declared"
if ! diff "$dir/declared" "$dir/exported" > "$dir/difference"; then
    echo "declared (<) and exported (>) differ:"; cat "$dir/difference"
    echo "rerun: sh tests/run/exports.sh $1 ."
    exit 1
fi
echo "$(wc -l < "$dir/exported") functions, declared and exported"
