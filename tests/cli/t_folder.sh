# An output folder of another machine, evaluator or suite: refused, saying what differs; nothing of it is changed.
# A folder in use: refused. A new run in the folder of an old one: the old one is kept.
cp "$kernel" start.c
small="--set evolve.final_seconds=0 --set evolve.control_races=0 --set evolve.shipped=false -i 1 -o run"
one="start.c --case 'f32 h2 s64 d64'"
eval "run evolve $one $small"; exits 0; enough
for change in --tolerance=2 --threads=2 "--case 'f32 h2 s65 d64'"; do
    case $change in
    --tolerance*) eval "run evolve $one $small --set judge.tolerance=2 --resume"; what=tolerance ;;
    --threads*) eval "run evolve $one $small --threads 2 --resume"; what=threads ;;
    *) eval "run evolve start.c --case 'f32 h2 s65 d64' $small --resume"; what=suite ;;
    esac
    exits 2; says "$what"
done
set_meta() { python3 -c 'import sqlite3,sys
db = sqlite3.connect("run/run.db"); db.execute("update meta set value=? where key=?", (sys.argv[2], sys.argv[1])); db.commit()' "$1" "$2"; }
get_meta() { python3 -c 'import sqlite3,sys
print(sqlite3.connect("run/run.db").execute("select value from meta where key=?", (sys.argv[1],)).fetchone()[0])' "$1"; }
machine=$(get_meta identity.machine)
set_meta identity.machine "another machine; generic"
eval "run evolve $one $small --resume"; exits 2; says "another machine; generic"; says "machine"
set_meta identity.machine "$machine"
judge=$(get_meta identity.judge)
set_meta identity.judge "judge 0"
eval "run evolve $one $small --resume"; exits 2; says "judge 0"
set_meta identity.judge "$judge"
eval "run evolve $one $small --resume -i 2"; exits 0
# what it was for need not be said again
eval "run evolve $small --resume -i 3"; exits 0

# not a run at all
mkdir broken; printf 'this is no database, but long enough to be taken for one by a careless reader' >broken/run.db
run show broken; exits 2
eval "run evolve $one $small -o broken --resume"; exits 2

# the old run is kept
eval "run evolve $one $small"; exits 0
ls run/run-*.db >/dev/null 2>&1 || fail "the earlier run was not kept aside"

# in use
eval "exec \"\$attune\" evolve $one $small -i 1000 --minutes 5 --json" >busy.jsonl 2>&1 </dev/null &
pid=$!
for _ in $(seq 300); do grep -q '"event":"start"' busy.jsonl && break; sleep 0.1; done
eval "run evolve $one $small --resume"; exits 2; says "another attune is running in 'run'"
kill -INT $pid; wait $pid
