"""mlx-lm models with attune's attention.

    from attune.mlx import load_and_patch_model
    from mlx_lm import generate
    model, tokenizer = load_and_patch_model("mlx-community/Qwen3-0.6B-bf16", "attune_output/best/best_program.c")
    print(generate(model, tokenizer, "Write a Python function:", max_tokens=100))

mlx-lm's models call one function, scaled_dot_product_attention of mlx_lm.models.base, which every family imports by name:
it is replaced in each module that holds it. Which layer is calling is known because the attention modules of a patched
model set it; so other models in the process stay as they are, and each may have a kernel of its own.

What attune does not compute (a quantised cache, arrays on a GPU, unusual types or masks) mlx computes as before, with one
message for each reason. Calls below `least_work` are left to mlx as well, and counted: see LEAST_WORK. Families that
compute attention inline are refused, except Gemma 2, whose softcap is supported."""
import sys
import threading
import warnings
import weakref

from ._library import AttuneError, Binding, libraries

# Families whose attention is not, or not all, called through base.scaled_dot_product_attention (mlx-lm 0.32).
INLINE_FAMILIES = ("gemma2 (patched by a method of its own)", "plamo2", "deepseek_v41", "muse_spark (one place)")

# Multiply-adds of a call (B * Hq * Sq * Skv * (D + Dv), as mlx does them) from which on attune computes it. A kernel needs
# arrays that are there, so mlx's thread must be waited for in each layer, where mlx would have gone on building the next
# one. Layers of SmolLM2-135M, f32, on a 2-core EPYC (Genoa), mlx 0.32.4: that costs 150 to 400 us a layer, and what a layer
# wins or loses in all is -79 us at 0.6 million (decoding after 512 tokens), -19 at 0.7 (a prompt of 24), +300 at 1.2
# (decoding after 1,024), +325 at 1.2 (a prompt of 32), +900 at 2.4.
LEAST_WORK = 1 << 20

_now = threading.local()
_original = None
_patches = {}        # id(model) -> Patch
_lock = threading.Lock()


class FallbackWarning(UserWarning):
    pass


class _Layer:
    """One attention layer of a patched model: its name, and its calls."""
    __slots__ = ("name", "module", "family", "patch", "calls", "fallbacks", "left")

    def __init__(self, name, module, patch):
        self.name, self.module, self.patch = name, module, patch
        self.family = type(module).__module__
        self.calls = self.fallbacks = self.left = 0


class Patch:
    def __init__(self, binding, least_work):
        self.binding = binding
        self.least_work = least_work
        self.layers = []
        self.reasons = {}
        self.enabled = True

    def too_small(self, layer, batch, heads, rows, keys, widths):
        """Whether a call is left to mlx, which counts it."""
        if batch * heads * rows * keys * widths >= self.least_work:
            return False
        layer.left += 1
        return True

    def attend(self, mx, layer, queries, keys, values, scale, mask, sinks, softcap):
        """The result, or None with the reason noted."""
        if queries.ndim != 4:
            return self.decline("arrays that are not [B, H, L, D]")
        causal = 0
        if mask is None:
            pass
        elif isinstance(mask, str):
            if mask != "causal":
                return self.decline(f"the mask '{mask}'")
            causal, mask = 1, None
        elif mask.dtype == mx.bfloat16:
            mask = mask.astype(mx.float32)
        if sinks is not None and sinks.dtype != mx.float32:
            sinks = sinks.astype(mx.float32)
        shape, kind = queries.shape, queries.dtype
        if keys.dtype != kind or values.dtype != kind:
            kind = mx.result_type(queries, keys, values)
        try:
            out = mx.empty((shape[0], shape[1], shape[2], values.shape[3]), kind)
            if mask is None and sinks is None:
                mx.eval(queries, keys, values, out)
            else:
                mx.eval([a for a in (queries, keys, values, out, mask, sinks) if a is not None])
        except (ValueError, RuntimeError) as e:  # inside mx.compile or mx.grad there is nothing to compute with yet
            return self.decline(f"a traced function ({str(e).splitlines()[0][:80]})")
        b = self.binding
        code = b.lib.gil.attune_mlx_sdpa(b.handle, queries, keys, values, out, mask is not None, mask,
                                         sinks is not None, sinks, scale, causal, softcap)
        if code != 0:
            return self.decline(b.lib.why())
        layer.calls += 1
        return out

    def decline(self, reason):
        seen = self.reasons.get(reason, 0)
        self.reasons[reason] = seen + 1
        if not seen:
            warnings.warn(f"attune: mlx computes attention here: {reason}", FallbackWarning, stacklevel=4)
        return None


