# Man page and completions come from the tables: every option is in all of them, and the shells accept them.
run help --man; exits 0; quiet
cp out.txt attune.1
for word in evolve 'iterations' 'judge\.tolerance' 'EXIT STATUS'; do grep -q "$word" attune.1 || fail "the man page lacks $word"; done
if command -v groff >/dev/null 2>&1; then
    groff -man -Tutf8 -ww attune.1 >/dev/null 2>man.err || fail "groff failed"
    [ ! -s man.err ] || fail "groff warns: $(head -3 man.err)"
fi
run help --completion bash; exits 0; quiet
cp out.txt completion.bash
if command -v bash >/dev/null 2>&1; then
    bash -n completion.bash || fail "bash does not read its completion"
    got=$(bash -c '. ./completion.bash; COMP_WORDS=(attune ev); COMP_CWORD=1; _attune; echo "${COMPREPLY[@]}"
                   COMP_WORDS=(attune evolve --it); COMP_CWORD=2; _attune; echo "${COMPREPLY[@]}"
                   COMP_WORDS=(attune evolve --suite re); COMP_CWORD=3; _attune; echo "${COMPREPLY[@]}"')
    [ "$got" = "evolve eval
--iterations
readme" ] || [ "$got" = "evolve
--iterations
readme" ] || fail "bash completes: $got"
    # a bash as people have it: names with blanks, quotes and wildcards are one word; a value goes on behind `key=`
    mkdir -p 'names/my kernels' && : >'names/a*b.c' && : >"names/it's.c"
    if command -v python3 >/dev/null 2>&1; then
        python3 "$here/type_tabs.py" completion.bash >tabs.txt 2>tabs.err || fail "typing into bash: $(tail -1 tabs.err)"
        cat >tabs.want <<'END'
attune eval names/my\ kernels/|
attune eval names/a\*b.c |
attune eval names/it\'s.c |
attune evolve --set judge.tolerance=|
attune evolve --suite readme |
END
        diff tabs.want tabs.txt || fail "bash completes otherwise"
    fi
fi
run help --completion zsh; exits 0; prints "#compdef attune"
if command -v zsh >/dev/null 2>&1; then zsh -n out.txt || fail "zsh does not read its completion"; fi
run help --completion fish; exits 0; prints "complete -c attune"
if command -v fish >/dev/null 2>&1; then fish -n out.txt || fail "fish does not read its completion"; fi
"$attune" evolve --help | sed -n 's/^ *\(-.,\)* *--\([a-z-]*\).*/\2/p' | while read -r option; do
    grep -q -- "$(printf '%s' "$option" | sed 's/-/\\\\-/g')" attune.1 || echo "--$option"
    grep -q -- "--$option" completion.bash || echo "--$option"
done >lacking.txt
[ ! -s lacking.txt ] || fail "not everywhere: $(cat lacking.txt)"
# what only the launcher of a checkout does is explained where it is offered
export ATTUNE_PROGRAM=./attune
run help;         exits 0; prints "check [TEST ...]"; prints "setup"
run help check;   exits 0; prints "Usage: ./attune check"
run help setup;   exits 0; prints "apt-get"
run chekc;        exits 2; says "did you mean 'check'?"
unset ATTUNE_PROGRAM
run help check;   exits 2
