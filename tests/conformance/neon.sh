#!/bin/sh
# Conformance on 64-bit Arm: each kernel, the reference and the suites cross-compiled, run under an emulator, tiny sizes.
# Usage: neon.sh SOURCE_ROOT BUILD_FOLDER KERNEL.c...     TAP on stdout.
set -eu
root=$1 out=$2
shift 2
cc=${ATTUNE_AARCH64_CC:-aarch64-linux-gnu-gcc}
command -v "$cc" >/dev/null || { echo "1..0 # SKIP no $cc (Debian: gcc-aarch64-linux-gnu)"; exit 0; }
command -v qemu-aarch64 >/dev/null || { echo "1..0 # SKIP no qemu-aarch64 (Debian: qemu-user)"; exit 0; }
flags="-std=gnu17 -D_GNU_SOURCE -I$root/include -I$root/src -w"
mkdir -p "$out"
objects=
for f in problem data reference tolerance laws suite; do
    "$cc" $flags -O3 -ffp-contract=off -c "$root/src/problem/$f.c" -o "$out/$f.o"
    objects="$objects $out/$f.o"
done
for f in status text rng; do
    "$cc" $flags -O2 -c "$root/src/base/$f.c" -o "$out/b_$f.o"
    objects="$objects $out/b_$f.o"
done
"$cc" $flags -O2 -ffp-contract=off -DCONFORMANCE_LINKED -c "$root/tests/conformance/conformance.c" \
    -o "$out/conformance.o"
echo "1..$#"
n=0 bad=0
for kernel in "$@"; do
    n=$((n + 1))
    name=$(basename "$kernel" .c)
    # The flags that candidates get, less -march=native, which a cross compiler does not know.
    if "$cc" $flags -O3 -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math -freciprocal-math \
            -ffp-contract=fast -c "$kernel" -o "$out/k_$name.o" &&
        "$cc" -static -o "$out/$name" "$out/conformance.o" "$out/k_$name.o" $objects -lm &&
        qemu-aarch64 "$out/$name" --tiny >"$out/$name.tap" 2>&1; then
        sed -n 's/^#/# aarch64/p' "$out/$name.tap"
        echo "ok $n - $name on aarch64"
    else
        sed 's/^/# /' "$out/$name.tap" 2>/dev/null || true
        echo "# rerun: qemu-aarch64 $out/$name --tiny"
        echo "not ok $n - $name on aarch64"
        bad=1
    fi
done
exit $bad
