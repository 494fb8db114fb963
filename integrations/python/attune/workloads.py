"""What `attune workloads` runs: real prompts through a real model, with attune's attention and with the runtime's own.

    python -m attune.workloads --model M --runtime mlx|torch|llama [--evolved-program P] [--json]

Patched and unpatched runs alternate in one process, decoding in blocks of 8 tokens after one and the same prompt; each
ratio is the median of the rounds' own ratios, with an interval of order statistics. Unpatched is the better of the
runtime's own choices (llama: flash attention on or off). The ceiling is what attention at no cost would reach, measured
with a kernel that computes nothing. Before and after, logits of teacher-forced tokens are compared: where they differ, or
nothing was patched, the exit code is 1.

Prompt tokens are counted by the model's tokenizer; decoding is forced along the prompt's own text, so that both arms do the
same work."""
import argparse
import ctypes
import json
import os
import resource
import statistics
import sys
import time
import warnings

import numpy as np

from ._library import AttuneError, Binding, Counts, build_program, libraries, _nonce

WORKLOADS = ("text", "code", "long", "qa")


def kl(reference, other):
    def logs(x):
        x = np.asarray(x, np.float64)
        x = x - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))
    a, b = logs(reference), logs(other)
    return float((np.exp(a) * (a - b)).sum(-1).mean())


# ---- runtimes: each computes with the arms "patched" and its own; every: small calls as well, which may be left to it ----

def first_layers(model, n):
    if n:
        model.model.layers = model.model.layers[:n]


class Mlx:
    own = ("mlx",)

    def __init__(self, o):
        import mlx.core as mx
        import mlx_lm
        from . import mlx as am
        self.mx, self.am = mx, am
        self.version = f"mlx {mx.__version__}, mlx-lm {mlx_lm.__version__}"
        self.model, self.tokenizer = mlx_lm.load(o.model)
        first_layers(self.model, o.layers)
        am.patch(self.model, o.evolved_program, threads=o.threads)
        self.binding = am.binding_of(self.model)
        kinds = {str(v.dtype) for _, v in __import__("mlx.utils").utils.tree_flatten(self.model.parameters())}
        self.exact = kinds == {"mlx.core.float32"}

    def tokens(self, text):
        return list(self.tokenizer.encode(text))

    def arm(self, name, every=False):
        self.am.enable(self.model, name == "patched")
        self.am.set_least_work(self.model, 0 if every else self.am.LEAST_WORK)

    def start(self):
        from mlx_lm.models.cache import make_prompt_cache
        self.cache = make_prompt_cache(self.model)

    def feed(self, ids):
        """As mlx_lm.generate does: nobody asks for the logits of a prompt but its last token's."""
        if len(ids) > 1:
            self.model(self.mx.array(ids[:-1])[None], cache=self.cache)
            self.mx.eval([c.state for c in self.cache])
        self.mx.eval(self.model(self.mx.array(ids[-1:])[None], cache=self.cache))

    def rewind(self, n):
        from mlx_lm.models.cache import trim_prompt_cache
        trim_prompt_cache(self.cache, self.cache[0].offset - n)

    def own_cache(self, arm):
        return False

    def logits(self, ids):
        return np.array(self.model(self.mx.array(ids)[None])[0].astype(self.mx.float32))

    def report(self):
        r = self.am.patch_report(self.model)
        return r["layers_patched"], r["calls"], r["fallbacks"], r["layers"]


