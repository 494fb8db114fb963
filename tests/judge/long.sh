#!/bin/sh
# The judge's promises in large numbers. Each part by itself, or all:
#
#     sh tests/judge/long.sh [-b BUILD] [-s SCALE] [-j RACES] [PART ...]
#
#     zoo        every animal 20 times, before and behind the gate, at both levels of isolation: all refused
#     honest     500 runs of honest kernels, every family, each type: none refused
#     mutants    every mutant 5 times: all killed
#     soak       10,000 candidates in one process: memory, descriptors, processes, temporary files flat
#     cost       of isolation and of one hand-shake
#     aa         1,000 A/A races at most 5 promoted; 1,000 of +2 % and of +3 % at least 95 % found
#     decided    races of kernels of 1 ms: median time under 1 s
#     fuzz       10 minutes of every fuzz target (libFuzzer)
#     sanitize   units, judge, evolution and store built with ASan and UBSan, and with TSan; the worker, which closes what
#                they need, is never. (fuzz targets have ASan and UBSan, run's t_race TSan, in every check.)
#
# -s 0.1 plays a tenth of each. Races run RACES at once (half as many as there are cores: neighbours share caches and, on
# virtual machines, cores), each on a CPU and with a timing lock of its own, and want a machine that does nothing else. BIN names a folder with `long`, `aa` (and `fuzzer`) where there is no build folder.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd -P)
build=$root/build scale=1 failures=0 jobs=
while getopts b:s:j: option; do
    case $option in
    b) build=$OPTARG ;;
    s) scale=$OPTARG ;;
    j) jobs=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- cost decided aa zoo honest mutants soak fuzz sanitize
bin=${BIN:-$build/tests/judge}
export ATTUNE_HOME="${ATTUNE_HOME:-$root}"
[ -n "${ATTUNE_WORKER:-}" ] || { [ -x "$build/worker/attune-worker" ] && export ATTUNE_WORKER="$build/worker/attune-worker"; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
amount() { awk -v n="$1" -v s="$scale" 'BEGIN { x = int(n * s + 0.5); print x < 1 ? 1 : x }'; }
check() { "$@" || failures=$((failures + 1)); }

# One CPU of each physical core that this process may run on.
cores() {
    taskset -cp $$ 2>/dev/null | sed 's/.*: *//' | tr ',' '\n' | while IFS=- read -r from to; do
        seq "$from" "${to:-$from}"
    done | while read -r cpu; do
        first=$(sed 's/[,-].*//' "/sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list" 2>/dev/null)
        [ "${first:-$cpu}" = "$cpu" ] && echo "$cpu"
    done
}

races() {
    n=$(cores | wc -l)
    [ -n "$jobs" ] || jobs=$(((n + 1) / 2))
    step=$((n / jobs)) at=0 each=$((($(amount 1000) + jobs - 1) / jobs))
    for cpu in $(cores); do
        at=$((at + 1))
        [ $((at % step)) = 0 ] && [ $((at / step)) -le "$jobs" ] || continue
        ATTUNE_LOCK=$work/lock.$cpu taskset -c "$cpu" "$bin/aa" -n "$each" -s "$(amount 1500)" >"$work/aa.$cpu" 2>&1 &
    done
    wait
    cat "$work"/aa.* | awk '
        match($0, /: [0-9]+ races: [0-9]+ promoted/) {
            split(substr($0, RSTART + 2, RLENGTH - 2), f, /[ :]+/)
            name = $1 == "A/A" ? $1 : $1 " %"
            races[name] += f[1]; promoted[name] += f[3]
            if (match($0, /[0-9.]+ s a decided race/)) { s = substr($0, RSTART) + 0; if (s > slow[name]) slow[name] = s }
        }
        !/races:/ { print "     " $0 }
        END {
            bad = length(races) == 0
            for (name in races) {
                share = promoted[name] / races[name]
                good = name == "A/A" ? share <= 0.005 : share >= 0.95
                bad += !good
                printf "%s aa: %s: %d of %d races promoted; a decided race took %.2f s (slowest job'"'"'s median)\n",
                    good ? "ok" : "FAIL", name, promoted[name], races[name], slow[name]
            }
            exit bad > 0
        }'
}

sanitize() {
    for kind in address,undefined thread; do
        folder=$root/build-san-$(echo $kind | cut -c1-3)
        [ -f "$folder/build.ninja" ] ||
            meson setup "$folder" "$root" -Db_sanitize=$kind -Db_lundef=false -Doptimization=1 -Ddebug=true \
                >"$work/setup" 2>&1 || { cat "$work/setup"; return 1; }
        # Only what is run: the shipped kernels with checks of every load take longer to build than all the rest to run.
        programs=$(ninja -C "$folder" -t targets all | sed -n 's/^\(tests\/[a-z]*\/[a-z_]*\): c_LINKER$/\1/p' |
            grep -E '^tests/(unit|judge|evolve)/|/store_faults$')
        ninja -C "$folder" worker/attune-worker $programs >"$work/ninja" 2>&1 || { tail -n 30 "$work/ninja"; return 1; }
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 TSAN_OPTIONS=halt_on_error=1 \
            meson test -C "$folder" --no-rebuild -t 6 --suite unit --suite evolve >"$work/test" 2>&1
        code=$?
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 TSAN_OPTIONS=halt_on_error=1 \
            meson test -C "$folder" --no-rebuild -t 6 t_build t_link t_race t_judge t_evidence soak zoo \
            'zoo behind the gate' 'zoo behind the gate, reduced isolation' 'store_ allocations fail' \
            'store_ files fail' 'store_ damage fail' >>"$work/test" 2>&1 || code=1
        grep -E "^(Ok|Expected Fail|Fail|Unexpected|Skipped|Timeout):" "$work/test" | tr -s ' \n' ' '
        if [ $code = 0 ]; then echo "ok sanitize: $kind"; else
            grep -E "FAIL|TIMEOUT" "$work/test"
            echo "FAIL sanitize: $kind: see $folder/meson-logs/testlog.txt"
            return 1
        fi
    done
}

for part; do
    case $part in
    zoo) check "$bin/long" zoo "$(amount 20)" "$(amount 3600)"; check "$bin/long" zoo "$(amount 20)" "$(amount 3600)" reduced ;;
    honest) check "$bin/long" honest "$(amount 500)" "$(amount 3600)" ;;
    mutants) check "$bin/long" mutants "$(amount 5)" "$(amount 3600)" ;;
    soak) check "$bin/long" soak "$(amount 10000)" "$(amount 7200)" ;;
    cost) check "$bin/long" cost ;;
    decided) check "$bin/long" decided "$(amount 100)" "$(amount 300)" ;;
    aa) check races ;;
    fuzz) check sh "$root/tests/fuzz/fuzz.sh" "$(amount 600)" ;;
    sanitize) check sanitize ;;
    *) echo "no part '$part'; the first lines of $0 name them"; exit 2 ;;
    esac
done
[ "$failures" = 0 ] || { echo "$failures parts failed"; exit 1; }
