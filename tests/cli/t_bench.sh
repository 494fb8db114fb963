# attune bench without peers of other makers: fields of the JSON, columns of the CSV, bad input. No
# figure is judged here; errors are.
small="--case 'f32 h4/2 s1/700 d64' --case 'f16 h3/1 s2/500 d64 layout=bshd' --seconds 0.02"

eval "run bench $small --against none,single --threads 2 --json --quiet --csv b.csv --svg b.svg"
exits 0; quiet
for key in version machine cpu isa features cpus fma_peak_gflops read_bandwidth_gbs rows case class dtype threads kernel \
    ours_ms error peer peer_version peer_ms ratio median low high peak_fraction read_gbs bandwidth_fraction geomean worst; do
    prints "\"$key\":"
done
head -2 b.csv | grep -q '^case,threads,kernel,ours_ms,error,peer,.*,peak_fraction,read_gbs,bandwidth_fraction,note$' ||
    fail "columns: $(head -2 b.csv)"
[ "$(grep -c '^f' b.csv)" = 4 ] || fail "2 cases beside 2 are not 4 rows: $(cat b.csv)"
awk -F, '/^f/ && !(NF == 17 && $4 > 0 && $5 < 1e-3 && $15 > 0 && $16 > 0) { print; bad = 1 } END { exit bad }' b.csv ||
    fail "a row of the CSV is damaged"
grep -q '<svg' b.svg || fail "no drawing"

# A peer that dies, talks nonsense or cannot be started is a row that says so; the JSON has all its fields and the CSV all its
# columns.
mkdir -p peers/bin absent/bin
one="--case 'f32 h1 s8 d64' --seconds 0.01 --against torch-flash --json"
for answer in 'exit 3' 'while read line; do echo rubbish; done' \
    'while read line; do echo "{\"ok\": false, \"why\": \"say \\\"no\\\", and\\nmore\"}"; done'; do
    printf '#!/bin/sh\n%s\n' "$answer" >peers/bin/python
    chmod +x peers/bin/python
    ATTUNE_PEERS=$PWD/peers; export ATTUNE_PEERS
    eval "run bench $one --csv p.csv"; exits 0
    python3 - <<'END' || fail "after '$answer': $(cat p.csv)"
import csv, json
row, = json.load(open("out.txt"))["rows"]
assert row["skipped"] and row["peer_ms"] is None and row["ratio"]["median"] is None and row["error"] < 1e-6, row
assert [len(r) for r in csv.reader(open("p.csv")) if r[0][0] != "#"] == [17, 17]
END
done
: >absent/bin/python
ATTUNE_PEERS=$PWD/absent; eval "run bench $one"; exits 0; prints '"skipped": "not running: cannot start'
# Ctrl-C does not wait for a peer that hangs; what there is of the JSON is whole.
printf '#!/bin/sh\nexec sleep 60\n' >peers/bin/python
ATTUNE_PEERS=$PWD/peers
timeout --foreground -s INT -k 60 3 "$attune" bench --case 'f32 h1 s8 d8' --against torch-flash --json >out.txt 2>err.txt
code=$? command="attune bench, interrupted"; exits 124
python3 -c 'import json; json.load(open("out.txt"))' || fail "not JSON after an interrupt: $(cat out.txt)"
unset ATTUNE_PEERS
# One JSON object whatever happens, and a device is not replaced by a file.
eval "run bench --case 'f32 h1 s8 d64' --seconds 0.01 --against none --json --csv missing/b.csv"; exits 2
python3 -c 'import json; d = json.load(open("out.txt")); assert len(d["rows"]) == 1 and "missing/b.csv" in d["error"]' || fail "not one object: $out"
eval "run bench --case 'f32 h1 s8 d64' --seconds 0.01 --against none --csv /dev/stdout"; exits 0; prints "case,threads,kernel"
[ -L /dev/stdout ] || fail "/dev/stdout is a link no more"
run bench --seconds 0 --json;                                   exits 2; prints '{"error":"--seconds: 0 is outside'
run bench --case "f32 h64 s16000000 d128" --against none --json;  exits 1; says "GB are available"; prints '"rows": []'
run bench --against "";                                         exits 2; says "got nothing"
run bench --against ",";                                        exits 2; says "got nothing"

eval "run bench --case 'f32 h1 s20 d64 window=3' --against none --seconds 0.02 --quiet";  exits 0
run bench "$root/examples/attention/initial_program.c" --against attune --case "f32 h2/1 s1/300 d64" --seconds 0.02
exits 0; prints "over attune"
grep -q '^f32 h2/1 s1/300 d64 *initial_program\.c  ' out.txt || fail "the row does not name its program"
eval "run bench --case 'f32 h1 s20 d64' --kernel plain --against flash_qvec --seconds 0.02 --json"; exits 0
prints '"peer": "flash_qvec@'; prints '"class": "f32 g1 s64 d64 t1"'

run bench --against nobody;                                     exits 2; says "no peer is called 'nobody'"
run bench --case "f32 h9/2 s64 d64";                            exits 2; says "h9/2"
run bench --suite rubbish;                                      exits 2; says "rubbish"
run bench missing.c --against attune;                           exits 2; says "missing.c"
run bench --threads -3;                                         exits 2; says "threads"
run bench --kernel nonsense --case "f32 h1 s8 d64" --against none;  exits 2; says "nonsense"
