"""The recipes of docs/integrations.md, as they stand there: each block of Python, and the shell line of llama.cpp, is
executed with names of models and paths replaced by what this machine has. A recipe that is renamed or lost fails."""
from common import *

import json
import re

gguf, folder = smollm2()
PLUGIN = os.path.join(os.environ["ATTUNE_LIB"], "libggml-attune.so")
text = open(os.path.join(ROOT, "docs", "integrations.md")).read()
recipes = re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.S | re.M)
blocks = {(title, kind): body for title, section in recipes
          for kind, body in re.findall(r"```(\w+)\n(.*?)```", section, re.S)}
REPLACED = {'"mlx-community/Qwen3-0.6B-bf16"': repr(folder), '"HuggingFaceTB/SmolLM2-135M-Instruct"': repr(folder),
            '"attune_output/best/best_program.c"': repr(PLAIN), "build/integrations/libggml-attune.so": PLUGIN,
            '"model.gguf"': repr(gguf), "max_tokens=100": "max_tokens=4"}
ASKED = {  # what each one must have done, in its own process
    "mlx-lm": ("mlx_lm", "\nimport attune.mlx, mlx.core as mx\nassert attune.mlx.patch_report(model)['left_to_host'] > 0\n"
                         "mx.eval(model(mx.ones((1, 32), mx.int32)))\nr = attune.mlx.patch_report(model)\n"
                         "assert r['layers_patched'] == 30 and r['evolved_calls'] == r['calls'] == 30, r"),
    "PyTorch and transformers": ("transformers", "\nimport torch\nwith torch.no_grad():\n    model(torch.tensor([[1, 2, 3]]))\n"
                                 "r = attune.torch.patch_report(model)\n"
                                 "assert r['layers_patched'] == 30 and r['evolved_calls'] == r['calls'] == 30, r"),
    "llama.cpp": ("llama_cpp", "\nmodel.eval([1, 2, 3])"),
}
for title, (package, question) in ASKED.items():
    body = blocks.get((title, "python"))
    check(body is not None, f"'{title}' has a recipe")
    if body is None:
        continue
    if not importlib.util.find_spec(package):
        print(f"skipped: {title}, {package} is not installed")
        continue
    for old, new in REPLACED.items():
        body = body.replace(old, new)
    with tempfile.TemporaryDirectory() as d:
        report = os.path.join(d, "report.json")
        r = subprocess.run([sys.executable, "-c", body + question], capture_output=True, text=True, timeout=250,
                           env={**os.environ, "ATTUNE_REPORT": report})
        check(r.returncode == 0, f"'{title}' runs{'' if r.returncode == 0 else ': ' + r.stderr[-1500:]}")
        if package == "llama_cpp":
            calls = json.load(open(report))["calls"] if os.path.exists(report) else 0
            check(calls == 30, f"'{title}': {calls} calls")
check("GGML_BACKEND_PATH=" in blocks.get(("llama.cpp", "sh"), ""), "the line for llama-cli (t_llama runs it in xllamacpp)")
readme = open(os.path.join(ROOT, "README.md")).read().split("## Into models", 1)[-1].split("\n## ", 1)[0]
shown = re.findall(r"```\w+\n(.*?)```", readme, re.S)
check(len(shown) == 3 and all(any(b.strip() in body for body in blocks.values()) for b in shown),
      "README shows these three recipes, word for word")
finish()