class Torch:
    own = ("sdpa",)

    def __init__(self, o):
        import torch
        import transformers
        from . import torch as at
        transformers.utils.logging.disable_progress_bar()
        self.torch, self.at = torch, at
        torch.set_num_threads(o.threads)
        self.version = f"torch {torch.__version__}, transformers {transformers.__version__}"
        at.register(o.evolved_program)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(o.model, attn_implementation="attune").eval()
        first_layers(self.model, o.layers)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(o.model)
        self.binding = at.binding()
        self.exact = {p.dtype for p in self.model.parameters()} == {torch.float32}

    def tokens(self, text):
        return self.tokenizer(text)["input_ids"]

    def arm(self, name, every=False):
        self.at.enable(name == "patched")

    def start(self):
        self.past = None

    def feed(self, ids):
        with self.torch.inference_mode():
            out = self.model(self.torch.tensor([ids]), past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values

    def rewind(self, n):
        beyond = self.past.get_seq_length() - n
        if beyond:
            self.past.crop(-beyond)  # a negative number of tokens, as old and new versions understand it

    def own_cache(self, arm):
        return False

    def logits(self, ids):
        with self.torch.inference_mode():
            return self.model(self.torch.tensor([ids])).logits[0].float().numpy()

    def report(self):
        r = self.at.patch_report(self.model)
        return r["layers_patched"], r["calls"], r["fallbacks"], r["layers"]


class _GgmlBinding:
    """The plug-in's counters and switches, with the methods of Binding."""

    def __init__(self, so, kernel_path):
        self.lib = ctypes.CDLL(so)
        self.program = kernel_path
        own = kernel_path or os.path.realpath(os.path.join(os.path.dirname(so), "..", "src", "run", "libattune.so"))
        self.nonce = _nonce(own if os.path.exists(own) else so)

    def _read(self):
        c, d, name = Counts(), ctypes.c_longlong(), ctypes.create_string_buffer(64)
        if self.lib.attune_ggml_counts(ctypes.byref(c), ctypes.byref(d), name, 64) != 0:
            raise AttuneError("the ggml plug-in refused this host; its line above says why")
        return c, d.value, name.value.decode()

    def counts(self):
        c = self._read()[0]
        return {n: getattr(c, n) for n, _ in Counts._fields_}

    def declined(self):
        return self._read()[1]

    @property
    def kernel(self):
        return self._read()[2]

    def kernels(self):
        room = ctypes.create_string_buffer(8192)
        self.lib.attune_ggml_kernels(room, 8192)
        return json.loads(room.value.decode() or "[]")

    def repeat(self, n):
        self.lib.attune_ggml_repeat(n)


class Llama:
    own = ("flash", "plain")  # flash attention on and off

    def __init__(self, o):
        try:
            import llama_cpp
        except ImportError:
            raise AttuneError("llama-cpp-python is not installed; run 'tools/peers/install --llama' (it compiles for "
                              "a quarter of an hour)") from None
        if o.layers:
            raise AttuneError("--layers is for --runtime mlx and torch")
        so = os.path.join(os.path.dirname(libraries().path), "libggml-attune.so")
        if not os.path.exists(so):
            raise AttuneError(f"cannot find '{so}'; build attune with './attune setup'")
        program = build_program(o.evolved_program) if o.evolved_program else None
        if program:
            os.environ["ATTUNE_KERNEL"] = program
        folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")
        ggml = ctypes.CDLL(os.path.join(folder, "libggml.so.0"))
        ggml.ggml_backend_load.restype = ctypes.c_void_p
        ggml.ggml_backend_load.argtypes = [ctypes.c_char_p]
        with _Quiet():
            loaded = ggml.ggml_backend_load(so.encode())
        if not loaded:
            raise AttuneError("the ggml plug-in refused this host; its line above says why")
        self.binding = _GgmlBinding(so, program)
        route = self.binding.lib.attune_ggml_route
        route.restype = ctypes.c_char_p
        self.version = f"llama-cpp-python {llama_cpp.__version__}, by a {route().decode()}"
        make = lambda **k: llama_cpp.Llama(o.model, n_ctx=o.context, n_batch=2048, n_ubatch=512, n_threads=o.threads,
                                           n_threads_batch=o.threads, verbose=False, **k)
        self.contexts = {"patched": make(flash_attn=True), "plain": make(flash_attn=False)}
        self.contexts["flash"] = self.contexts["patched"]
        if route() == b"device":  # which part of a graph is whose is settled when the graph is made, and graphs are kept
            self.binding.lib.attune_ggml_enable(0)
            self.contexts["flash"] = make(flash_attn=True)
        # Logits: what attention in f32 would give, and what the runtime's own flash attention makes of it.
        self.make_exact = lambda: make(flash_attn=False, type_k=0, type_v=0, logits_all=True)
        self.make_flash = lambda: make(flash_attn=True, logits_all=True)
        self.exact = False

    def tokens(self, text):
        return self.contexts["flash"].tokenize(text.encode())

    def arm(self, name, every=False):
        mine = name in ("patched", "nothing")
        self.binding.lib.attune_ggml_enable(int(mine))
        self.context = self.contexts["patched" if mine else name]

    def start(self):
        self.context.reset()
        self.context._ctx.kv_cache_clear()

    def feed(self, ids):
        self.context.eval(ids)

    def rewind(self, n):
        self.context.n_tokens = n  # eval drops what lies beyond

    def own_cache(self, arm):
        return self.contexts[arm] is not self.contexts["patched"]  # V lies transposed in the plain one

    def _scores(self, make, ids, on):
        self.binding.lib.attune_ggml_enable(on)
        m = make()
        m.eval(ids)
        s = np.array(m.scores[:len(ids)], np.float64)
        m.close()
        return s

    def check(self, ids):
        exact = self._scores(self.make_exact, ids, 0)
        own = kl(exact, self._scores(self.make_flash, ids, 0))
        return kl(exact, self._scores(self.make_flash, ids, 1)), own

    def report(self):
        before = self.binding.counts()["calls"]
        self.arm("patched")
        self.start()
        self.feed(self.tokens("a")[:1])
        calls = self.binding.counts()["calls"]
        return calls - before, calls, self.binding.declined(), []


class _Quiet:
    """ggml says on stderr what it loads; in --json runs and tables that is noise."""

    def __enter__(self):
        sys.stderr.flush()
        self.keep, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)

    def __exit__(self, *_):
        os.dup2(self.keep, 2)
        os.close(self.keep)


