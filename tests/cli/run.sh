#!/bin/sh
# Runs one command-line test: tests/cli/run.sh TEST ATTUNE SOURCE_ROOT
#
# A test is a shell file t_TEST.sh that uses the words below in an empty folder of its own. Each word says what failed
# and goes on; the test fails when one of them did. `skip WHY` ends it as skipped (77).
set -u
name=$1 attune=$(readlink -f "$2") root=$(readlink -f "$3")
here=$root/tests/cli
folder=$(mktemp -d) || exit 1
trap 'cd /; rm -rf "$folder"' EXIT
cd "$folder" || exit 1
exec </dev/null
unset ATTUNE_PROGRAM ATTUNE_HOME OPENAI_API_KEY
export NO_COLOR=1 TERM=dumb LC_ALL=C ATTUNE_HOME="$root"
failures=0 out='' err='' code=0

fail() {
    failures=$((failures + 1))
    printf 'FAIL %s: %s\n' "$name" "$*"
    [ -z "$err" ] || printf '  stderr: %s\n' "$err" | head -n 12
    [ -z "$out" ] || printf '  stdout: %s\n' "$out" | head -n 12
}
# enough: where the rest would only repeat what has failed already
enough() { [ "$failures" = 0 ] || finish; }
finish() {
    [ "$failures" = 0 ] && { echo ok; exit 0; }
    echo "rerun: sh tests/cli/run.sh $name build/app/attune ."
    exit 1
}
skip() { printf 'skipped: %s\n' "$*"; exit 77; }

# A fast kernel with knobs, for evolutions: a champion where there is one. It is a family without the branches that its knobs
# do not take, so that gcc needs 0.8 s for it and not 2.7.
kernel=$root/src/kernel/flash_qvec.c
for file in "$root"/champions/*_f32.c; do [ ! -f "$file" ] || kernel=$file; done

# run ARGS...: attune with its output, error text and exit code kept.
run() {
    command="attune $*"
    "$attune" "$@" >out.txt 2>err.txt </dev/null
    code=$?
    out=$(cat out.txt) err=$(cat err.txt)
}
# exits CODE
exits() { [ "$code" = "$1" ] || fail "'$command' ended with $code, not $1"; }
# says TEXT: on stderr; prints TEXT: on stdout
says() { case $err in *"$1"*) ;; *) fail "'$command' did not say: $1" ;; esac; }
prints() { case $out in *"$1"*) ;; *) fail "'$command' did not print: $1" ;; esac; }
quiet() { [ -z "$err" ] || fail "'$command' said something on stderr"; }
# same_as FILE: stdout is that file of tests/cli/expected, byte for byte
same_as() {
    if ! diff -u "$here/expected/$1" out.txt >diff.txt 2>&1; then
        fail "'$command' differs from tests/cli/expected/$1"
        head -n 40 diff.txt
        echo "  if the change is right: attune ${command#attune } > tests/cli/expected/$1"
    fi
}

# shellcheck disable=SC1090
. "$here/t_$name.sh"
finish
