# Bad input to `attune evolve`: said before anything is built or timed, exit code 2, and no folder is left behind.
plain="$root/examples/attention/initial_program.c"
run evolve missing.c;                            exits 2; says "there is no initial program 'missing.c'"
run evolve -c missing.yaml;                      exits 2; says "there is no config file 'missing.yaml'"
run evolve --case "f32 h9/2 s64 d64";            exits 2; says "--case: Hq % Hkv != 0"
run evolve --case "f32 h4 s64 d64 cuasal";       exits 2; says "cuasal"
run evolve --suite raedme;                       exits 2; says "no suite 'raedme'; did you mean 'readme'?"
run evolve --proposer knosb;                     exits 2; says "there is no proposer 'knosb'"
run evolve --set evolve.minuts=3;                exits 2; says "did you mean 'minutes'?"
sed 's/EVOLVE-BLOCK-START/EVOLVE-BLOCK-STRAT/' "$plain" >nostart.c
run evolve nostart.c;                            exits 2; says "nostart.c:"; says "EVOLVE-BLOCK-END without a start"
sed 's/EVOLVE-BLOCK-END/EVOLVE-BLOCK-EDN/' "$plain" >noend.c
run evolve noend.c;                              exits 2; says "noend.c:"; says "EVOLVE-BLOCK-START has no end"
sed 's/EVOLVE-BLOCK-[A-Z]*//' "$plain" >none.c
run evolve none.c;                               exits 2; says "no EVOLVE-BLOCK"
sed 's/\(.*EVOLVE-BLOCK-START.*\)/\1\n\1/' "$plain" >nested.c
run evolve nested.c;                             exits 2; says "inside the block that line"
printf 'int x;\000' >binary.c
run evolve binary.c;                             exits 2; says "zero byte"
: >plainfile
run evolve -o plainfile/out "$plain" -i 1;       exits 2
run evolve --resume -o nothing "$plain";         exits 2
[ ! -e attune_output ] || fail "attune_output was made although nothing ran"
run show nothing;                                exits 2; says "nothing"
run report nothing;                              exits 2
