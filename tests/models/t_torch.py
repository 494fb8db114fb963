"""transformers with a real model: logits, padding, static caches, F.sdpa, gradients, slow kernels."""
from common import *

need("torch", "transformers")
_, folder = smollm2()
import warnings

import torch
import torch.nn.functional as F
import transformers

import attune
import attune.torch as at

torch.set_num_threads(2)
transformers.utils.logging.disable_progress_bar()
at.register()
model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="attune").eval()
tok = transformers.AutoTokenizer.from_pretrained(folder)


def kl(reference, other):
    a, b = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return float((a.exp() * (a - b)).sum(-1).mean())


def both(f):
    out = []
    for on in (True, False):
        at.enable(on)
        with torch.no_grad():
            out.append(f())
    at.enable(True)
    return kl(out[1], out[0])


ids = tok(TEXT, return_tensors="pt")["input_ids"]
k = both(lambda: model(ids[:, :300]).logits)
check(k <= 1e-6, f"f32, 300 tokens: KL {k:.1e}")
r = at.patch_report(model)
check(r["layers_patched"] == 30 and {l["calls"] for l in r["layers"]} == {1} and not r["fallbacks"] and
      r["layers"][0]["name"] == "model.layers.0.self_attn", "30 layers, one call each, by name")
x = ids.repeat(1, 3)[:, :2048]


def perplexity():
    return float(F.cross_entropy(model(x).logits[0, :-1], x[0, 1:], reduction="none").double().mean().exp())


pp = []
for on in (True, False):
    at.enable(on)
    with torch.no_grad():
        pp.append(perplexity())
at.enable(True)
check(f"{pp[0]:.4g}" == f"{pp[1]:.4g}", f"perplexity of {x.shape[1]} tokens: {pp[0]:.6g} and {pp[1]:.6g}")

for side in ("left", "right"):
    batch = tok([TEXT[:700], "A short one", "And another, a little longer than that one"], return_tensors="pt",
                padding=True, padding_side=side)
    keep = batch["attention_mask"].bool()
    k = both(lambda: model(**batch).logits[keep])
    check(k <= 1e-6, f"batch of 3, padded {side}: KL {k:.1e}")
    with torch.no_grad():
        check(bool(torch.isfinite(model(**batch).logits).all()), f"padded rows ({side}) are finite")


def decode(implementation):
    def f():
        from transformers import StaticCache
        past = StaticCache(config=model.config, max_cache_len=96) if implementation == "static" else None
        outs, at_ = [], 0
        for n in (40, 1, 1, 1, 5, 1):
            o = model(ids[:, at_:at_ + n], past_key_values=past, use_cache=True,
                      cache_position=torch.arange(at_, at_ + n))
            past = o.past_key_values
            outs.append(o.logits)
            at_ += n
        return torch.cat(outs, 1)
    return f


for kind in ("dynamic", "static"):
    k = both(decode(kind))
    check(k <= 1e-6, f"{kind} cache: KL {k:.1e}")

with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter("always")
    out = model(ids[:, :16], labels=ids[:, :16])
    out.loss.backward()
check(len(w) >= 1 and any("gradient" in str(m.message) for m in w) and
      model.model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0, "training falls back, says so, and has gradients")
model.zero_grad()

at.override_sdpa()
worst = 0.0
with torch.no_grad():
    for B, H, K, L, S, D, kind in ((1, 4, 4, 33, 33, 64, torch.float32), (2, 8, 2, 1, 77, 128, torch.float32),
                                   (1, 2, 2, 5, 9, 80, torch.float32), (3, 6, 3, 64, 64, 256, torch.float32)):
        torch.manual_seed(L)
        q, kk, v = torch.randn(B, H, L, D, dtype=kind), torch.randn(B, K, S, D, dtype=kind), torch.randn(B, K, S, D, dtype=kind)
        m = torch.rand(B, 1, L, S) > 0.4
        m[..., 0] = True
        for args in (dict(), dict(is_causal=True), dict(attn_mask=m), dict(attn_mask=torch.randn(L, S))):
            got = F.scaled_dot_product_attention(q, kk, v, enable_gqa=True, **args)
            want = at._state.plain_sdpa(q, kk, v, enable_gqa=True, **args)
            worst = max(worst, float((got - want).abs().max()))
check(worst <= 2e-5 and at.patch_report()["sdpa_calls"] == 16, f"every F.scaled_dot_product_attention: {worst:.1e}")
at.restore_sdpa()
check(F.scaled_dot_product_attention is not None and at._state.plain_sdpa is None, "and back")

b = at.binding()
with torch.no_grad():
    some = ids[:, :512]
    run = lambda: model(some, logits_to_keep=1)

    def slow():
        b.repeat(12)
        run()
        b.repeat(1)
    run()
    s = median_ratio(slow, run, 3)
check(s > 1.3, f"a kernel made 12 times slower makes the model slower: {s:.1f} times")

q, kv = torch.randn(1, 9, 1, 64), torch.randn(1, 3, 64, 64)
times = []
b.repeat(0)
with torch.no_grad():
    for _ in range(40):
        t = time.perf_counter()
        for _ in range(100):
            at._op(q, kv, kv, None, None, b.handle, 0, 0.125, 0.0)
        times.append((time.perf_counter() - t) * 1e4)
b.repeat(1)
print(f"     overhead of a call of the operator: {min(times):.1f} us")
check(min(times) <= 30, "overhead of a call is small")

at.register(PLAIN)
with torch.no_grad():
    model(ids[:, :20])
r = at.patch_report(model)
check(r["evolved_calls"] == r["calls"] == 30, "the evolved program computes every call")
run = os.path.join(tempfile.mkdtemp(), "run")  # a run's folder: judged on prefill, so the library's own kernel decodes
os.makedirs(os.path.join(run, "portfolio"))
open(os.path.join(run, "portfolio", "dispatch.txt"), "w").write("default  w_1.c\n")
open(os.path.join(run, "portfolio", "w_1.c"), "w").write(open(PLAIN).read() + 'const char attune_judged[] = "f32 prefill";\n')
at.register(run)
model.generate(ids[:, :30], max_new_tokens=2, do_sample=False)
used = {k["for"]: k for k in at.patch_report(model)["kernels"]}
check(used["f32 prefill"]["evolved"] and used["f32 prefill"]["calls"] == 30 and not used["f32 decode"]["evolved"] and
      "judged" in used["f32 decode"]["why"], f"a run's folder is used for what it was judged on: {list(used.values())}")
plain = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
check(raises(attune.AttuneError, lambda: at.patch_report(plain), "not loaded"), "a model without attune is named as such")
finish()
