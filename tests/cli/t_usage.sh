# Wrong command lines: which word is wrong, what is near, exit code 2. Right ones that only ask: 0.
run;                                exits 2; says "Usage:"
run --version;                      exits 0; prints "attune 0."; quiet
run --help;                         exits 0; prints "evolve [INITIAL.c|RUN]"; quiet
run confg;                          exits 2; says "unknown command 'confg'; did you mean 'config'?"
run --vresion;                      exits 2; says "unknown option"
run evolve --itertions 4;           exits 2; says "unknown option '--itertions'; did you mean '--iterations'?"
run evolve --iterations x;          exits 2; says "--iterations: expected a whole number, got 'x'"
run evolve --iterations 0;          exits 2; says "outside"
run evolve --minutes nan;           exits 2; says "outside"
run evolve --iterations;            exits 2; says "option '--iterations' needs a value"
run evolve --s seed;                exits 2; says "could be any of"
run evolve --resume=yes;            exits 2; says "takes no value"
run evolve -z;                      exits 2; says "unknown option '-z'"
run evolve a.c b.c;                 exits 2; says "unexpected argument 'b.c'"
run eval;                           exits 2; says "PROGRAM.c|RUN is missing"
run bench --kernel flash;           exits 2; says "there are "; says "flash_qvec@"
run bench --isa sse9;               exits 2; says "is none of generic|"
run worker-bundle none/x.tar.gz;    exits 2; says "cannot write 'none/x.tar.gz'"
run eval "$root/src/kernel/decode.c" --case "f32 h1 s1/8 d64" --data nedle
exits 2; says "did you mean 'needle'?"
run help evolv;                     exits 2; says "did you mean 'evolve'?"
run help --completion tcsh;         exits 2; says "'tcsh' is none of bash|zsh|fish"
for command_name in evolve eval doctor show report config help; do
    run "$command_name" --help;     exits 0; prints "Usage: attune $command_name"; quiet
    run help "$command_name";       exits 0; prints "Usage: attune $command_name"
done
run evolve --help
same_as help-evolve.txt
if [ -c /dev/full ]; then
    "$attune" help --man >/dev/full 2>err.txt; code=$? err=$(cat err.txt) out='' command="attune help --man > /dev/full"
    exits 1; says "could not be written"
fi