def _dispatch(queries, keys, values, cache, scale, mask, sinks=None):
    layer = getattr(_now, "layer", None)
    if layer is not None and layer.patch.enabled:
        import mlx.core as mx
        patch = layer.patch
        if hasattr(cache, "bits"):
            out = patch.decline("a quantised cache")
        elif mx.default_device().type != mx.DeviceType.cpu:
            out = patch.decline("arrays on a GPU; mx.set_default_device(mx.cpu) uses attune")
        elif queries.ndim == 4 and patch.too_small(layer, *queries.shape[:3], keys.shape[2],
                                                   queries.shape[3] + values.shape[3]):
            return _original(queries, keys, values, cache, scale=scale, mask=mask, sinks=sinks)
        else:
            out = patch.attend(mx, layer, queries, keys, values, scale, mask, sinks, 0.0)
        if out is not None:
            return out
        layer.fallbacks += 1
    return _original(queries, keys, values, cache, scale=scale, mask=mask, sinks=sinks)


def _holders():
    """Modules that hold mlx-lm's function, or ours, under its name."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mlx_lm.models.") and module is not None:
            f = getattr(module, "scaled_dot_product_attention", None)
            if f is _original or f is _dispatch:
                yield module


def _set_function(f):
    for module in _holders():
        module.scaled_dot_product_attention = f


def _wrap(layer):
    """Gives the layer's module a class whose __call__ says which layer is running."""
    cls = type(layer.module)
    inner = _gemma2_call if cls.__module__.endswith(".gemma2") else cls.__call__

    def __call__(self, *args, **kwargs):
        outer = getattr(_now, "layer", None)
        _now.layer = layer
        try:
            return inner(self, *args, **kwargs)
        finally:
            _now.layer = outer

    layer.module.__class__ = type(cls.__name__, (cls,), {"__call__": __call__, "_attune_layer": layer,
                                                          "__module__": cls.__module__})


def _calls_attention(module):
    """Does the class's __call__ (or a method of it) name the one function, from a module that holds it?"""
    cls = type(module)
    home = sys.modules.get(cls.__module__)
    if cls.__module__.endswith(".gemma2") and hasattr(module, "attn_logit_softcapping"):
        return True
    if getattr(home, "scaled_dot_product_attention", None) not in (_original, _dispatch):
        return False
    return any("scaled_dot_product_attention" in f.__code__.co_names
               for f in vars(cls).values() if hasattr(f, "__code__"))


def _gemma2_call(self, x, mask=None, cache=None):
    """Gemma 2 writes its attention out, with the scores passed through softcap * tanh(s / softcap)."""
    import mlx.core as mx
    layer = _now.layer
    B, L, _ = x.shape
    split = lambda a, heads: a.reshape(B, L, heads, -1).transpose(0, 2, 1, 3)
    if hasattr(cache, "bits") or not layer.patch.enabled or mx.default_device().type != mx.DeviceType.cpu:
        layer.fallbacks += layer.patch.enabled
        if layer.patch.enabled:
            layer.patch.decline("a quantised cache or a GPU")
        return type(self).__mro__[1].__call__(self, x, mask, cache)
    if layer.patch.too_small(layer, B, self.n_heads, L, L + (cache.size() if cache else 0), 2 * self.head_dim):
        return type(self).__mro__[1].__call__(self, x, mask, cache)
    q, k, v = split(self.q_proj(x), self.n_heads), split(self.k_proj(x), self.n_kv_heads), \
        split(self.v_proj(x), self.n_kv_heads)
    at = 0 if cache is None else cache.offset
    q, k = self.rope(q, offset=at), self.rope(k, offset=at)
    if cache is not None:
        k, v = cache.update_and_fetch(k, v)
    out = layer.patch.attend(mx, layer, q, k, v, self.scale, mask, None, float(self.attn_logit_softcapping))
    if out is None:  # the same in mlx
        layer.fallbacks += 1
        heads = self.n_heads // self.n_kv_heads
        s = (q * self.scale) @ mx.repeat(k, heads, axis=1).swapaxes(-1, -2)
        s = self.attn_logit_softcapping * mx.tanh(s / self.attn_logit_softcapping)
        if isinstance(mask, str):
            mask = mx.arange(k.shape[2] - L, k.shape[2])[:, None] >= mx.arange(k.shape[2])[None]
        if mask is not None:
            s = mx.where(mask, s, mx.finfo(s.dtype).min) if mask.dtype == mx.bool_ else s + mask
        out = mx.softmax(s, precise=True, axis=-1) @ mx.repeat(v, heads, axis=1)
    return self.o_proj(out.transpose(0, 2, 1, 3).reshape(B, L, -1))


# ---- what users call ----

