#!/bin/sh
# Each public header compiles alone, as C17 and (the host-facing ones) as C++17, without warnings.
# Usage: headers.sh SOURCE_ROOT
set -eu
cd "$1"
bad=0
for h in include/attune/*.h; do
    name=${h#include/}
    echo "#include \"$name\"" | ${CC:-cc} -std=gnu17 -Wall -Wextra -Werror -Wno-unused-function -Iinclude -x c -fsyntax-only - || { echo "$h: does not compile alone (C)"; bad=1; }
    case $name in attune/vec.h|attune/amx.h|attune/cut.h) continue ;; esac
    command -v c++ >/dev/null || continue
    echo "#include \"$name\"" | c++ -std=c++17 -Wall -Wextra -Werror -Iinclude -x c++ -fsyntax-only - || { echo "$h: does not compile alone (C++)"; bad=1; }
done
[ $bad = 0 ] || { echo "rerun: sh tests/house/headers.sh ."; exit 1; }
