#!/bin/sh
# The shared library exports exactly what the public headers declare (attune.h, plan.h, wisdom.h, status.h), and the static
# one beside it, where there is one, has no other names.
# Usage: exports.sh LIBATTUNE.so SOURCE_ROOT
set -eu
export LC_ALL=C
cd "$2"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for h in attune plan wisdom status; do
    # the preprocessor drops the comments; what is left of a function is its name and a parenthesis
    echo "#include \"attune/$h.h\"" | ${CC:-cc} -E -P -Iinclude -x c - | grep -oE '\batn_[a-z_]+ ?\(' | tr -d ' ('
done | sort -u > "$dir/declared"
exported() # LIBRARY OPTION
{
    nm $2 --defined-only "$1" | awk 'NF == 3 && $2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort > "$dir/exported"
    if ! diff "$dir/declared" "$dir/exported" > "$dir/difference"; then
        echo "declared (<) and exported (>) by $1 differ:"; cat "$dir/difference"
        echo "rerun: sh tests/run/exports.sh $so ."
        exit 1
    fi
    echo "$(wc -l < "$dir/exported") functions, declared and exported by $1"
}
so=$1
exported "$so" -D
archive=$(dirname "$so")/libattune.a
if [ -e "$archive" ]; then exported "$archive" -g; fi
