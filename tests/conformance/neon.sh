#!/bin/sh
# Conformance on 64-bit Arm: each kernel, the reference and the suites cross-compiled, run under an emulator, tiny sizes: as
# NEON on a CPU that has no more and, what multiplies bf16, for FEAT_BF16 on one that has it. Then the library: what it
# chooses on each of the two, and whether that is right.
# Usage: neon.sh SOURCE_ROOT BUILD_FOLDER KERNEL.c...     TAP on stdout.
set -eu
root=$1 out=$2
shift 2
cc=${ATTUNE_AARCH64_CC:-aarch64-linux-gnu-gcc}
for tool in "$cc:gcc-aarch64-linux-gnu" qemu-aarch64:qemu-user python3:python3; do
    command -v "${tool%:*}" >/dev/null || { echo "1..0 # SKIP no ${tool%:*} (Debian: ${tool#*:})"; exit 0; }
done
plain_cpu=cortex-a72 bf16_cpu=max bf16_flags=-march=armv8.2-a+bf16
flags="-std=gnu17 -D_GNU_SOURCE -DATN_DATADIR=\"none\" -DATTUNE_VERSION=\"0\""
flags="$flags -I$root/include -I$root/src -I$out -idirafter /usr/include -w"
# The flags that candidates get, less -march=native, which a cross compiler does not know.
fast="-O3 -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math -freciprocal-math -ffp-contract=fast"
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

compile() # ISA FLAGS KERNEL.c
{
    object=$out/$(basename "$3" .c)_$1.o
    [ -e "$object" ] || "$cc" $flags $fast $2 -c "$3" -o "$object"
}
rm -f "$out"/*_neon.o "$out"/*_neonbf16.o "$out"/*_generic.o

# The library: best instruction set first, as in src/run/meson.build.
parts="$objects" registry=
library() # ISA FLAGS KERNEL.c
{
    family=$(basename "$3" .c)
    compile $1 "$2" "$3"
    "${cc%gcc*}objcopy" --redefine-sym attune_kernel=atn_kernel_${family}_$1 "$out/${family}_$1.o" "$out/lib_${family}_$1.o"
    parts="$parts $out/lib_${family}_$1.o" registry="$registry atn_kernel_${family}_$1 $family $1 $3"
}
kernels=$root/src/kernel
for f in decode flash_dot; do library neonbf16 $bf16_flags "$kernels/$f.c"; done
for f in decode flash_qvec; do library neon "" "$kernels/$f.c"; done
library generic -O1 "$kernels/ref/plain.c"
python3 "$root/src/run/mkregistry.py" "$out/registry.h" $registry
"$cc" $flags -O1 -static -o "$out/chosen" "$root/tests/conformance/chosen.c" "$root"/src/run/*.c "$root"/src/run/champions/*.c \
    "$root"/src/base/file.c "$root"/src/base/hash.c "$root"/src/base/cpu.c "$root"/src/base/peak.c $parts -lm -pthread \
    2>"$out/link.log" || { cat "$out/link.log" >&2; exit 1; }
case " $(qemu-aarch64 -cpu $bf16_cpu "$out/chosen" --features) " in *" bf16 "*) why= ;; *) why="this emulator has no bf16" ;; esac

n=0 bad=0
report() # NAME FILE COMMAND...: its output, and one line for it
{
    what=$1 tap=$2.tap
    shift 2
    n=$((n + 1))
    if "$@" >"$tap" 2>&1; then
        sed -n 's/^#/# aarch64/p' "$tap"
        echo "ok $n - $what$(sed -n 's/^ok.*\( # SKIP.*\)/\1/p' "$tap")"
    else
        sed 's/^/# /' "$tap"
        echo "# rerun: $*"
        echo "not ok $n - $what"
        bad=1
    fi
}
skip()
{
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}
conform() # ISA FLAGS CPU KERNEL.c [CASE...]
{
    isa=$1 cpu=$3 base=$(basename "$4" .c)
    file=$out/${base}_$isa
    compile $isa "$2" "$4" && "$cc" -static -o "$file" "$out/conformance.o" "$file.o" $objects -lm
    shift 4
    report "$base@$isa" "$file" qemu-aarch64 -cpu $cpu "$file" --tiny
    for text in "$@"; do report "$base@$isa: $text" "$file" qemu-aarch64 -cpu $cpu "$file" --case "$text"; done
}
for kernel in "$@"; do
    conform neon "" $plain_cpu "$kernel"
    grep -q vf_dot_bf16 "$kernel" || continue
    if [ "$why" ]; then skip "$base@neonbf16" "$why"; continue; fi
    case $base in                    # few rows for decode, else sizes that are no multiple of anything
    decode) conform neonbf16 $bf16_flags $bf16_cpu "$kernel" "bf16 h7/1 s3/210 d64 window=90 mask=bool sinks layout=bshd" ;;
    *) conform neonbf16 $bf16_flags $bf16_cpu "$kernel" "bf16 h4/2 s37/93 d66/34 causal lse sinks" \
        "bf16 h2 s50/133 d62/70 mask=bool:causal" ;;
    esac
done
prefill="bf16 h4/2 s37 d64 causal" step="bf16 h4/2 s1/300 d64" f32="f32 h4/2 s37 d64 causal"
report "chosen on $plain_cpu" "$out/chosen" qemu-aarch64 -cpu $plain_cpu "$out/chosen" \
    "$prefill" flash_qvec@neon "$step" decode@neon "$f32" flash_qvec@neon
if [ "$why" ]; then skip "chosen on $bf16_cpu" "$why"
else report "chosen on $bf16_cpu" "$out/chosen" qemu-aarch64 -cpu $bf16_cpu "$out/chosen" \
    "$prefill" flash_dot@neonbf16 "$step" decode@neonbf16 "$f32" flash_qvec@neon
fi
echo "1..$n"
exit $bad
