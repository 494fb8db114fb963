# attune bench without peers of other makers: fields of the JSON, columns of the CSV, bad input. No
# figure is judged here; errors are.
small="--case 'f32 h4/2 s1/700 d64' --case 'f16 h3/1 s2/500 d64 layout=bshd' --seconds 0.02"

eval "run bench $small --against none,single --threads 2 --json --csv b.csv --svg b.svg"
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