RUNTIMES = {"mlx": Mlx, "torch": Torch, "llama": Llama}


# ---- measuring ----

def interval(ratios):
    """Median with the widest order statistics that leave out at most 5 % (few rounds: the extremes)."""
    r = sorted(ratios)
    n, cut = len(r), 0
    from math import comb
    while cut + 1 < n / 2 and 2 * sum(comb(n, i) for i in range(cut + 2)) / 2 ** n <= 0.05:
        cut += 1
    return {"median": statistics.median(r), "low": r[cut], "high": r[n - 1 - cut]}


def timed(runtime, arm, feed):
    """Seconds, and the part of them that was spent in attention by attune."""
    runtime.arm("patched" if arm == "nothing" else arm, arm == "nothing")
    runtime.binding.repeat(0 if arm == "nothing" else 1)
    before = runtime.binding.counts()["ns"]
    t0 = time.perf_counter()
    feed()
    seconds = time.perf_counter() - t0
    spent = (runtime.binding.counts()["ns"] - before) * 1e-9
    runtime.binding.repeat(1)
    return seconds, spent


def prefill_once(runtime, arm, prompt):
    runtime.arm(arm)
    runtime.start()
    return timed(runtime, arm, lambda: runtime.feed(prompt))


def decode_once(runtime, arm, n, tokens):
    """After a prompt of n tokens that is there already, and stays."""
    def feed():
        for t in tokens:
            runtime.feed([t])
    runtime.arm(arm)
    runtime.rewind(n)
    runtime.feed([tokens[-1]])  # the caches of the arm before are not this one's
    runtime.rewind(n)
    return timed(runtime, arm, feed)


def alternate(arms, rounds, once):
    """{arm: [(seconds, in attention)]}: each round runs all arms, every other one backwards."""
    runs = {a: [] for a in arms}
    for r in range(rounds):
        for a in arms if r % 2 == 0 else arms[::-1]:
            runs[a].append(once(a))
    return runs


def against(runtime, runs, total):
    """The ratio to the better of the runtime's own choices, the ceiling, tokens/s, and which choice that was."""
    seconds = {a: statistics.median(x[0] for x in r) for a, r in runs.items()}
    best = min(runtime.own, key=lambda a: seconds[a])
    pairs = list(zip(runs["patched"], runs[best]))
    return {"ratio": interval([u[0] / p[0] for p, u in pairs]), "patched": total / seconds["patched"],
            "unpatched": total / seconds[best], "ceiling": seconds[best] / seconds["nothing"], "best": best}


NO_RATIO = {"median": None, "low": None, "high": None}
NONE = {"ratio": NO_RATIO, "patched": None, "unpatched": None, "ceiling": None, "best": None}


