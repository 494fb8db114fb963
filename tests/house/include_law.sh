#!/bin/sh
# The include law: a folder of src/ includes only itself and folders below it, and hosts get the first four only.
# Usage: include_law.sh SOURCE_ROOT. Prints each breach as file:line.
set -eu
cd "$1"
layers="base problem kernel run store judge evolve report serve module"
rank() { i=0; for l in $layers; do i=$((i + 1)); [ "$l" = "$1" ] && { echo $i; return; }; done; echo 99; }
bad=0
for file in $(find src worker -name '*.[ch]' | sort); do
    case $file in worker/*) own=worker; mine=6 ;; *) own=${file#src/}; own=${own%%/*}; mine=$(rank "$own") ;; esac
    grep -n '^ *# *include *"' "$file" > "${TMPDIR:-/tmp}/law.$$" || true
    while IFS= read -r line; do
        name=${line#*\"}; name=${name%%\"*}; folder=${name%%/*}
        [ "$folder" = "$name" ] && continue                                  # a neighbour
        [ "$folder" = attune ] && continue                                   # a public header
        if [ "$(rank "$folder")" -gt "$mine" ]; then
            echo "$file:${line%%:*}: $own may not include \"$name\" (include downwards only: $layers)"; bad=$((bad + 1))
        fi
    done < "${TMPDIR:-/tmp}/law.$$"
    rm -f "${TMPDIR:-/tmp}/law.$$"
done
for file in include/attune/*.h; do
    if grep -n '^ *# *include *"' "$file" | grep -v '"attune/'; then
        echo "$file: a public header may include only public headers"; bad=$((bad + 1))
    fi
done
[ "$bad" = 0 ] || { echo "rerun: sh tests/house/include_law.sh ."; exit 1; }
echo "include law holds"
