#!/bin/sh
# The list of linked-in kernels: a champion keeps its flags, and its record while the family beside which it was measured
# is what is linked in.
# Usage: registry.sh PYTHON MKREGISTRY.py      TAP on stdout.
set -eu
python=$1 mk=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/champions"
echo 'int family;' >"$dir/family.c"
hash=$("$python" -c "import hashlib,sys; print(hashlib.blake2b(open(sys.argv[1],'rb').read(), digest_size=16).hexdigest())" \
    "$dir/family.c")
for name in won plain; do
    echo "/* Champion. Compiler: gcc 12.2.0, extra flags -mprefer-vector-width=256 -fno-tree-vectorize. */" \
        >"$dir/champions/$name.c"
done
json() {
    printf '{"library": {"isa": "avx2", "dtype": "bf16", "work": "prefill", "cpu": "A CPU", "over": {"kernel": "family", "source": "%s", "rows": [
        {"class": "bf16 g2 s512 d64 causal softcap sinks t1", "ratio": {"median": 1.02, "low": 1.01}},
        {"class": "f32:f16 g4 s1/4096 d128/64 t16", "ratio": {"median": 1.02, "low": 0.99}}]}}}' "$1"
}
json "$hash" >"$dir/champions/won.json"
echo '{"valid": true}' >"$dir/champions/plain.json"

n=0 bad=0
check() {
    n=$((n + 1))
    if [ "$2" = "$3" ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        echo "# expected: $3"
        echo "# got:      $2"
        bad=1
    fi
}
echo 1..5
check "only champions with a victory are listed, with their flags" \
    "$("$python" "$mk" --champions "$dir/champions")" "won avx2 -mprefer-vector-width=256 -fno-tree-vectorize"
line() { "$python" "$mk" "$dir/out.h" s_won won avx2 "$dir/champions/won.c" s_family family avx2 "$dir/family.c" >"$dir/said"
    grep "$1" "$dir/out.h" | sed 's/"[0-9a-f]\{32\}"/HASH/; s/ *\\$//; s/^ *//'; }
check "a champion names the family that it goes before" "$(line X.s_won)" 'X(s_won, "won", "avx2", HASH, "family", "A CPU")'
check "a family is no champion" "$(line X.s_family)" 'X(s_family, "family", "avx2", HASH, "", "")'
check "the record: where it won for certain, and where not" "$(line Y.s_won)" \
    'Y(s_won, "bf16 g2 d64 causal softcap sinks", 512, 512, 1, 1)
Y(s_won, "f32:f16 g4 d128/64", 1, 4096, 16, 0)'
echo 'int family_changed;' >"$dir/family.c"
check "the record counts for nothing once the family has changed, and that is said" "$(line Y.s_won)$(cut -c1-36 "$dir/said")" \
    'won is linked in but not chosen: fam'
exit $bad
