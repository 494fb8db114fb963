"""Text from a real model with its own attention and with attune's, token by token the likeliest: `attune workloads --generate`.

The seed's quick demo generated from a model that its patch had not touched. Here the calls that reached the kernel are
counted; where none did, the exit code is 1."""
import sys
import time


def mlx_text(runtime, prompt, n):
    from mlx_lm import generate
    return generate(runtime.model, runtime.tokenizer, prompt, max_tokens=n)


def torch_text(runtime, prompt, n):
    tokens = runtime.tokenizer(prompt, return_tensors="pt")
    with runtime.torch.inference_mode():
        out = runtime.model.generate(**tokens, max_new_tokens=n, do_sample=False, pad_token_id=runtime.tokenizer.eos_token_id)
    return runtime.tokenizer.decode(out[0][tokens["input_ids"].shape[1]:], skip_special_tokens=True)


def generate_both(runtime, kind, prompt, n):
    """Returns a dict with both texts, their seconds, layers and calls."""
    write = {"mlx": mlx_text, "torch": torch_text}[kind]
    result = {"runtime": runtime.version, "prompt": prompt}
    for arm, name in ((runtime.own[0], "own"), ("patched", "attune")):
        runtime.arm(arm, every=True)  # to see a kernel write, also where a host is better off without
        write(runtime, prompt, 2)  # what is loaded or built at the first call is nobody's time
        start = time.monotonic()
        text = write(runtime, prompt, n)
        result[name] = {"text": text, "seconds": time.monotonic() - start}
    layers, calls, fallbacks, _ = runtime.report()
    result.update(layers_patched=layers, calls=calls, fallbacks=fallbacks, kernel=runtime.binding.kernel,
                  same=result["own"]["text"] == result["attune"]["text"])
    return result


def main(runtime, kind, prompt, n, as_json):
    if kind not in ("mlx", "torch"):
        print("attune workloads: --generate is for --runtime mlx and torch", file=sys.stderr)
        return 2
    r = generate_both(runtime, kind, prompt, n)
    if as_json:
        import json
        print(json.dumps(r))
    else:
        print(f"{r['runtime']}; prompt: {prompt!r}")
        print(f"  own attention     {r['own']['seconds']:6.2f} s  {r['own']['text']!r}")
        print(f"  attune's kernel   {r['attune']['seconds']:6.2f} s  {r['attune']['text']!r}")
        print(f"  {'the same text' if r['same'] else 'the texts differ (rounding may turn a close choice)'}; kernel "
              f"{r['kernel']}, {r['layers_patched']} layers, {r['calls']} calls, {r['fallbacks']} fell back")
    if not (r["layers_patched"] > 0 and r["calls"] > 0):
        print("attune workloads: nothing was patched: no call reached attune", file=sys.stderr)
        return 1
    return 0
