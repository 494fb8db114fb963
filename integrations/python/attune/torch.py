"""PyTorch and transformers with attune's attention, on the CPU, for inference.

    import attune.torch
    attune.torch.register("attune_output/best/best_program.c")          # or nothing: the best kernel the library has
    model = AutoModelForCausalLM.from_pretrained(NAME, attn_implementation="attune")

register() announces "attune" to transformers as an attention *and* as a mask implementation (without the second, padded
batches would silently get no mask). override_sdpa() is another way, for models that call F.scaled_dot_product_attention
themselves: it replaces that function in this process; restore_sdpa() undoes it.

Inference only: where autograd needs a gradient, with dropout, off the CPU, or for problems that no kernel covers,
PyTorch's own attention runs, with one message for each reason."""
import os
import threading
import warnings
import weakref

from ._library import AttuneError, Binding, libraries

_lock = threading.Lock()
_state = None


class FallbackWarning(UserWarning):
    pass


class _State:
    def __init__(self, binding):
        self.binding = binding
        self.enabled = True
        self.layers = {}      # id(module) -> [name, calls, fallbacks]
        self.reasons = {}
        self.plain_sdpa = None
        self.sdpa_calls = 0

    def decline(self, reason):
        seen = self.reasons.get(reason, 0)
        self.reasons[reason] = seen + 1
        if not seen:
            warnings.warn(f"attune: PyTorch computes attention here: {reason}", FallbackWarning, stacklevel=4)
        return None


def _operator():
    """Registers torch.ops.attune.sdpa through PyTorch's stable C functions. Needs no compiler and no headers."""
    import torch
    lib = libraries()
    path = os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so")
    if lib.gil.attune_torch_register(path.encode()) != 0:
        raise AttuneError(f"{lib.why()} (PyTorch {torch.__version__})")
    return torch.ops.attune.sdpa.default


def _fake():
    """Shapes for torch.compile: as the operator answers."""
    import torch

    def sdpa(q, k, v, mask, sinks, binding, causal, scale, softcap):
        return q.new_empty((q.shape[0], q.shape[2], q.shape[1], v.shape[3])).transpose(1, 2)
    torch.library.register_fake("attune::sdpa", sdpa)


def register(evolved_program_path=None, *, kernel=None):
    """Makes "attune" an attn_implementation of transformers (if installed) and torch.ops.attune.sdpa an operator. Calling
    it again changes the kernel for all that run after."""
    global _state, _op
    with _lock:
        first = _state is None
        _op = _operator()
        binding = Binding(evolved_program_path, kernel, in_torch=True)
        if not first:
            _retired.append(_state.binding)  # a call in another thread may still be using it
            _state.binding = binding
            _state.layers, _state.reasons, _state.sdpa_calls = {}, {}, 0
            return
        _state = _State(binding)
        _fake()
        try:
            from transformers import AttentionInterface
            from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
        except ImportError:
            return
        AttentionInterface.register("attune", attention)
        AttentionMaskInterface.register("attune", sdpa_mask)


_op = None
_retired = []


def _compute(q, k, v, mask, causal, scale, softcap, sinks):
    """[B,Hq,Sq,D] tensors -> the result [B,Hq,Sq,Dv], or None with the reason noted."""
    import torch
    s = _state
    if q.device.type != "cpu":
        return s.decline(f"tensors on '{q.device.type}'")
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return s.decline("a gradient is wanted; use torch.no_grad() for inference")
    if mask is not None and mask.dtype == torch.bfloat16:
        mask = mask.float()
    if sinks is not None:
        sinks = sinks.detach().float().contiguous()
    if q.stride(3) != 1:
        q = q.contiguous()
    if k.stride(3) != 1:
        k = k.contiguous()
    if v.stride(3) != 1:
        v = v.contiguous()
    with torch.no_grad():
        out = _op(q, k, v, mask, sinks, s.binding.handle, causal, scale, softcap)
    if out.ndim != 4:
        return s.decline(libraries().why() or "a problem that no kernel covers")
    return out


def _new_layer(module):
    """Counts of a module, forgotten with it: its id may be another's later."""
    layers = _state.layers
    layers[id(module)] = [f"{type(module).__name__} {getattr(module, 'layer_idx', '?')}", 0, 0]
    weakref.finalize(module, layers.pop, id(module), None)
    return layers[id(module)]


def attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, **kwargs):
    """transformers' attention interface: query [B,H,L,D], key and value [B,Hkv,S,D]; returns ([B,L,H,D], None)."""
    s = _state
    L, S = query.shape[2], key.shape[2]
    layer = s.layers.get(id(module))
    if layer is None:
        layer = _new_layer(module)
    out = None
    softcap = float(kwargs.get("softcap") or 0.0)
    sinks = kwargs.get("s_aux")
    if s.enabled:
        if dropout:
            s.decline("dropout")
        elif kwargs.get("position_bias") is not None:
            s.decline("a position bias")
        elif kwargs.get("cache") is not None:
            s.decline("a paged cache")
        elif kwargs.get("output_attentions"):
            s.decline("attention weights are wanted")
        else:
            causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
            causal = bool(causal) and attention_mask is None and L > 1
            k, v, mask = key, value, attention_mask
            if causal and S > L:  # a static cache being filled: the rest of it is empty
                k, v = k[:, :, :L], v[:, :, :L]
            if mask is not None and mask.shape[-1] != S:
                mask = mask[..., :S]
            scale = float(scaling) if scaling is not None else query.shape[-1] ** -0.5
            out = _compute(query, k, v, mask, int(causal), scale, softcap, sinks)
    if out is not None:
        layer[1] += 1
        return out.transpose(1, 2), None
    layer[2] += s.enabled
    if softcap or sinks is not None:
        return _eager(module, query, key, value, attention_mask, scaling, softcap, sinks, is_causal)
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs)


def _eager(module, q, k, v, mask, scaling, softcap, sinks, is_causal):
    """In PyTorch, differentiable: what sdpa cannot do."""
    import torch
    heads, L = q.shape[1] // k.shape[1], q.shape[2]
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    if causal and mask is None and L > 1:
        k, v = k[:, :, :L], v[:, :, :L]
    k, v = k.repeat_interleave(heads, 1), v.repeat_interleave(heads, 1)
    s = (q @ k.transpose(2, 3)).float() * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    if mask is None and causal and L > 1:
        mask = torch.ones(L, k.shape[2], dtype=torch.bool).tril()
    if mask is not None:
        s = s.masked_fill(~mask, torch.finfo(s.dtype).min) if mask.dtype == torch.bool else s + mask
    if sinks is not None:
        s = torch.cat([s, sinks.reshape(1, -1, 1, 1).expand(s.shape[0], -1, L, 1)], -1).softmax(-1)[..., :-1]
    else:
        s = s.softmax(-1)
    return (s.to(q.dtype) @ v).transpose(1, 2), None


# ---- F.scaled_dot_product_attention ----

def override_sdpa():
    """Every F.scaled_dot_product_attention on the CPU in this process goes to attune where it can. Call register first."""
    import torch.nn.functional as F
    if _state is None:
        raise AttuneError("call attune.torch.register() before override_sdpa()")
    if _state.plain_sdpa is not None:
        return
    plain = _state.plain_sdpa = F.scaled_dot_product_attention

    def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                                     enable_gqa=False):
        s = _state
        out = None
        if s.enabled and query.dim() == 4 and query.device.type == "cpu":
            if dropout_p:
                s.decline("dropout")
            elif key.shape[1] != query.shape[1] and not enable_gqa:
                pass  # PyTorch says what is wrong
            elif is_causal and attn_mask is not None:
                pass
            else:
                mask = attn_mask
                if mask is not None and mask.dim() < 4:
                    mask = mask.reshape((1,) * (4 - mask.dim()) + tuple(mask.shape))
                out = _compute(query, key, value, mask, 2 if is_causal else 0,  # 2: top-left, as PyTorch has it
                               float(scale) if scale is not None else query.shape[-1] ** -0.5, 0.0, None)
        if out is not None:
            s.sdpa_calls += 1
            return out
        return plain(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    F.scaled_dot_product_attention = scaled_dot_product_attention


def restore_sdpa():
    import torch.nn.functional as F
    if _state is not None and _state.plain_sdpa is not None:
        F.scaled_dot_product_attention = _state.plain_sdpa
        _state.plain_sdpa = None


# ---- reports ----

def enable(on=True):
    """Switches between attune's attention and PyTorch's, to compare the two."""
    _state.enabled = bool(on)


def binding():
    return _state.binding


def patch_report(model=None):
    """What has run since register(). With a model: only its layers, by their full names; raises AttuneError if the model
    was not loaded with attn_implementation="attune"."""
    if _state is None:
        raise AttuneError("attune.torch.register() was not called")
    s, names = _state, {}
    if model is not None:
        if getattr(model.config, "_attn_implementation", None) != "attune" and s.plain_sdpa is None:
            raise AttuneError("this model was not loaded with attn_implementation='attune'; nothing of it is patched")
        names = {id(m): n for n, m in model.named_modules()}
    layers = [{"name": names.get(i, l[0]), "calls": l[1], "fallbacks": l[2]}
              for i, l in s.layers.items() if model is None or i in names]
    c = s.binding.counts()
    return {"kernel": {"name": s.binding.kernel, "nonce": s.binding.nonce, "program": s.binding.program},
            "kernels": s.binding.kernels(),
            "layers_patched": len(layers), "calls": c["calls"], "evolved_calls": c["evolved"],
            "attention_seconds": c["ns"] * 1e-9, "fallbacks": sum(l["fallbacks"] for l in layers),
            "fallback_reasons": dict(s.reasons), "sdpa_calls": s.sdpa_calls, "layers": layers}
