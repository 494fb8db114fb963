#!/bin/sh
# The llm proposer against llama.cpp's own server with a 135M model: streaming, usage and refusals proven on a program that
# we did not write. What so small a model says is no program; it must be refused, counted and survived.
# Usage: t_real_server.sh ATTUNE SOURCE_ROOT      Skips (77) with a reason where the server or its model is missing.
set -eu
attune=$1
root=$2
here=$root/tests/propose
cache=${XDG_CACHE_HOME:-$HOME/.cache}/attune
peers=${ATTUNE_PEERS:-$cache/runtimes}
[ -x "$peers/bin/python" ] || peers=${ATTUNE_PEERS:-$cache/peers} # holds them too where somebody said so
python=$peers/bin/python
[ -x "$python" ] || { echo "SKIP: no runtimes in $cache; run tools/peers/install --models"; exit 77; }
for model in "${ATTUNE_MODELS:-$peers/models}"/smollm2*.gguf; do [ -e "$model" ] && break; done
export ATTUNE_HOME="$root"
"$attune" eval --stage 1 --quiet "$root/examples/attention/initial_program.c" >/dev/null 2>&1 || { echo "SKIP: nothing can be judged here"; exit 77; }
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
bad() { echo "not ok: $*"; tail -n 15 "$dir"/*.log "$dir"/server.* 2>/dev/null; echo "rerun: sh tests/propose/t_real_server.sh '$attune' '$root'"; exit 1; }

mkfifo "$dir/hold"
: >"$dir/server.out"
"$python" "$here/real_server.py" "$model" <"$dir/hold" >"$dir/server.out" 2>"$dir/server.err" &
pid=$!
exec 9>"$dir/hold"
i=0
until grep -q '^http' "$dir/server.out"; do
    if ! kill -0 $pid 2>/dev/null; then
        grep '^SKIP' "$dir/server.out" && exit 77
        bad "the server did not start"
    fi
    i=$((i + 1)); [ $i -lt 900 ] || { echo "SKIP: the server took more than 90 s to load its model"; exit 77; }
    sleep 0.1
done
url=$(grep '^http' "$dir/server.out" | tail -1)

# Its window is 8192 tokens: templates of our own, without the contract.
mkdir "$dir/templates"
cp "$root"/examples/attention/prompts/*.md "$dir/templates"
printf 'You improve C programs.\n' >"$dir/templates/system.md"
printf 'Improve this:\n{{verdict}}\n{{task}}\n{{format}}\n' >"$dir/templates/task.md"

"$attune" evolve "$root/examples/attention/initial_program.c" --proposer llm --set "llm.api_base=$url/v1" --set llm.name=smollm2 \
    --set llm.max_tokens=32 --set llm.retries=1 --set llm.parallel=2 --set llm.first_token_timeout=60 --set llm.timeout=120 \
    --set "prompt.template_dir=$dir/templates" -i 2 -m 0.4 --case "f32 h2 s32 d32" -o "$dir/run" \
    --set evolve.shipped=false --set evolve.control_races=0 --set evolve.final_seconds=0 --set database.num_islands=1 >"$dir/run.log" 2>&1 || bad "the run failed"
"$python" - "$dir/run/run.db" <<'E2' || bad "what the run recorded"
import json, sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
answers = [json.loads(j) for j, in db.execute("select json from measurement where kind = 'answer'")]
outcomes = {}
for a in answers:
    outcomes[a["outcome"]] = outcomes.get(a["outcome"], 0) + 1
print(f"# {len(answers)} answers of a real server: {outcomes}, {sum(a.get('tokens_in', 0) for a in answers)} tokens in, {sum(a.get('tokens_out', 0) for a in answers)} out")
assert answers, "no answer came"
streamed = [a for a in answers if a["outcome"] != "lost"]
assert streamed, f"every answer was lost: {answers[0].get('why')}"
assert all(a["tokens_in"] > 20 and 0 < a["tokens_out"] <= 40 for a in streamed), "the server's usage is not ours"
texts = dict(db.execute("select sha, text from blob"))
assert all(texts[a["answer"]].strip() for a in streamed), "an empty answer"
judged, = db.execute("select count(*) from program").fetchone()
assert judged == 1 + outcomes.get("ok", 0), "programs and answers do not add up"
E2
echo "ok: streamed answers of llama.cpp's server"
