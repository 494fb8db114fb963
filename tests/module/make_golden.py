#!/usr/bin/env python3
"""Writes golden.h: what transformers' attention modules answer on weights and inputs that both sides make by formula.

    python3 tests/module/make_golden.py > tests/module/golden.h        (needs torch and transformers)

Weights are not stored: element i of tensor t is an integer hash scaled to an exact f32, the same in t_module.c. Prompts of 9 tokens,
then 3 tokens one at a time through the cache: all 12 outputs are kept.
"""
import sys
import torch
import transformers
from transformers import Qwen3Config, LlamaConfig, Gemma3TextConfig, DynamicCache
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding
from transformers.models.gemma3.modeling_gemma3 import Gemma3Attention, Gemma3RotaryEmbedding

PROMPT, STEPS, BATCH = 9, 3, 2


def made(tensor, n, size):
    i = torch.arange(n, dtype=torch.int64)
    h = (i * 2654435761 + tensor * 40503 + 12345) & 0xffffffff
    h = ((h ^ (h >> 15)) * 2246822519) & 0xffffffff
    h = h ^ (h >> 13)
    return ((h >> 8).to(torch.float64) / (1 << 24) * 2 - 1).mul(size).to(torch.float32)


def fill(m, hidden, norms):
    with torch.no_grad():
        for t, name in enumerate(["q_proj", "k_proj", "v_proj", "o_proj"]):
            w = getattr(m, name).weight
            w.copy_(made(t, w.numel(), 0.25).view_as(w))
        if norms:
            m.q_norm.weight.copy_(made(4, m.q_norm.weight.numel(), 0.5) + (0 if norms == "plus" else 1))
            m.k_norm.weight.copy_(made(5, m.k_norm.weight.numel(), 0.5) + (0 if norms == "plus" else 1))
    return m.eval()


def mask(rows, keys, window):
    i = torch.arange(rows)[:, None] + keys - rows
    j = torch.arange(keys)[None, :]
    keep = j <= i
    if window:
        keep &= j > i - window
    return torch.where(keep, 0.0, torch.finfo(torch.float32).min)[None, None].expand(BATCH, 1, rows, keys)


@torch.no_grad()
def answers(m, rotary, hidden, window):
    x = made(9, BATCH * (PROMPT + STEPS) * hidden, 1.0).view(BATCH, PROMPT + STEPS, hidden)
    cache, out, at = DynamicCache(), [], 0
    for n in [PROMPT] + [1] * STEPS:
        part = x[:, at:at + n]
        pos = torch.arange(at, at + n)
        kw = dict(position_embeddings=rotary(part, pos[None].expand(BATCH, n)), attention_mask=mask(n, at + n, window),
                  past_key_values=cache, cache_position=pos)
        out.append(m(part, **kw)[0])
        at += n
    return torch.cat(out, 1)


def common(hidden, hq, hkv, d):
    return dict(hidden_size=hidden, num_attention_heads=hq, num_key_value_heads=hkv, head_dim=d, num_hidden_layers=6,
                attention_bias=False, attention_dropout=0.0, max_position_embeddings=64, attn_implementation="eager")


def rotary_of(make, c, local):
    """Gemma 3's rotary embedding has one table per kind of layer in newer versions."""
    r = make(c)
    kind = "sliding_attention" if local else "full_attention"
    try:
        r(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long), kind)
        return lambda x, p: r(x, p, kind)
    except TypeError:
        return r


def main():
    cases = []
    c = Qwen3Config(**common(24, 4, 2, 16), rms_norm_eps=1e-6, rope_theta=1e6, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    cases.append(("qwen3", dict(hidden=24, Hq=4, Hkv=2, D=16, qk_norm=1, plus=0, theta=1e6, scale=0, window=0),
                  answers(fill(Qwen3Attention(c, 0), 24, "one"), Qwen3RotaryEmbedding(c), 24, 0)))
    c = LlamaConfig(**common(32, 4, 1, 8), rope_theta=1e4, rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    cases.append(("llama", dict(hidden=32, Hq=4, Hkv=1, D=8, qk_norm=0, plus=0, theta=1e4, scale=0, window=0),
                  answers(fill(LlamaAttention(c, 0), 32, None), LlamaRotaryEmbedding(c), 32, 0)))
    rope = {k: {"rope_type": "default", "rope_theta": t} for k, t in (("sliding_attention", 1e4), ("full_attention", 1e6))}
    c = Gemma3TextConfig(**common(32, 4, 2, 16), sliding_window=5, query_pre_attn_scalar=24, rms_norm_eps=1e-6, rope_parameters=rope,
                         layer_types=["sliding_attention"] * 5 + ["full_attention"])
    for name, layer, window, theta in (("gemma3_local", 0, 5, 1e4), ("gemma3_global", 5, 0, 1e6)):
        m = Gemma3Attention(c, layer)
        cases.append((name, dict(hidden=32, Hq=4, Hkv=2, D=16, qk_norm=1, plus=1, theta=theta, scale=24 ** -0.5, window=window),
                      answers(fill(m, 32, "plus"), rotary_of(Gemma3RotaryEmbedding, c, layer == 0), 32, window)))
    print("/* Made by tests/module/make_golden.py with torch %s and transformers %s. Do not edit. */" % (torch.__version__, transformers.__version__))
    print("enum { PROMPT = %d, STEPS = %d, BATCH = %d };" % (PROMPT, STEPS, BATCH))
    for name, _, y in cases:
        v = ["%.9gf" % x if "." in "%.9g" % x or "e" in "%.9g" % x else "%.9g.f" % x for x in y.flatten().tolist()]
        print("static const float %s[] = {" % name)
        for i in range(0, len(v), 8):
            print("    " + ", ".join(v[i:i + 8]) + ",")
        print("};")
    print("static const golden_case golden[] = {")
    for name, s, _ in cases:
        print('    {"%s", {.hidden = %d, .Hq = %d, .Hkv = %d, .D = %d, .causal = true, .qk_norm = %d, .norm_plus_one = %d, .norm_eps = 1e-6f,' % (
            name, s["hidden"], s["Hq"], s["Hkv"], s["D"], s["qk_norm"], s["plus"]))
        print("     .rope_theta = %.1ff, .scale = %.9ff, .window = %d}, %s}," % (s["theta"], s["scale"], s["window"], name))
    print("};")


if __name__ == "__main__":
    sys.exit(main())
