# A run for cases of one kind (half types, decode) judges kernels by that kind: the families that take nothing else are
# valid there, are refused elsewhere, and whoever refuses everything is refused everywhere.
judge() { run eval "$1" --case "$2" --stage 2; }

judge "$root/src/kernel/decode.c" "f32 h8/2 s1/512 d64";                exits 0; prints "valid"
judge "$root/src/kernel/decode.c" "f32 h8/2 s512 d64";                  exits 1; prints "plain f32 attention"
judge "$root/tests/judge/zoo/refuses_all.c" "bf16 h2 s64 d64";          exits 1; prints "the timed cases' kinds"
# a plain program gives nought times NaN to rows that do not look at a key: no NaN stands where a window or a mask hides one
initial=$root/examples/attention/initial_program.c
judge "$initial" "f32 h8/2 s512 d64 causal window=255";                 exits 0; prints "valid"
judge "$initial" "f32 h4/2 s64/96 d64 mask=bool:window";                exits 0; prints "valid"
# wrong in the run's kind only: the scale is lost where the tensors are halves
sed 's/\.scale = a->scale,/.scale = a->q.dtype == ATN_F32 ? a->scale : 1,/' "$root/examples/attention/initial_program.c" >half.c
judge half.c "f16 h2 s64 d64";                                          exits 1; prints "wrong"
judge "$root/src/kernel/flash_amx.c" "f32 h4 s128 d64 causal";          exits 1
case $("$attune" doctor --json) in
*amx*) judge "$root/src/kernel/flash_amx.c" "bf16 h4/2 s256 d64 causal"; exits 0; prints "valid" ;;
*) echo "no AMX here: flash_amx was only seen to be refused" ;;
esac
judge "$root/src/kernel/flash_dot.c" "f32 h4 s128 d64 causal";          exits 1
case $("$attune" doctor --json) in
*avx512bf16*) judge "$root/src/kernel/flash_dot.c" "bf16 h4/2 s256 d64 causal"; exits 0; prints "valid" ;;
*) echo "no AVX512-BF16 here: flash_dot was only seen to be refused" ;;
esac
