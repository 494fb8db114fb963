#!/bin/sh
# The list of linked-in kernels: a champion is fresh while what it beat is what is linked in, and keeps its flags.
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
json() { printf '{"library": {"isa": "avx2", "dtype": "bf16", "work": "decode", "cpu": "A CPU", "over": {"kernel": "family", "source": "%s"}}}' "$1"; }
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
echo 1..4
check "only champions with a victory are listed, with their flags" \
    "$("$python" "$mk" --champions "$dir/champions")" "won avx2 -mprefer-vector-width=256 -fno-tree-vectorize"
line() { "$python" "$mk" "$dir/out.h" s_won won avx2 "$dir/champions/won.c" s_family family avx2 "$dir/family.c"
    grep "$1" "$dir/out.h" | sed 's/"[0-9a-f]\{32\}"/HASH/; s/ *\\$//; s/^ *//'; }
check "a champion over the linked family is fresh" "$(line s_won)" 'X(s_won, "won", "avx2", HASH, 2, "decode", "A CPU", 1)'
check "a family is no champion" "$(line s_family)" 'X(s_family, "family", "avx2", HASH, -1, "", "", 0)'
echo 'int family_changed;' >"$dir/family.c"
check "it is not once the family has changed" "$(line s_won)" 'X(s_won, "won", "avx2", HASH, 2, "decode", "A CPU", 0)'
exit $bad
