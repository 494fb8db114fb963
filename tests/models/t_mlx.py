"""mlx-lm with a real model: logits, caches, padding, counts by layer, slow kernels, errors. mlx on Linux has a reference BLAS,
of 2 GFLOP/s: so few tokens, or with ATTUNE_LONG=1 more of them."""
from common import *

need("mlx", "mlx_lm")
_, folder = smollm2()
import gc
import resource
import warnings

import mlx.core as mx
import mlx.nn as nn
import mlx_lm
import numpy as np
from mlx_lm import generate
from mlx_lm.models.cache import QuantizedKVCache, RotatingKVCache, make_prompt_cache

import attune
from attention_integration import load_and_patch_model  # the seed's three lines
from attune import mlx as am

model, tokenizer = load_and_patch_model(model_path=folder, evolved_program_path=PLAIN)
ids = tokenizer.encode(TEXT)
few, enough = mx.array(ids[:8])[None], mx.array(ids[:32])[None]
small = np.array(model(few))
r = am.patch_report(model)
check(r["calls"] == r["fallbacks"] == 0 and r["left_to_host"] == 30 and {l["left_to_host"] for l in r["layers"]} == {1},
      "calls too small to win are left to mlx, and counted")
am.enable(model, False)
check(np.array_equal(small, np.array(model(few))), "bit for bit what mlx computes unpatched")
am.enable(model)
mx.eval(model.model(enough))
r = am.patch_report(model)
check(r["evolved_calls"] == r["calls"] == r["left_to_host"] == 30, "32 tokens are attune's")
am.set_least_work(model, 0)
text = generate(model, tokenizer, "Write a Python function:", max_tokens=4)
r = am.patch_report(model)
check(len(text) > 0 and r["layers_patched"] == 30 and r["evolved_calls"] == r["calls"] > 0,
      f"three lines: {r['calls']} calls, all by the evolved program {r['kernel']['name']}")
check(len({l["calls"] for l in r["layers"]}) == 1 and r["layers"][2]["name"] == "model.layers.2.self_attn",
      "each layer is named and counted")
evolved_nonce = r["kernel"]["nonce"]
am.unpatch(model)
check(raises(attune.AttuneError, lambda: am.patch_report(model), "not patched"), "unpatch ends it")

am.patch(model, least_work=0)
check(am.patch_report(model)["kernel"]["nonce"] != evolved_nonce, "another kernel has another nonce")
N = 120 if LONG else 48
ids = ids[:N + 6]
c = am.compare(model, tokenizer, ids, 1e-4)
check(c["valid"] and c["kl"] <= 1e-6, f"f32, {len(ids)} tokens: KL {c['kl']:.1e}, relative error {c['relative_error']:.1e}")


def both(f):
    out = []
    for on in (True, False):
        am.enable(model, on)
        out.append(np.array(f().astype(mx.float32)))
    am.enable(model, True)
    return am.kl(out[1], out[0])


def with_cache(make, steps=6, chunk=N // 3):
    def f():
        cache = make()
        x, outs = mx.array(ids)[None], []
        for i in range(0, N, chunk):
            outs.append(model(x[:, i:i + chunk], cache=cache))
        for i in range(N, N + steps):
            outs.append(model(x[:, i:i + 1], cache=cache))
        return mx.concatenate(outs, axis=1)
    return f


k = both(with_cache(lambda: make_prompt_cache(model)))
check(k <= 1e-6, f"prompt cache in chunks, then decoding: KL {k:.1e}")
k = both(with_cache(lambda: [RotatingKVCache(max_size=N * 2 // 5, keep=4) for _ in range(30)]))
check(k <= 1e-6, f"rotating cache: KL {k:.1e}")
pad = 7
mask = (mx.arange(60)[None, None, :, None] >= mx.arange(60)[None, None, None]) & \
       (mx.array([0, pad]).reshape(2, 1, 1, 1) <= mx.arange(60)[None, None, None])
attn = model.layers[0].self_attn
x = mx.random.normal((2, 60, 576))


def masked(m):
    o = attn(x, mask=m)
    return mx.concatenate([o[0], o[1, pad:]], axis=0)


for kind, m in (("bool", mask), ("additive", mx.where(mask, 0.0, -1e9))):
    k = both(lambda: masked(m))
    check(k <= 1e-6, f"left-padded batch, {kind} mask: KL {k:.1e}")
check(bool(mx.isfinite(attn(x, mask=mask)).all()), "padded rows are finite")

before = am.patch_report(model)["fallbacks"]
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter("always")
    for _ in range(2):
        cache = [QuantizedKVCache(group_size=64, bits=8) for _ in range(30)]
        mx.eval(model(mx.array(ids[:8])[None], cache=cache))
check(am.patch_report(model)["fallbacks"] == before + 60 and len(w) == 1 and "quantised" in str(w[0].message),
      "a quantised cache falls back, with one message")

short = mx.array(ids[:48])[None]
run = lambda: mx.eval(attn(mx.random.normal((1, 384, 576)), mask="causal"))
b = am.binding_of(model)


def slow():
    b.repeat(600)
    run()
    b.repeat(1)


s = median_ratio(slow, run, 3)
check(s > 1.5, f"a kernel made 600 times slower shows: {s:.1f} times")

other, _ = mlx_lm.load(folder)
calls = am.patch_report(model)["calls"]
mx.eval(other(short[:, :8]))
check(am.patch_report(model)["calls"] == calls, "another model in the process stays as it is")
am.patch(other, PLAIN, least_work=0)
mx.eval(other(short[:, :8]))
check(am.patch_report(model)["calls"] == calls and am.patch_report(other)["evolved_calls"] == 30,
      "two models, two kernels")
del other


class Empty(nn.Module):
    pass


check(raises(attune.AttuneError, lambda: am.patch(Empty()), "no layer"), "a patch that reaches no layer is an error")
check(raises(attune.AttuneError, lambda: am.patch(Empty(), "nothing.c"), "no such file"), "a missing program is named")

mx.random.seed(1)
q, kv = mx.random.normal((1, 9, 1, 64)), mx.random.normal((1, 3, 64, 64))
mx.eval(q, kv)
p = am._patches[id(model)]
b.repeat(0)
times = []
for _ in range(20):
    t = time.perf_counter()
    for _ in range(50):
        p.attend(mx, p.layers[0], q, kv, kv, 0.125, None, None, 0.0)
    times.append((time.perf_counter() - t) / 50 * 1e6)
b.repeat(1)
print(f"     overhead of a call: {min(times):.0f} us (arrays that are there already)")
check(min(times) <= 120, "overhead of a call is small")
am.set_least_work(model)
from mlx_lm.models.llama import scaled_dot_product_attention as sdpa
times = {True: [], False: []}
for i in range(40):
    am.enable(model, i % 2 == 0)
    am._now.layer = p.layers[0]
    t = time.perf_counter()
    for _ in range(200):
        sdpa(q, kv, kv, None, 0.125, None)
    times[i % 2 == 0].append((time.perf_counter() - t) / 200 * 1e6)
am._now.layer = None
am.enable(model)
print(f"     a call left to mlx: {min(times[True]) - min(times[False]):.1f} us more than unpatched")
check(min(times[True]) <= min(times[False]) + 20, "a call left to mlx costs nothing")

gc.collect()
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(100):
    am.unpatch(model)
    am.patch(model, least_work=0)
    mx.eval(attn(x[:, :8], mask="causal"))
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024
check(grown < 20, f"100 cycles of patch and unpatch: {grown:.0f} MB more")
finish()
