#!/bin/sh
# Long fuzzing with clang's libFuzzer:  sh tests/fuzz/fuzz.sh [SECONDS] [TARGET ...]
# Builds into build-fuzz; what is found new goes to build-fuzz/corpus/TARGET, crashes to build-fuzz/. As many targets at once
# as there are CPUs. FUZZER names a program that is built already.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd -P)
build=${FUZZ_FOLDER:-$root/build-fuzz} seconds=${1:-600}
[ $# = 0 ] || shift
fuzzer=${FUZZER:-$build/tests/fuzz/fuzzer}
if [ -z "${FUZZER:-}" ]; then
    command -v clang >/dev/null || { echo "skipped: clang is missing"; exit 77; }
    [ -f "$build/build.ninja" ] || CC=clang meson setup "$build" "$root" -Dfuzz=true -Db_lundef=false >/dev/null
    ninja -C "$build" tests/fuzz/fuzzer >/dev/null
fi
[ $# -gt 0 ] || set -- problem config wisdom source gate elf verdict answer sse
export ATTUNE_WISDOM=
# What the short pass in `check` begins with beside the corpus: real kernels, cheats, a real object.
seeds() {
    mkdir -p "$build/corpus/$1" "$build/seeds/$1"
    case $1 in
    config) cp "$root/examples/attention/config.yaml" "$build/seeds/$1" ;;
    source) # whole families are slow: some 50 inputs a second
        cp "$root/examples/attention/initial_program.c" "$root/src/kernel/ref/plain.c" "$build/seeds/$1"
        head -c 8000 "$root/src/kernel/decode.c" >"$build/seeds/$1/decode.c" ;;
    gate) cp "$root/src/kernel/ref/plain.c" "$root"/tests/judge/zoo/*.c "$build/seeds/$1" ;;
    elf) ${CC:-cc} -O2 -fPIC -shared -fvisibility=hidden -I"$root/include" "$root/tests/fuzz/seed_kernel.c" \
        -o "$build/seeds/$1/kernel.so" ;;
    esac
}
one() {
    target=$1
    seeds "$target"
    cd "$build"
    if FUZZ_TARGET=$target "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -artifact_prefix="$target-" -print_final_stats=1 -verbosity=0 "corpus/$target" "$root/tests/fuzz/corpus/$target" \
        "seeds/$target" >"$target.log" 2>&1; then
        echo "ok $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$target.log") inputs in $seconds s"
    else
        tail -n 30 "$target.log"
        echo "FAIL $target: rerun: FUZZ_TARGET=$target $fuzzer $build/$target-crash-..."
    fi
}
mkdir -p "$build"
cpus=$(nproc) running=0
for target; do
    one "$target" >"$build/$target.outcome" &
    running=$((running + 1))
    [ "$running" -lt "$cpus" ] || { wait; running=0; }
done
wait
failures=0
for target; do
    cat "$build/$target.outcome"
    grep -q "^ok" "$build/$target.outcome" || failures=1
done
exit $failures
