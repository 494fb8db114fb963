#!/bin/sh
# What knob tuning adds to a budget of answers: the recorded answers from the initial program, judged anew on this machine,
# alone and with the knobs proposer beside them; then both winners raced.
#
#     figure.sh ATTUNE OUT_FOLDER [MINUTES [RECORD]]
#
# MINUTES (6): of the run with tuning; the one without ends with its answers. RECORD: another folder like this one (../guesses).
#
# WRAP (environment): a command put before each piece of at most SECONDS (100), for machines that are shared.
set -eu
attune=$1 out=$2 minutes=${3:-6}
here=$(cd "${4:-$(dirname "$0")}" && pwd)
ATTUNE_HOME=${ATTUNE_HOME:-$(cd "$here/../../.." && pwd)}
export ATTUNE_HOME
set -- --case "f32 h4 s256 d64" --case "f32 h4/2 s512 d128 causal" --case "f32 h4/2 s1/2048 d64"
answers=$(grep -c '"outcome":"ok"' "$here/record.jsonl")

evolve() { # NAME PROPOSERS LIMIT...
    name=$1 proposers=$2
    shift 2
    resume=
    [ -e "$out/$name/run.db" ] && resume=--resume
    for piece in 1 2 3 4 5 6 7 8 9 10 11 12; do
        [ -e "$out/$name.done" ] && return
        if ${WRAP:-} timeout -s INT "${SECONDS_A_PIECE:-100}" "$attune" evolve "$here/initial_program.c" --proposer "$proposers" --set "replay.run=$here" \
            --seed 6 --set evolve.shipped=false --set evolve.control_races=0 --set evolve.final_seconds=0 --set database.num_islands=2 \
            -o "$out/$name" $resume "$@" >>"$out/$name.log" 2>&1; then
            : >"$out/$name.done"
        fi
        resume=--resume
    done
}

mkdir -p "$out"
evolve off replay "$@"
evolve on replay,knobs --minutes "$minutes" "$@"
echo "a budget of $answers answers from the initial program:"
for name in off on; do
    printf 'tuning %-3s  ' $name
    ${WRAP:-} timeout 60 "$attune" eval "$out/$name/best/best_program.c" --against "$here/initial_program.c" "$@" | grep '^speedup .*geometric'
done
for race in 1 2 3 4 5; do # each in fresh processes: where their pages lie is worth a percent or two
    printf 'on over off '
    ${WRAP:-} timeout 60 "$attune" eval "$out/on/best/best_program.c" --against "$out/off/best/best_program.c" "$@" | grep '^speedup .*geometric'
done
