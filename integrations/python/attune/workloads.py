"""What `attune workloads` runs: real prompts through a real model, with attune's attention and with the runtime's own.

    python -m attune.workloads --model M --runtime mlx|torch|llama [--evolved-program P] [--json]

Patched and unpatched runs alternate in one process; each ratio is the median of the rounds' own ratios, with an interval
of order statistics. Unpatched is the better of the runtime's own choices (llama: flash attention on or off). The ceiling is
what attention at no cost would reach, measured with a kernel that computes nothing. Before and after, logits of
teacher-forced tokens are compared: where they differ, or nothing was patched, the exit code is 1.

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


# ---- runtimes: each computes with the arms "patched" and its own ----

class Mlx:
    own = ("mlx",)

    def __init__(self, o):
        import mlx.core as mx
        import mlx_lm
        from . import mlx as am
        self.mx, self.am = mx, am
        self.version = f"mlx {mx.__version__}, mlx-lm {mlx_lm.__version__}"
        self.model, self.tokenizer = am.load_and_patch_model(o.model, o.evolved_program, threads=o.threads)
        self.binding = am.binding_of(self.model)
        kinds = {str(v.dtype) for _, v in __import__("mlx.utils").utils.tree_flatten(self.model.parameters())}
        self.exact = kinds == {"mlx.core.float32"}

    def tokens(self, text):
        return list(self.tokenizer.encode(text))

    def arm(self, name):
        self.am.enable(self.model, name == "patched")

    def start(self):
        from mlx_lm.models.cache import make_prompt_cache
        self.cache = make_prompt_cache(self.model)

    def feed(self, ids):
        out = self.model(self.mx.array(ids)[None], cache=self.cache)[:, -1]
        self.mx.eval(out)

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
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(o.model)
        self.binding = at.binding()
        self.exact = {p.dtype for p in self.model.parameters()} == {torch.float32}

    def tokens(self, text):
        return self.tokenizer(text)["input_ids"]

    def arm(self, name):
        self.at.enable(name == "patched")

    def start(self):
        self.past = None

    def feed(self, ids):
        with self.torch.inference_mode():
            out = self.model(self.torch.tensor([ids]), past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values

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

    def repeat(self, n):
        self.lib.attune_ggml_repeat(n)


class Llama:
    own = ("flash", "plain")  # flash attention on and off

    def __init__(self, o):
        try:
            import llama_cpp
        except ImportError:
            raise AttuneError("llama-cpp-python is not installed; run 'tools/peers/install --models' (it compiles for "
                              "a quarter of an hour)") from None
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
        self.version = f"llama-cpp-python {llama_cpp.__version__}"
        self.binding = _GgmlBinding(so, program)
        make = lambda **k: llama_cpp.Llama(o.model, n_ctx=o.context, n_batch=2048, n_ubatch=512, n_threads=o.threads,
                                           n_threads_batch=o.threads, verbose=False, **k)
        self.contexts = {"flash": make(flash_attn=True), "plain": make(flash_attn=False)}
        # Logits: what attention in f32 would give, and what the runtime's own flash attention makes of it.
        self.make_exact = lambda: make(flash_attn=False, type_k=0, type_v=0, logits_all=True)
        self.make_flash = lambda: make(flash_attn=True, logits_all=True)
        self.exact = False

    def tokens(self, text):
        return self.contexts["flash"].tokenize(text.encode())

    def arm(self, name):
        self.binding.lib.attune_ggml_enable(int(name == "patched"))
        self.context = self.contexts["plain" if name == "plain" else "flash"]

    def start(self):
        self.context.reset()
        self.context._ctx.kv_cache_clear()

    def feed(self, ids):
        self.context.eval(ids)

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


def once(runtime, arm, prompt, forced):
    """Seconds of prefill and of decoding, and the part of both that was spent in attention by attune."""
    runtime.arm(arm)
    runtime.start()
    before = runtime.binding.counts()["ns"]
    t0 = time.perf_counter()
    runtime.feed(prompt)
    t1 = time.perf_counter()
    for t in forced:
        runtime.feed([t])
    t2 = time.perf_counter()
    return t1 - t0, t2 - t1, (runtime.binding.counts()["ns"] - before) * 1e-9


def measure(runtime, name, prompt, forced, rounds):
    arms = ("patched",) + runtime.own
    runs = {a: [] for a in arms}
    for a in arms:
        once(runtime, a, prompt[:32], forced[:2])
    once(runtime, "patched", prompt, forced[:2])
    for r in range(rounds):
        for a in arms if r % 2 == 0 else arms[::-1]:
            runs[a].append(once(runtime, a, prompt, forced))
    runtime.binding.repeat(0)
    nothing = [once(runtime, "patched", prompt, forced) for _ in range(min(rounds, 2))]
    runtime.binding.repeat(1)

    def against(i, total):
        best = min(runtime.own, key=lambda a: statistics.median(x[i] for x in runs[a]))
        pairs = list(zip(runs["patched"], runs[best]))
        mine = statistics.median(x[i] for x in runs["patched"])
        return (interval([u[i] / p[i] for p, u in pairs]), total / mine,
                total / statistics.median(x[i] for x in runs[best]),
                statistics.median(x[i] for x in runs[best]) / min(x[i] for x in nothing), best)

    prefill, pp, pu, pc, pb = against(0, len(prompt))
    decode, dp, du, dc, db = against(1, len(forced))
    share = statistics.median(x[2] / (x[0] + x[1]) for x in runs["patched"])
    return {"workload": name, "prompt_tokens": len(prompt), "new_tokens": len(forced), "prefill_ratio": prefill,
            "decode_ratio": decode, "prefill_ceiling": pc, "decode_ceiling": dc, "attention_share": share,
            "patched_tokens_per_s": dp, "unpatched_tokens_per_s": du, "patched_prefill_tokens_per_s": pp,
            "unpatched_prefill_tokens_per_s": pu, "unpatched": {"prefill": pb, "decode": db},
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def check_logits(runtime, ids):
    """(kl to the unpatched reference, what it may be)."""
    if isinstance(runtime, Llama):
        got, own = runtime.check(ids)
        return got, max(1e-6, own)
    runtime.arm("patched")
    a = runtime.logits(ids)
    runtime.arm("own")
    b = runtime.logits(ids)
    return kl(b, a), 1e-6 if runtime.exact else 1e-2


# ---- showing ----

def table(result):
    k = result["kernel"]
    print(f"{result['runtime_version']}, {result['model']}")
    print(f"kernel {k['name']} (nonce {k['nonce']}), {result['layers_patched']} layers, {result['calls']} calls, "
          f"{result['fallbacks']} fallbacks; KL to the unpatched logits {result['kl']:.1e} (limit {result['kl_limit']:.0e})")
    print(f"{'workload':9}{'tokens':>11}  {'prefill':>8} {'95 %':>13} {'ceiling':>8}  {'decode':>8} {'95 %':>13} "
          f"{'ceiling':>8}  {'tokens/s':>17}  {'attention':>9}")
    for r in result["rows"]:
        p, d = r["prefill_ratio"], r["decode_ratio"]
        print(f"{r['workload']:9}{r['prompt_tokens']:>5} + {r['new_tokens']:<3}  {p['median']:>7.2f}x "
              f"{p['low']:>6.2f}-{p['high']:<6.2f} {r['prefill_ceiling']:>7.2f}x  {d['median']:>7.2f}x "
              f"{d['low']:>6.2f}-{d['high']:<6.2f} {r['decode_ceiling']:>7.2f}x  {r['unpatched_tokens_per_s']:>7.1f} ->"
              f" {r['patched_tokens_per_s']:>6.1f}  {100 * r['attention_share']:>8.1f}%")


def svg(result, path):
    rows, w, h = result["rows"], 640, 34
    top = 46
    high = max([1.1] + [max(r["prefill_ratio"]["high"], r["decode_ratio"]["high"]) for r in rows])
    x = lambda v: 150 + v / high * (w - 230)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{top + 2 * h * len(rows) + 20}" '
           'font-family="sans-serif" font-size="13">',
           f'<title>Speed with attune against without, {result["runtime_version"]}</title>',
           f'<rect width="100%" height="100%" fill="white"/><text x="10" y="24">{result["runtime_version"]}: '
           'speed with attune, 1 = without</text>']
    for i, r in enumerate(rows):
        for j, (kind, colour) in enumerate((("prefill", "#4878a8"), ("decode", "#c06830"))):
            y, v = top + (2 * i + j) * h, r[kind + "_ratio"]
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
    p.add_argument("--evolved-program", help="best_program.c of 'attune evolve', or a .so of 'attune build'")
    p.add_argument("--workload", action="append", choices=WORKLOADS, help="only these (may be repeated)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--new-tokens", type=int, default=32)
    p.add_argument("--max-prompt", type=int, default=0, help="cut prompts after N tokens")
    p.add_argument("--prompt-tokens", type=int, default=0, help="repeat and cut prompts to exactly N tokens")
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
            rows.append(measure(runtime, w, prompt, forced, o.rounds))
            if not o.json:
                print(f"{w}: done", file=sys.stderr)
        after = check_logits(runtime, sample)
        layers, calls, fallbacks, names = runtime.report()
    except (AttuneError, ImportError, OSError, ValueError) as e:
        text = str(e) or type(e).__name__
        if o.json:
            print(json.dumps({"error": text}))
        print(f"attune workloads: {text}", file=sys.stderr)
        return 1 if "nothing was patched" in text else 2
    worst = max((before, after), key=lambda x: x[0] if x[0] == x[0] else float("inf"))
    result = {"runtime": o.runtime, "runtime_version": runtime.version, "model": o.model,
              "kernel": {"name": runtime.binding.kernel, "nonce": runtime.binding.nonce}, "threads": o.threads,
              "layers_patched": layers, "calls": calls, "evolved_calls": runtime.binding.counts()["evolved"],
              "fallbacks": fallbacks, "kl": worst[0], "kl_limit": worst[1], "rows": rows, "layers": names}
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
