# The config file: every mistake is named with file, line, column and the nearest valid name.
cat >typo.yaml <<'END'
max_iterations: 5
database:
  num_islands: 3
  popluation_size: 4
END
run config typo.yaml; exits 2
says "typo.yaml:4:3: unknown key 'popluation_size' in 'database'; did you mean 'population_size'?"
says "    popluation_size: 4"
printf 'llm:\n  temperature: 0.8\n  max_tokens: lots\n' >type.yaml
run config type.yaml; exits 2; says "type.yaml:3:15: llm.max_tokens: expected a whole number, got 'lots'"
printf 'llm:\n  max_tokens: [1]\n' >type2.yaml
run config type2.yaml; exits 2; says "type2.yaml:2:15: llm.max_tokens: expected a whole number, got a list"
printf 'judge:\n  threads: "4"\n' >quoted.yaml
run config quoted.yaml; exits 2; says "quoted.yaml:2:12"
printf 'judge:\n  threads: 80abc\n' >junk.yaml
run config junk.yaml; exits 2; says "expected a whole number, got '80abc'"
printf 'judge:\n  threads: 5000\n' >range.yaml
run config range.yaml; exits 2; says "range.yaml:2:12: judge.threads: 5000 is outside 1 .. 1024"
printf 'judge:\n  tolerance: .nan\n' >nan.yaml
run config nan.yaml; exits 2; says "nan.yaml:2:14"
printf 'llm:\n  models: [a, {b: 1, c\n' >syntax.yaml
run config syntax.yaml; exits 2; says "syntax.yaml:3:1: did not find expected"
printf 'a: b\n\tc: d\n' >tab.yaml
run config tab.yaml; exits 2; says "tab.yaml:2:"
printf 'num_islands: 5\n' >section.yaml
run config section.yaml; exits 2; says "there is 'database.num_islands'"
printf 'judge: 5\n' >scalar.yaml
run config scalar.yaml; exits 2; says "scalar.yaml:1:8: judge: expected a section"
printf 'llm:\n  models:\n   - {name: x}\n   - name: y\n     tmperature: 3\n' >models.yaml
run config models.yaml; exits 2; says "models.yaml:5:6: unknown key 'tmperature' in 'llm.models[1]'; did you mean 'temperature'?"
printf 'judge:\n  cases:\n    - "f32 h9/2 s64 d64"\n' >case.yaml
run config case.yaml; exits 2; says "case.yaml:3:7: Hq % Hkv != 0"
printf 'judge:\n  cases:\n    - {seq_len: 64, hidden_size: 100, num_heads: 3}\n' >case2.yaml
run config case2.yaml; exits 2; says "case2.yaml:3:7: judge.cases[0]: hidden_size 100 is not a multiple of num_heads 3"
printf 'judge:\n  suites: [seed, raedme]\n' >suite.yaml
run config suite.yaml; exits 2; says "suite.yaml:2:18: no suite 'raedme'; did you mean 'readme'?"
printf 'proposers: [knosb]\n' >proposer.yaml
run config proposer.yaml; exits 2; says "proposer.yaml:1:13: there is no proposer 'knosb'"
printf 'judge:\n  compiler: ${NO_SUCH_VARIABLE}\n' >env.yaml
run config env.yaml; exits 2; says "env.yaml:2:13: judge.compiler: the environment variable NO_SUCH_VARIABLE is not set"
run config none.yaml; exits 2; says "there is no config file 'none.yaml'"
printf 'a\000b' >zero.yaml
run config zero.yaml; exits 2; says "zero byte"

# What is right is read right.
printf 'max_iterations: 1_000\nrandom_seed: 0x10\nearly_stopping_patience: ~\njudge: {threads: 010, tolerance: 1e-1}\n' >numbers.yaml
run config --show numbers.yaml; exits 0
for line in "max_iterations: 1_000 " "random_seed: 0x10 " "threads: 010 " "tolerance: 1e-1 "; do prints "$line"; done
printf 'judge:\n  cases:\n   - {seq_len: 4096, hidden_size: 2048, num_heads: 32, num_kv_heads: 8}\n' >map.yaml
run config --show map.yaml; exits 0; prints "cases: [f32 b1 h32/8 s4096 d64 causal]"
printf 'max_iterations: 5\nmax_iterations: 6\n' >twice.yaml
run config twice.yaml; exits 0; says "max_iterations is given twice (first in line 1)"
: >empty.yaml
run config empty.yaml; exits 0

# What OpenEvolve's own examples hold beyond its keys, and what it takes and we do not use, is named with the reason.
printf 'parallel_evaluations: 4\nevolution: {mutation_rate: 0.3}\nalgotune:\n  num_trials: 5\nllm:\n  model: x\n  evaluator_models: [{name: y, weight: 1.0}]\n  models: [{name: z, max_ai_credits: 3, allow_all_tools: false}]\nprompt: {use_template_stochasticity: true}\n' >theirs.yaml
run config theirs.yaml; exits 0
says "parallel_evaluations (OpenEvolve does not read it here either; it is evaluator.parallel_evaluations)"
says "evolution (OpenEvolve does not read it either)"
says "llm.evaluator_models[].name (no model judges; opinions come from llm.models)"
says "prompt.use_template_stochasticity (the wording is that of the templates)"

# Secrets stay secret; variables are not needed before the llm proposer is asked for.
printf 'llm:\n  api_key: sk-verysecret\n' >secret.yaml
run config --show secret.yaml; exits 0; prints "(hidden)"
case $out in *sk-very*) fail "the key was printed" ;; esac
run config --show --set llm.api_base=https://me:sk-verysecret@host/v1; exits 0
case $out in *sk-very*) fail "the password of an address was printed" ;; esac

# --set
run config --set judge.tolerance=2; exits 0; prints "tolerance: 2 "
run config --set 'judge.suites=[seed, models]'; exits 0; prints "suites: [seed, models]"
run config --set judge.toleranc=2; exits 2; says "--set judge.toleranc: unknown key 'toleranc' in 'judge'; did you mean 'tolerance'?"
run config --set judge.tolerance=x; exits 2; says "expected a number, got 'x'"
run config --set judge; exits 2; says "expected key=value"

# The example runs as it is, says what has no effect, and what --show writes is read back the same.
run config "$root/examples/attention/config.yaml"; exits 0
says "no effect here: database.population_size (no candidate is ever deleted)"
says "wait until the llm proposer is asked for"
"$attune" config "$root/examples/attention/config.yaml" --show 2>/dev/null >shown.yaml
run config shown.yaml --show; exits 0
sed 's/ *# .*//' shown.yaml >before.txt
sed 's/ *# .*//' out.txt >after.txt
cmp -s before.txt after.txt || fail "config --show is not read back the same: $(diff before.txt after.txt | head -5)"

# A key that says that it acts is asked for somewhere: by its path, or by its name below llm.
"$attune" config --keys | sed '/without effect/,$d' | awk '!/^#/ && NF { print $1 }' >acting.txt
[ "$(wc -l <acting.txt)" -gt 60 ] || fail "only $(wc -l <acting.txt) keys act?"
find "$root/src" "$root/app" -name '*.[ch]' ! -name config_keys.c -exec cat {} + >sources.txt
while read -r key; do
    last=${key##*.}
    grep -qF -e "\"$key\"" sources.txt || { case $key in llm.*_model_weight) grep -qF '"llm.%s_weight"' sources.txt ;; llm.*) grep -qF -e "\"$last\"" -e ".$last\"" sources.txt ;; *) false ;; esac; } ||
        fail "nothing asks for $key: it has no effect and says that it has"
done <acting.txt
