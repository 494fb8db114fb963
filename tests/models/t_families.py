"""Small random models of other families, for their shapes, masks and caches: in mlx-lm and in transformers."""
from common import *

any_host = [p for p in ("mlx_lm", "transformers") if importlib.util.find_spec(p)]
if not any_host:
    need("mlx_lm")

SIZES = dict(hidden_size=96, num_hidden_layers=2, intermediate_size=128, num_attention_heads=6, vocab_size=128)


def mlx_families():
    import importlib as il

    import mlx.core as mx
    import numpy as np
    from mlx.utils import tree_map
    from mlx_lm.models.cache import make_prompt_cache

    import attune
    from attune import mlx as am

    families = {
        "llama": {}, "qwen3": dict(num_key_value_heads=2, head_dim=32, max_position_embeddings=256,
                                   tie_word_embeddings=True, rope_theta=1e4),
        "gemma2": dict(num_key_value_heads=3, head_dim=16),
        "gemma3_text": dict(num_key_value_heads=3, head_dim=24, sliding_window=16, sliding_window_pattern=2),
        "phi": dict(num_key_value_heads=6), "phi3": dict(num_key_value_heads=2),
        "llama (mistral, window)": dict(num_key_value_heads=2, sliding_window=16,
                                        layer_types=["sliding_attention", "full_attention"]),
    }
    for name, extra in families.items():
        module = il.import_module("mlx_lm.models." + name.split()[0])
        args = dict(SIZES, model_type=name.split()[0], rms_norm_eps=1e-5, **extra)
        mx.random.seed(3)
        model = module.Model(module.ModelArgs.from_dict(args))
        model.update(tree_map(lambda a: mx.random.normal(a.shape) * 0.2, model.parameters()))
        for kind in (mx.float32, mx.bfloat16):
            model.update(tree_map(lambda a: a.astype(kind), model.parameters()))
            ids = mx.random.randint(0, 128, (2, 48))

            def run():
                cache = make_prompt_cache(model)
                outs = [model(ids[:, :40], cache=cache)] + [model(ids[:, i:i + 1], cache=cache) for i in range(40, 48)]
                return np.array(mx.concatenate(outs, axis=1).astype(mx.float32))
            want = run()
            am.patch(model, least_work=200_000)  # 2 * 6 * 40 * 40 * 32 is 0.6 million: the prompt
            run()
            r = am.patch_report(model)
            check(r["calls"] == 2 and r["left_to_host"] == 16, f"mlx {name}: decoding is left to mlx")
            am.unpatch(model)
            am.patch(model, least_work=0)
            got, r = run(), am.patch_report(model)
            am.unpatch(model)
            k = am.kl(want, got)
            error = float(np.linalg.norm(got - want) / np.linalg.norm(want))  # a peaked softmax would hide it from KL
            limit = 1e-6 if kind == mx.float32 else 2e-2
            check(k <= limit and error <= (1e-4 if kind == mx.float32 else 5e-2) and r["layers_patched"] == 2 and r["calls"] == 18 and r["fallbacks"] == 0,
                  f"mlx {name} {str(kind).split('.')[-1]}: KL {k:.1e}, relative {error:.1e}, {r['calls']} calls, {r['fallbacks']} fallbacks")
            check(np.isfinite(got).all() and np.array_equal(run(), want), f"mlx {name}: finite; unpatched as before")


def torch_families():
    import torch
    import transformers as t

    import attune.torch as at
    at.register()
    common = dict(SIZES, pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=256)
    families = {
        "Llama": (t.LlamaConfig, dict(num_key_value_heads=2)), "Qwen3": (t.Qwen3Config, dict(num_key_value_heads=2, head_dim=32)),
        "Mistral, window": (t.MistralConfig, dict(num_key_value_heads=2, sliding_window=16)),
        "Gemma 2, softcap": (t.Gemma2Config, dict(num_key_value_heads=3, head_dim=16, sliding_window=16)),
        "Gemma 3": (t.Gemma3TextConfig, dict(num_key_value_heads=3, head_dim=24, sliding_window=16)),
        "Phi": (t.PhiConfig, dict(num_key_value_heads=6)), "Phi 3": (t.Phi3Config, dict(num_key_value_heads=2)),
    }
    for name, (config, extra) in families.items():
        torch.manual_seed(5)
        c = config(**common, **extra)
        model = t.AutoModelForCausalLM.from_config(c, attn_implementation="eager").eval()
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn_like(p) * 0.2)
        ids = torch.randint(3, 128, (3, 40))
        mask = torch.ones_like(ids)
        mask[1, :11] = 0
        mask[2, :30] = 0

        def run():
            with torch.no_grad():
                o = model(ids, attention_mask=mask, use_cache=True)
                outs, past, m = [o.logits], o.past_key_values, mask
                for i in range(3):
                    m = torch.cat([m, m.new_ones(3, 1)], 1)
                    o = model(ids[:, i:i + 1], attention_mask=m, past_key_values=past, use_cache=True)
                    past = o.past_key_values
                    outs.append(o.logits)
            return torch.cat(outs, 1), torch.cat([mask, mask.new_ones(3, 3)], 1).bool()
        want, keep = run()
        model.set_attn_implementation("attune")
        got, _ = run()
        r = at.patch_report(model)
        a, b = want[keep].double().log_softmax(-1), got[keep].double().log_softmax(-1)
        k = float((a.exp() * (a - b)).sum(-1).mean())
        error = float((got - want)[keep].norm() / want[keep].norm())
        check(k <= 1e-6 and error <= 1e-4 and r["layers_patched"] == 2 and r["fallbacks"] == 0 and bool(torch.isfinite(got).all()),
              f"transformers {name}: padded batch and decoding, KL {k:.1e}, relative {error:.1e}, {r['fallbacks']} fallbacks "
              f"{r['fallback_reasons'] or ''}")


if "mlx_lm" in any_host:
    mlx_families()
if "transformers" in any_host and importlib.util.find_spec("torch"):
    torch_families()
finish()
