#!/bin/sh
# attune doctor --judge --json: has every field that scripts read, keeps to its seconds, and finds no cheat that survives.
# Rates of races are not judged here: in so few seconds on a busy machine they prove nothing.
#
#     sh tests/judge/doctor.sh build/app/attune
set -u
attune=$1 seconds=${2:-25} began=$(date +%s)
out=$("$attune" doctor --judge --seconds "$seconds" --json)
code=$?
took=$(($(date +%s) - began)) failures=0
fail() { failures=$((failures + 1)); echo "FAIL doctor: $*"; }
if [ "$code" = 2 ]; then
    case $out in
    *'"isolation": "none"'*) echo "skipped: no isolation on this machine"; exit 77 ;;
    *) fail "cannot work: $out" ;;
    esac
fi
for field in isolation zoo total refused survivors honest aa races promoted plus2 mutants killed handshake_us isolation_ms \
    can_see_percent; do
    case $out in *"\"$field\":"*) ;; *) fail "no field '$field'" ;; esac
done
flat=$(printf '%s' "$out" | tr -d ' \n')
number() { printf '%s' "$flat" | sed -n "s/.*\"$1\":{[^}]*\"$2\":\([0-9]*\).*/\1/p"; }
for part in zoo.total mutants.total honest.total aa.races plus2.races; do
    [ "$(number ${part%.*} ${part#*.})" -ge 1 ] 2>/dev/null || fail "$part: nothing seen in $seconds s"
done
[ "$(number zoo total)" = "$(number zoo refused)" ] || fail "cheats survive"
case $flat in *'"survivors":[]'*) ;; *) fail "survivors are named" ;; esac
[ "$(number honest refused)" = 0 ] || fail "an honest kernel was refused"
[ "$(number mutants total)" = "$(number mutants killed)" ] || fail "a mutant lives"
[ "$took" -le $((seconds + 10)) ] || fail "took $took s where $seconds were given"
[ "$failures" = 0 ] && { echo ok; exit 0; }
printf '%s\n' "$out"
echo "rerun: sh tests/judge/doctor.sh build/app/attune"
exit 1
