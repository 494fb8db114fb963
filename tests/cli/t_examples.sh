# The examples of a newcomer: each config is understood and evolves, and a program of 25 lines runs an evolved kernel.
brief="-i 2 --set evolve.minutes=0 --set evolve.final_seconds=1 --set evolve.control_races=0"
evolves() {
    eval "run evolve $3 -c '$1' $brief -o '$2' --quiet"; exits 0
    [ -s "$2/best/best_program.c" ] || fail "no winner from $1"
}
family="'$kernel' --set evolve.shipped=false"
for file in "$root"/examples/variants/*.yaml "$root"/examples/attention/*.yaml; do
    run config "$file"; exits 0
done
enough
for file in "$root"/examples/variants/*.yaml; do
    variant=$(basename "$file" .yaml)
    if [ "$variant" = bf16 ]; then evolves "$file" bf16 ''; else evolves "$file" "$variant" "$family"; fi
    grep -q "examples/variants/$variant.yaml" "$file" || fail "$file does not say how it is run"
done
evolves "$root/examples/attention/custom-tolerance.yaml" tolerance "$family"
run eval "$root/src/kernel/flash_qvec.c" -c "$root/examples/attention/custom-cases.yaml" --stage 2
exits 0; prints "valid"; enough
# the tolerance is really the file's: an error of 3e-5 passes with it and fails without
sed 's/o\[d\] += p \* x->v/o[d] += p * 1.00003f * x->v/' "$root/examples/attention/initial_program.c" >rough.c
cmp -s rough.c "$root/examples/attention/initial_program.c" && fail "nothing was spoiled"
run eval rough.c -c "$root/examples/attention/custom-tolerance.yaml" --stage 1;  exits 0
run eval rough.c --case "f32 h8 s512 d64 causal" --stage 1;                      exits 1; prints "wrong"

# where the machine has tiles, a run for bf16 begins with them
case $("$attune" doctor --json) in
*amx*) run show bf16; prints "flash_amx" ;;
esac

build=$(dirname "$(dirname "$attune")")
if command -v pkg-config >/dev/null 2>&1 && command -v cc >/dev/null 2>&1; then
    export PKG_CONFIG_PATH="$build/meson-uninstalled"
    run build gqa/best/best_program.c -o best_program.so; exits 0
    # shellcheck disable=SC2046
    cc -Wall -Wextra -Werror "$root/examples/attention/your_program.c" $(pkg-config --cflags --libs attune) \
        -Wl,-rpath,"$build/src/run" -o your_program || fail "your_program does not compile"
    ATTUNE_WISDOM='' ./your_program ./best_program.so >program.txt 2>&1 || fail "your_program: $(cat program.txt)"
    grep -q "first row begins" program.txt || fail "your_program printed: $(cat program.txt)"
    # the folder of a run, too, once its programs are built
    ./your_program gqa >program.txt 2>&1 && fail "your_program took a folder without objects"
    grep -q "attune build" program.txt || fail "your_program of a folder printed: $(cat program.txt)"
    run build gqa; exits 0
    ATTUNE_WISDOM='' ./your_program gqa >program.txt 2>&1 || fail "your_program of a folder: $(cat program.txt)"
    ./your_program ./missing.so >/dev/null 2>&1 && fail "your_program took a file that is not there"
    # the demo, and what it says to type for a C program, as it says it
    export ATTUNE_PROGRAM="$attune"
    run demo --seconds 1 --no-model -o 'a demo'; exits 0
    rm your_program
    line=$(sed -n 's/^  in your C program  //p' out.txt)
    ATTUNE_WISDOM='' sh -c "$line" >program.txt 2>&1 || fail "'$line': $(cat program.txt)"
    grep -q "first row begins" program.txt || fail "'$line' printed: $(cat program.txt)"
    unset ATTUNE_PROGRAM
else
    echo "no pkg-config or cc: your_program was not built"
fi

# the kernel that docs/kernel-contract.md shows whole
awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' "$root/docs/kernel-contract.md" >contract.c
run eval contract.c --stage 2; exits 0; prints "valid"
