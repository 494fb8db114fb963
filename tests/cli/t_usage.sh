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
run worker-bundle b.tar.gz;         exits 0; prints "b.tar.gz"
for header in kernel.h vec.h amx.h cut.h; do   # what a candidate may include
    tar -tzf b.tar.gz | grep -q "/include/attune/$header\$" || fail "the bundle lacks attune/$header"
done
run eval "$root/src/kernel/decode.c" --case "f32 h1 s1/8 d64" --data nedle
exits 2; says "did you mean 'needle'?"
run workloads;                      exits 2; says "--model is missing"
export ATTUNE_PEERS=none
run workloads --model x;            exits 2; says "no runtimes at 'none/bin/python'"; says "tools/peers/install --models"
unset ATTUNE_PEERS
run worker;                         exits 2; says "give either --stdio or --spool"
run mail;                           exits 2; says "there is no mailbox 'attune_output/mailbox'"; says "--proposer mailbox"
run mail send 3;                    exits 2; says "say 'list', 'show N' or 'answer N FILE', not 'send 3'"
mkdir -p box/001 box/002 empty torn/portfolio
printf open >box/001/state; printf answered >box/002/state
run mail --mailbox box --all;       exits 0; prints "001  open"; prints "002  answered"
run mail show 3 --mailbox box;      exits 2; says "there is no question 3 in 'box'"
run mail answer 3 --mailbox box;    exits 2; says "there is no question 3 in 'box'"
run mail answer 2 --mailbox box;    exits 2; says "question 2 is closed (answered)"
run mail answer 1 --mailbox box;    exits 2; says "the answer is empty"
run mail answer 1 "$root/attune" --mailbox box; exits 0; prints "answer to question 1 handed in"
cmp -s "$root/attune" box/001/answer.md || fail "the answer is not in the mailbox, whole"
run mail answer 1 "$root/attune" --mailbox box; exits 2; says "waits to be taken"
run build missing.c;                exits 2; says "cannot open 'missing.c'"
run build empty;                    exits 2; says "'empty' is not the folder of a run"
echo 'default  gone.c' >torn/portfolio/dispatch.txt
run build torn;                     exits 2; says "cannot open 'torn/portfolio/gone.c'"
echo 'default  ../gone.c' >torn/portfolio/dispatch.txt
run build torn;                     exits 2; says "names no program beside it"
run eval empty;                     exits 2; says "cannot open 'empty/best/best_program.c'"
for command_name in show report; do
    run "$command_name" empty;      exits 2; says "no run in 'empty'"; says "evolve -o"
done
run serve nowhere;                  exits 2; says "no folder 'nowhere'; start a run with: attune evolve -o nowhere"
run serve empty --static out;       exits 2; says "cannot read the run in 'empty'"
run config nowhere.yaml;            exits 2; says "attune config --show > nowhere.yaml"
run demo --seconds 0;               exits 2; says "outside 1 .. 600"
: >afile
run demo -o afile;                  exits 2; says "cannot make folder 'afile': a file is in the way"
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
