#!/bin/sh
# Long fuzzing with clang's libFuzzer:  sh tests/fuzz/fuzz.sh [SECONDS] [TARGET ...]
# Builds into build-fuzz; what is found new goes to build-fuzz/corpus/TARGET, crashes to build-fuzz/.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd -P)
build=$root/build-fuzz seconds=${1:-600}
[ $# = 0 ] || shift
command -v clang >/dev/null || { echo "skipped: clang is missing"; exit 77; }
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" "$root" -Dfuzz=true -Db_lundef=false >/dev/null
[ $# -gt 0 ] || set -- problem config wisdom source gate elf verdict answer sse
export ATTUNE_WISDOM=
for target; do
    ninja -C "$build" "tests/fuzz/fuzz_$target" >/dev/null 2>&1 || { echo "$target: not in this build"; continue; }
    mkdir -p "$build/corpus/$target"
    (cd "$build" && "tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -verbosity=0 "corpus/$target" "$root/tests/fuzz/corpus/$target" >"$target.log" 2>&1) ||
        { tail -n 30 "$build/$target.log"; echo "FAIL $target"; exit 1; }
    echo "ok $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log") inputs in $seconds s"
done
