# A whole small evolution: the result's files and their keys, show and report, events, an interrupt, a kill, --resume.
cp "$kernel" start.c
small="start.c --case 'f32 h2 s96 d64' --set evolve.final_seconds=2 --set evolve.control_races=0 --set evolve.shipped=false"
small_run() { eval "run evolve $small \"\$@\""; }
valid_json() { python3 -c 'import json,sys
for line in open(sys.argv[1]): json.loads(line)' "$1" 2>json.err || fail "$1: $(tail -1 json.err)"; }
# ask FILE EXPRESSION: of the JSON object x
ask() { python3 -c "import json,sys; x=json.load(open('$1')); sys.exit(0 if ($2) else 1)" || fail "$1: not so: $2"; }

small_run -i 3 -o run
exits 0; prints "over the initial program"; prints "Next"; prints "f32 h2 s96 d64"; enough
[ -s run/best/best_program.c ] || fail "no best_program.c"
[ -s run/portfolio/dispatch.txt ] || fail "no dispatch table"
info=run/best/best_program_info.json
ask $info "x['valid'] is True"
ask $info "all(k in x['metrics'] for k in ('accuracy_score','performance_score','memory_efficiency','stability_score','success_rate','combined_score'))"
ask $info "0 < x['error'] < 1e-4"
ask $info "x['speedup']['low'] <= x['speedup']['median'] <= x['speedup']['high']"
ask $info "all(k in c for c in x['cases'] for k in ('case','error','speedup','gflops','peak_fraction','tokens_per_s','workspace_bytes'))"
ask $info "all(k in x['machine'] for k in ('cpu','isa','fma_peak_gflops','read_bandwidth_gbs','compiler'))"
ask $info "x['run']['candidates'] >= 4 and 'minutes' in x['run'] and x['run']['proposers']"

run show run; exits 0; prints "over the initial program"; prints "Judged"
run show run --json; exits 0; cp out.txt show.json; ask show.json "x['valid'] and x['ended']"
run show run --program 1; exits 0; prints "program #1"; prints "attune_kernel"
run show run --program 99999; exits 2
run show run --diff; exits 0
[ -s run/report.html ] || fail "no report.html"
sed 's|http://www.w3.org/2000/svg||g' run/report.html | grep -qi '<script\|http://\|https://\|src=' && fail "report.html refers to something outside"
grep -q '</html>' run/report.html || fail "report.html is cut off"
run report run -o again.html; exits 0; prints again.html
cmp -s run/report.html again.html || fail "the report written again differs"

# what candidates and models write stays text
cp -r run hostile
python3 -c 'import sqlite3
db = sqlite3.connect("hostile/run.db")
db.execute("""update proposal set note = ?, origin = ?""", ("<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>"))
db.execute("""update program set evidence = ?""", ("*/ <b>\x1b[31m",))
db.commit()'
run report hostile; exits 0
grep -qi '<script\|<img' hostile/report.html && fail "the report lets markup through"
run show hostile --program 1; exits 0
case $out in *"$(printf '\033')"*) fail "show lets control characters through" ;; esac

# go on: counts only grow
small_run -i 5 --resume -o run --quiet; exits 0
run show run --json; cp out.txt more.json
ask more.json "sum(x['judged'].values()) >= 6"

# events
small_run -i 2 -o events --json; exits 0
cp out.txt events.jsonl; valid_json events.jsonl
grep -q '"event":"start"' events.jsonl || fail "no start event"
grep -q '"event":"judged"' events.jsonl || fail "no judged event"
tail -1 events.jsonl | grep -q '"event":"result".*"result":{' || fail "the last event is not the result"

# Ctrl-C: 130, the result so far is there, and --resume goes on
eval "exec \"\$attune\" evolve $small --minutes 5 -o stopped" >out.txt 2>err.txt </dev/null &
pid=$!
for _ in $(seq 200); do
    "$attune" show stopped --json 2>/dev/null | grep -q '"right":[1-9]\|"better":[1-9]' && break
    sleep 0.3
done
kill -INT $pid; wait $pid; code=$? out=$(cat out.txt) err=$(cat err.txt) command="attune evolve, interrupted"
exits 130
[ -s stopped/best/best_program.c ] || fail "no best_program.c after an interrupt"
run show stopped --json; cp out.txt before.json
before=$(python3 -c "import json; print(sum(json.load(open('before.json'))['judged'].values()))")
small_run --resume -o stopped -i $((before + 2)); exits 0

# kill -9: nothing judged is lost
eval "exec \"\$attune\" evolve $small --minutes 5 -o killed" >out.txt 2>err.txt </dev/null &
pid=$!
for _ in $(seq 200); do
    "$attune" show killed --json 2>/dev/null | grep -q '"right":[1-9]\|"better":[1-9]' && break
    sleep 0.3
done
kill -9 $pid; wait $pid 2>/dev/null
run show killed --json; exits 0; cp out.txt before.json
before=$(python3 -c "import json; print(sum(json.load(open('before.json'))['judged'].values()))")
small_run --resume -o killed -i $((before + 1)); exits 0
run show killed --json; cp out.txt after.json
ask after.json "sum(x['judged'].values()) > $before"
