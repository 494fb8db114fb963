#!/bin/sh
# A run through the mailbox: answers good, malformed, late and wrong; the same run through exec; then its replay.
# Usage: t_mail.sh ATTUNE SOURCE_ROOT
set -eu
attune=$1
root=$2
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
export ATTUNE_HOME="$root"
bad() { echo "not ok: $*"; tail -n 20 "$dir"/*.log; echo "rerun: sh tests/propose/t_mail.sh '$attune' '$root'"; exit 1; }
small="--set evolve.shipped=false --set evolve.control_races=0 --set evolve.final_seconds=0 --set database.num_islands=1"

# Not every machine can judge: no isolation, no compiler.
"$attune" eval --stage 1 --quiet "$root/examples/attention/initial_program.c" >/dev/null 2>&1 || { echo "SKIP: nothing can be judged here"; exit 77; }

wait_for() { i=0; while ! [ -e "$1" ]; do i=$((i + 1)); [ $i -lt 600 ] || bad "no $1"; sleep 0.1; done; }

# Four answers that differ by the name of what they do and by what they compute.
edit() { # edit NUMBER
    printf 'Change number %s.\n\n<<<<<<< SEARCH\n            float dot = 0;\n=======\n            float dot = 0 * %s.0f;\n>>>>>>> REPLACE\n' "$1" "$1"
}

"$attune" evolve "$root/examples/attention/initial_program.c" --proposer mailbox --set mailbox.open=3 -i 4 -m 2 \
    --case "f32 h2 s32 d32" -o "$dir/run" $small >"$dir/run.log" 2>&1 &
pid=$!
box=$dir/run/mailbox
wait_for "$box/003/prompt.md"
"$attune" mail list -o "$dir/run" | grep -q '^002  open' || bad "mail list"
"$attune" mail show 2 -o "$dir/run" | grep -q 'EVOLVE-BLOCK-START' || bad "mail show"
echo 'nothing to say' | "$attune" mail answer 3 -o "$dir/run" >/dev/null || bad "mail answer"   # malformed: stays open
wait_for "$box/003/refused.md"
grep -q 'no SEARCH/REPLACE' "$box/003/refused.md" || bad "why 3 was refused"
edit 3 | "$attune" mail answer 3 -o "$dir/run" >/dev/null                                       # any order
edit 1 >"$box/001/answer.new" && mv "$box/001/answer.new" "$box/001/answer.md"                  # by hand
wait_for "$box/001/verdict.md"
wait_for "$box/003/verdict.md"
edit 9 >"$box/001/answer.new" && mv "$box/001/answer.new" "$box/001/answer.md"                  # too late
wait_for "$box/001/refused.md"
grep -q 'too late' "$box/001/refused.md" || bad "a late answer"
"$attune" mail answer 1 "$box/002/prompt.md" -o "$dir/run" >/dev/null 2>&1 && bad "an answer to a closed question"
kill -9 $pid; wait $pid 2>/dev/null || true                                                     # and on with --resume
echo open >"$box/001/state"                                                                     # killed before it said "taken"
printf 'Skips the scale.\n<<<<<<< SEARCH\n            s[(int64_t)i * Skv + j] = dot * x->scale;\n=======\n            s[(int64_t)i * Skv + j] = dot;\n>>>>>>> REPLACE\n' >"$dir/wrong.md"
"$attune" mail answer 2 "$dir/wrong.md" -o "$dir/run" >/dev/null || bad "an answer while nobody runs"
"$attune" evolve "$root/examples/attention/initial_program.c" --proposer mailbox --set mailbox.open=3 -i 4 -m 2 --resume \
    --case "f32 h2 s32 d32" -o "$dir/run" $small >"$dir/resume.log" 2>&1 &
pid=$!
wait_for "$box/002/verdict.md"
grep -q taken "$box/001/state" || bad "a question that was answered is open again"
grep -q 'Not right' "$box/002/verdict.md" || bad "the wrong answer was not found wrong"
i=0
while kill -0 $pid 2>/dev/null; do
    i=$((i + 1)); [ $i -lt 300 ] || bad "the run does not end"
    for n in 004 005 006; do
        if [ -e "$box/$n/prompt.md" ] && ! [ -e "$box/$n/answer.md" ] && grep -q open "$box/$n/state"; then
            edit "4$n" >"$box/$n/answer.new" && mv "$box/$n/answer.new" "$box/$n/answer.md"
        fi
    done
    sleep 0.2
done
wait $pid || bad "the resumed run failed"
pid=

# Replayed: the same programs in the same order, answers read anew.
"$attune" evolve "$root/examples/attention/initial_program.c" --proposer replay --set "replay.run=$dir/run" -m 2 \
    --case "f32 h2 s32 d32" -o "$dir/again" $small >"$dir/again.log" 2>&1 || bad "the replay failed"
! grep -q 'leads to another program' "$dir/again.log" || bad "answers lead elsewhere"
for d in run again; do
    "$attune" show --json "$dir/$d" >"$dir/$d.json" || bad "show"
done
if command -v sqlite3 >/dev/null; then
    for d in run again; do
        sqlite3 "$dir/$d/run.db" "select p.id, p.sha, p.origin, coalesce(p.parent1, 0), q.correct, q.reason in ('ok', 'not_better', 'slower', 'unconfirmed') from proposal p join program q using(id) order by p.id" >"$dir/$d.txt"
    done
    cmp -s "$dir/run.txt" "$dir/again.txt" || { diff "$dir/run.txt" "$dir/again.txt" || true; bad "the replay met other programs"; }
fi

# exec: a command; one that hangs is killed with its children.
edit 7 >"$dir/answer.md"
"$attune" evolve "$root/examples/attention/initial_program.c" --proposer exec --set "exec.command=grep -q EVOLVE-BLOCK-START && cat $dir/answer.md" \
    -i 1 -m 1 --case "f32 h2 s32 d32" -o "$dir/exec" $small >"$dir/exec.log" 2>&1 || bad "exec"
grep -q '2 programs' "$dir/exec.log" || bad "exec made no program"
"$attune" evolve "$root/examples/attention/initial_program.c" --proposer exec --set "exec.command=sleep 987 & sleep 987" --set exec.timeout=0.3 \
    -i 1 -m 0.3 --case "f32 h2 s32 d32" -o "$dir/hang" $small >"$dir/hang.log" 2>&1 || true
grep -q 'killed' "$dir/hang.log" || bad "a command that hangs"
! pgrep -f 'sleep 987' >/dev/null || bad "children of a killed command live on"
# One that has nothing to say is not asked for ever.
"$attune" evolve "$root/examples/attention/initial_program.c" --proposer exec --set "exec.command=echo no" --set exec.parallel=8 \
    -i 8 -m 2 --case "f32 h2 s32 d32" -o "$dir/mute" $small >"$dir/mute.log" 2>&1 || true
grep -q 'exec: [0-9]* answers in a row led to no new program' "$dir/mute.log" || bad "a command that says nothing was asked on and on"
echo "ok: mailbox, resume, replay, exec"
