# attune eval: a valid program, wrong ones with a line that reproduces them, bad input; attune doctor.
initial=$root/examples/attention/initial_program.c
small="--case 'f32 h2/1 s48 d64 causal' --case 'f32 h1 s37 d64'"

eval "run eval $initial $small"
exits 0; quiet; prints "valid"; prints "(the same code)"; prints "speedup"; prints "f32 h2/1 s48 d64 causal"
for name in accuracy_score performance_score memory_efficiency stability_score success_rate combined_score; do
    prints "$name"
done
enough

eval "run eval $initial $small --json"
exits 0; quiet
for key in valid accuracy_score combined_score error speedup median low high cases case gflops peak_fraction tokens_per_s \
    workspace_bytes machine cpu isa fma_peak_gflops read_bandwidth_gbs compiler run candidates minutes proposers; do
    prints "\"$key\":"
done
prints '"valid": true'

run eval "$initial" --stage 1;                                          exits 0; prints "quick stage only"
run eval "$initial" --case "f32 h1 s20 d64" --data needle --seed 7;     exits 0; prints "valid"

# Half of the scale: wrong, with a line that shows it again.
sed 's/\.scale = a->scale,/.scale = a->scale * 0.5f,/' "$initial" >wrong.c
cmp -s wrong.c "$initial" && fail "the initial program has changed: nothing was spoiled"
eval "run eval wrong.c $small"
exits 1; prints "not valid"; prints "wrong"
again=$(sed -n 's/^reproduce: attune //p' out.txt)
case $again in "eval wrong.c --case "*" --data "*" --seed "*) ;; *) fail "reproduce line: '$again'" ;; esac
eval "run $again"
exits 1; prints "wrong"
# a name that a shell takes apart
cp wrong.c "wro'ng one.c"
run eval "wro'ng one.c" --stage 1;                                      exits 1
eval "run $(sed -n 's/^reproduce: attune //p' out.txt)"
exits 1; prints "wrong"
eval "run eval wrong.c $small --json"
exits 1; prints '"valid": false'; prints '"stage": "quick"'; prints '"reason": "wrong"'; prints '"reproduce":'
prints '"combined_score": null'

echo 'int main(void) { return' >broken.c
run eval broken.c;                                                      exits 1; prints "not valid"; prints "stage"
run eval missing.c;                                                     exits 2; says "missing.c"
# what stands behind a zero byte would neither be seen nor judged
(cat "$initial"; printf '\000int x;') >zero.c
run eval zero.c --stage 1;                                              exits 2; says "zero byte"
run build zero.c -o zero.so;                                            exits 2; says "zero byte"
run bench zero.c --against none --case "f32 h1 s8 d64";                 exits 2; says "zero byte"
# hosts get what was judged: with the flags of its heading
(echo '/* evolved; extra flags -fno-tree-vectorize. */'; cat "$initial") >flags.c
run build flags.c -o flags.so --json;                                   exits 0; prints "-fno-tree-vectorize"
# ... and a program that says what it was judged on is in a module for that only
(cat "$initial"; echo 'const char attune_judged[] = "f32 prefill";') >judged.c
run eval judged.c --case "f32 h2/1 s32 d32 causal" --case "f32 h2/1 s1/64 d32" --module --json; exits 0
python3 - out.txt <<'END' || fail "the module's kernels are not as judged: $(cat out.txt)"
import json, sys
prefill, _, decode, _ = json.load(open(sys.argv[1]))["module"]
assert prefill["own"] and not prefill["why"] and not decode["own"] and "judged" in decode["why"], (prefill, decode)
END
(cat judged.c; echo 'const char attune_other[] = "f32 prefill";') >other.c
sed 's/^const char attune_other/__attribute__((visibility("default"))) &/' other.c >shown.c
run eval shown.c --stage 1 --case "f32 h1 s20 d64";                     exits 1; prints "visibility"
run eval "$initial" --against missing.c --case "f32 h1 s20 d64";        exits 2; says "missing.c"
run eval "$initial" --against broken.c --case "f32 h1 s20 d64";         exits 2; says "does not build"
run eval "$initial" --case "f32 h3/2 s8 d64";                           exits 2; says "h3/2"
run eval "$initial" --case "f32 h1 s8 d64" --data nedle;                exits 2; says "did you mean 'needle'?"
run eval "$initial" --suite sed;                                        exits 2; says "seed"
run eval "$initial" --cc no-such-compiler;                              exits 2; says "no-such-compiler"

# who waits for another attune's measurement says so, and only then
export ATTUNE_LOCK="$PWD/lock"
: >lock
rm -f err.txt
flock lock sh -c 'n=0; until grep -qs "another attune" err.txt || [ $n = 150 ]; do sleep 0.2; n=$((n + 1)); done' &
until ! flock -n lock true; do sleep 0.1; done
run eval "$initial" --stage 3 --case "f32 h1 s20 d64";                  exits 0; says "another attune is measuring"
wait
run eval "$initial" --stage 3 --case "f32 h1 s20 d64";                  exits 0
grep -q "another attune" err.txt && fail "nobody was waited for"
unset ATTUNE_LOCK

run doctor;                                                             exits 0; prints "isolation"; prints "A/A"; prints "resolve"
run doctor --json;                                                      exits 0; prints '"handshake_us"'; prints '"can_see_percent"'