def patch(model, evolved_program_path=None, *, kernel=None, threads=0, least_work=LEAST_WORK):
    """Patches a loaded mlx-lm model. Raises AttuneError if that reaches no layer. least_work: 0 leaves nothing to mlx."""
    global _original
    import mlx_lm.models.base as base
    with _lock:
        if id(model) in _patches:
            raise AttuneError("this model is patched already; call unpatch(model) first")
        if _original is None:
            _original = base.scaled_dot_product_attention
        p = Patch(Binding(evolved_program_path, kernel, threads), least_work)
        for name, module in model.named_modules():
            if _calls_attention(module):
                p.layers.append(_Layer(name, module, p))
        if not p.layers:
            family = type(model).__module__.rsplit(".", 1)[-1]
            raise AttuneError(f"no layer of this model ('{family}') computes attention through mlx-lm's "
                              "scaled_dot_product_attention; nothing was patched (inline families: "
                              f"{', '.join(INLINE_FAMILIES)})")
        p.layers.sort(key=lambda l: [int(w) if w.isdigit() else w for w in l.name.split(".") if w.isdigit()] or [0])
        for layer in p.layers:
            _wrap(layer)
        _set_function(_dispatch)
        _patches[id(model)] = p
        p.end = weakref.finalize(model, _patches.pop, id(model), None)  # its id may be another's later
    return model


def unpatch(model):
    """Gives the model back as it was; its report is lost. Patching the model again is fine."""
    with _lock:
        p = _patches.pop(id(model), None)
        if p is None:
            raise AttuneError("this model is not patched")
        p.end.detach()
        for layer in p.layers:
            layer.module.__class__ = type(layer.module).__mro__[1]
        if not _patches:
            _set_function(_original)
    return model


def load_and_patch_model(model_path, evolved_program_path=None, **options):
    """mlx_lm.load, then patch: (model, tokenizer) for mlx_lm.generate and all else."""
    import mlx_lm
    model, tokenizer = mlx_lm.load(model_path)
    return patch(model, evolved_program_path, **options), tokenizer


def enable(model, on=True):
    """Switches a patched model between attune's attention and mlx's own, to compare the two."""
    _patches[id(model)].enabled = bool(on)


def set_least_work(model, least_work=LEAST_WORK):
    """From how many multiply-adds on attune computes a call of a patched model; 0: every one."""
    _patches[id(model)].least_work = least_work


def patch_report(model):
    """What was patched and what has run since: kernel, nonce, layers by name with their calls, fallbacks by reason, and
    left_to_host: calls too small for attune to win, which mlx computed as if nothing were patched."""
    p = _patches.get(id(model))
    if p is None:
        raise AttuneError("this model is not patched")
    c = p.binding.counts()
    return {"kernel": {"name": p.binding.kernel, "nonce": p.binding.nonce, "program": p.binding.program},
            "kernels": p.binding.kernels(),
            "layers_patched": len(p.layers), "calls": c["calls"], "evolved_calls": c["evolved"],
            "attention_seconds": c["ns"] * 1e-9, "fallbacks": sum(l.fallbacks for l in p.layers),
            "fallback_reasons": dict(p.reasons), "left_to_host": sum(l.left for l in p.layers),
            "layers": [{"name": l.name, "calls": l.calls, "fallbacks": l.fallbacks, "left_to_host": l.left}
                       for l in p.layers]}


def binding_of(model):
    return _patches[id(model)].binding


def compare_outputs(evolved_output, reference_output, tolerance=1e-3):
    """Two arrays: largest and relative L2 difference, and whether the latter is within tolerance (NaN is not)."""
    import numpy as np
    import mlx.core as mx
    a = np.array(mx.array(evolved_output).astype(mx.float32), np.float64)
    b = np.array(mx.array(reference_output).astype(mx.float32), np.float64)
    if a.shape != b.shape:
        return {"valid": False, "why": f"shapes differ: {a.shape} and {b.shape}"}
    error = float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))
    return {"valid": bool(error <= tolerance), "relative_error": error, "max_difference": float(np.abs(a - b).max()),
            "mse": float(((a - b) ** 2).mean()), "tolerance": tolerance}


def compare(model, tokenizer, prompt="The quick brown fox jumps over the lazy dog.", tolerance=1e-3):
    """Logits of a patched model for a prompt, with attune's attention (in every call) and with mlx's own: compare_outputs
    of the two, with kl, the KL divergence of the predictions, averaged over the tokens."""
    import mlx.core as mx
    tokens = mx.array(tokenizer.encode(prompt) if isinstance(prompt, str) else prompt)[None]
    logits, least = {}, _patches[id(model)].least_work
    set_least_work(model, 0)
    for on in (True, False):
        enable(model, on)
        logits[on] = model(tokens).astype(mx.float32)
        mx.eval(logits[on])
    enable(model, True)
    set_least_work(model, least)
    r = compare_outputs(logits[True], logits[False], tolerance)
    r["kl"] = kl(logits[False], logits[True])
    return r


def kl(reference, other):
    """Mean over positions of KL(softmax(reference) || softmax(other)), in float64."""
    import numpy as np
    def logs(x):
        x = np.array(x, np.float64)
        x = x - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))
    a, b = logs(reference), logs(other)
    return float((np.exp(a) * (a - b)).sum(-1).mean())