def measure(runtime, name, prompt, forced, rounds, only=None):
    arms = ("patched",) + runtime.own + ("nothing",)
    prefill, decode, spent, seconds = NONE, NONE, 0.0, 0.0
    for a in arms:
        prefill_once(runtime, a, prompt[:32])
    if only != "decode":
        if len(prompt) <= 512:  # plans, buffers and pages of this length; a long one has them after its first rows
            prefill_once(runtime, "patched", prompt)
        runs = alternate(arms, rounds, lambda a: prefill_once(runtime, a, prompt))
        prefill = against(runtime, runs, len(prompt))
        spent += statistics.median(x[1] for x in runs["patched"])
        seconds += statistics.median(x[0] for x in runs["patched"])
    if only != "prefill" and forced:
        for a in ("patched",) + tuple(a for a in runtime.own if runtime.own_cache(a)):
            prefill_once(runtime, a, prompt)
        block = forced[:8]
        times = max(3, rounds * len(forced) // len(block))
        runs = alternate(arms, times, lambda a: decode_once(runtime, a, len(prompt), block))
        decode = against(runtime, runs, len(block))
        spent += statistics.median(x[1] for x in runs["patched"]) * len(forced) / len(block)
        seconds += statistics.median(x[0] for x in runs["patched"]) * len(forced) / len(block)
    return {"workload": name, "prompt_tokens": len(prompt), "new_tokens": len(forced), "prefill_ratio": prefill["ratio"],
            "decode_ratio": decode["ratio"], "prefill_ceiling": prefill["ceiling"], "decode_ceiling": decode["ceiling"],
            "attention_share": spent / seconds if seconds else 0.0,
            "patched_tokens_per_s": decode["patched"], "unpatched_tokens_per_s": decode["unpatched"],
            "patched_prefill_tokens_per_s": prefill["patched"], "unpatched_prefill_tokens_per_s": prefill["unpatched"],
            "unpatched": {"prefill": prefill["best"], "decode": decode["best"]},
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def check_logits(runtime, ids):
    """(kl to the unpatched reference, what it may be)."""
    if isinstance(runtime, Llama):
        got, own = runtime.check(ids)
        return got, max(1e-6, own)
    runtime.arm("patched", every=True)
    a = runtime.logits(ids)
    runtime.arm("own")
    b = runtime.logits(ids)
    return kl(b, a), 1e-6 if runtime.exact else 1e-2


# ---- showing ----

def table(result):
    k = result["kernel"]
    print(f"{result['runtime_version']}, {result['model']}")
    print(f"kernel {k['name']} (nonce {k['nonce']}), {result['layers_patched']} layers, {result['calls']} calls, "
          f"{result['fallbacks']} fallbacks, {result['left_to_host']} left to the host: too small; "
          f"KL to the unpatched logits {result['kl']:.1e} (limit {result['kl_limit']:.0e})")
    print(f"{'workload':9}{'tokens':>11}  {'prefill':>8} {'95 %':>13} {'ceiling':>8}  {'decode':>8} {'95 %':>13} "
          f"{'ceiling':>8}  {'tokens/s':>17}  {'attention':>9}")
    def cells(ratio, ceiling):
        if ratio["median"] is None:
            return f"{'-':>8} {'-':>13} {'-':>8}"
        return f"{ratio['median']:>7.2f}x {ratio['low']:>6.2f}-{ratio['high']:<6.2f} {ceiling:>7.2f}x"
    for k in result["kernels"]:
        print(f"  {k['for']}: {k['kernel']}{' (evolved)' if k['evolved'] else ''}, {k['calls']} calls"
              f"{': of the program given, ' + k['why'] if 'why' in k else ''}")
    for r in result["rows"]:
        p, d, kind = r["prefill_ratio"], r["decode_ratio"], "" if r["patched_tokens_per_s"] else "prefill_"
        print(f"{r['workload']:9}{r['prompt_tokens']:>5} + {r['new_tokens']:<3}  {cells(p, r['prefill_ceiling'])}  "
              f"{cells(d, r['decode_ceiling'])}  {r[f'unpatched_{kind}tokens_per_s']:>7.1f} ->"
              f" {r[f'patched_{kind}tokens_per_s']:>6.1f}  {100 * r['attention_share']:>8.1f}%")


def svg(result, path):
    rows, w, h = result["rows"], 640, 34
    top = 46
    high = max([1.1] + [r[k]["high"] for r in rows for k in ("prefill_ratio", "decode_ratio") if r[k]["high"]])
    x = lambda v: 150 + v / high * (w - 230)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{top + 2 * h * len(rows) + 20}" '
           'font-family="sans-serif" font-size="13">',
           f'<title>Speed with attune against without, {result["runtime_version"]}</title>',
           f'<rect width="100%" height="100%" fill="white"/><text x="10" y="24">{result["runtime_version"]}: '
           'speed with attune, 1 = without</text>']
    for i, r in enumerate(rows):
        for j, (kind, colour) in enumerate((("prefill", "#4878a8"), ("decode", "#c06830"))):
            y, v = top + (2 * i + j) * h, r[kind + "_ratio"]
            if v["median"] is None:
                continue
            out.append(f'<text x="10" y="{y + 18}">{r["workload"]} {kind}</text>'
                       f'<rect x="150" y="{y + 4}" width="{x(v["median"]) - 150:.1f}" height="20" fill="{colour}"/>'
                       f'<path d="M{x(v["low"]):.1f} {y + 14}H{x(v["high"]):.1f}" stroke="black"/>'
                       f'<text x="{x(v["high"]) + 6:.1f}" y="{y + 18}">{v["median"]:.2f}</text>')
    out.append(f'<path d="M{x(1):.1f} {top}V{top + 2 * h * len(rows)}" stroke="#888" stroke-dasharray="4"/></svg>')
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")


def main(argv=None):
    p = argparse.ArgumentParser(prog="attune workloads", description="real prompts through a real model, with and without attune")
    p.add_argument("--model", required=True, help="model folder (mlx, torch) or GGUF file (llama)")
    p.add_argument("--runtime", choices=sorted(RUNTIMES))
    p.add_argument("--evolved-program", help="best_program.c of 'attune evolve', the folder of a run "
                   "(its best kernel for each class of problem), or a .so of 'attune build'")
    p.add_argument("--workload", action="append", choices=WORKLOADS, help="only these (may be repeated)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--new-tokens", type=int, default=32)
    p.add_argument("--max-prompt", type=int, default=0, help="cut prompts after N tokens")
    p.add_argument("--prompt-tokens", type=int, default=0, help="repeat and cut prompts to exactly N tokens")
    p.add_argument("--only", choices=("prefill", "decode"), help="leave the other out")
    p.add_argument("--layers", type=int, default=0, help="only the model's first N layers (mlx, torch)")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--generate", type=int, default=0, help="only write that many tokens after --prompt, with both kinds")
    p.add_argument("--prompt", default="The three primary colours are")
    p.add_argument("--json", action="store_true")
    p.add_argument("--svg", help="write a chart there")
    o = p.parse_args(argv)
    o.threads = o.threads or min(len(os.sched_getaffinity(0)), 16)
    o.runtime = o.runtime or ("llama" if o.model.endswith(".gguf") else "mlx")
    o.context = max(2048, o.prompt_tokens + 4 * o.new_tokens)
    try:
        runtime = RUNTIMES[o.runtime](o)
        if o.generate:
            from . import generate
            return generate.main(runtime, o.runtime, o.prompt, o.generate, o.json)
        texts = {w: open(os.path.join(os.path.dirname(__file__), "prompts", w + ".txt")).read() for w in WORKLOADS}
        ids = {w: runtime.tokens(t) for w, t in texts.items()}
        sample = ids["long"][:o.max_prompt or 256][:256]
        before = check_logits(runtime, sample)
        rows = []
        for w in o.workload or WORKLOADS:
            prompt = ids[w]
            if o.prompt_tokens:
                prompt = (prompt * (o.prompt_tokens // len(prompt) + 1))[:o.prompt_tokens]
            elif o.max_prompt:
                prompt = prompt[:o.max_prompt]
            forced = (ids["long"] * 9)[:o.new_tokens]
            rows.append(measure(runtime, w, prompt, forced, o.rounds, o.only))
            if not o.json:
                print(f"{w}: done", file=sys.stderr)
        after = check_logits(runtime, sample)
        layers, calls, fallbacks, names = runtime.report()
    except (AttuneError, ImportError, OSError, ValueError) as e:
        text = str(e) or type(e).__name__
        if isinstance(e, ImportError):
            text = f"{text}: the runtime '{o.runtime}' is not whole here; run tools/peers/install --models"
        if o.json:
            print(json.dumps({"error": text}))
        print(f"attune workloads: {text}", file=sys.stderr)
        return 1 if "nothing was patched" in text else 2
    worst = max((before, after), key=lambda x: x[0] if x[0] == x[0] else float("inf"))
    result = {"runtime": o.runtime, "runtime_version": runtime.version, "model": o.model,
              "kernel": {"name": runtime.binding.kernel, "nonce": runtime.binding.nonce},
              "kernels": runtime.binding.kernels(), "threads": o.threads,
              "layers_patched": layers, "calls": calls, "evolved_calls": runtime.binding.counts()["evolved"],
              "fallbacks": fallbacks, "left_to_host": sum(l.get("left_to_host", 0) for l in names),
              "kl": worst[0], "kl_limit": worst[1], "rows": rows, "layers": names}
    if o.json:
        print(json.dumps(result))
    else:
        table(result)
    if o.svg:
        svg(result, o.svg)
    if not (layers > 0 and calls > 0):
        print("attune workloads: nothing was patched: no call reached attune", file=sys.stderr)
        return 1
    if not worst[0] <= worst[1]:
        print(f"attune workloads: logits differ: KL {worst[0]:.2e} is above {worst[1]:.0e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
