"""One peer of `attune bench`: computes attention with another library when told to, and says how long it took.

Speaks JSON lines on stdin and stdout; tensors lie in a file that both sides map. Requests:
  {"op": "open", "peer": "torch-flash", "path": F, "threads": T, "problem": {B,Hq,Hkv,Sq,Skv,D,Dv,causal,scale,
   dtype,kv}, "offset": {q,k,v,o}}      -> {"ok": true, "version": "torch 2.15.0", "note": ""} or {"ok": false, "why": ...}
  {"op": "run"}                         -> {"ns": N}            one call, timed around the library's own entry point
  {"op": "store"}                       -> {"ok": true}         the last result as f32 [B][Hq][Sq][Dv] at offset o
Tensors are [B][H][S][D], contiguous. A library that wants another layout or repeated kv heads gets its inputs so, made
before any timed call, and says so in its note: only its attention is timed, never our conversions.
"""
import ctypes
import json
import mmap
import os
import sys
import time

import numpy as np

sys.dont_write_bytecode = True         # an installed folder stays as it was installed
import ggml_functions

HALF = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
SIZE = {"f32": 4, "f16": 2, "bf16": 2}


class Inputs:
    def __init__(self, request):
        self.p = request["problem"]
        self.threads = request["threads"]
        with open(request["path"], "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        self.offset = request["offset"]
        p = self.p
        self.shape = {
            "q": (p["B"], p["Hq"], p["Sq"], p["D"]),
            "k": (p["B"], p["Hkv"], p["Skv"], p["D"]),
            "v": (p["B"], p["Hkv"], p["Skv"], p["Dv"]),
            "o": (p["B"], p["Hq"], p["Sq"], p["Dv"]),
        }

    def array(self, name):
        kind = self.p["dtype"] if name == "q" else self.p["kv"]
        n = int(np.prod(self.shape[name]))
        return np.frombuffer(self.map, HALF[kind], n, self.offset[name]).reshape(self.shape[name])

    def as_f32(self, name):
        a, kind = self.array(name), self.p["dtype"] if name == "q" else self.p["kv"]
        if kind == "bf16":
            return (a.astype(np.uint32) << 16).view(np.float32)
        return a.astype(np.float32)

    def store(self, a):
        out = np.frombuffer(self.map, np.float32, int(np.prod(self.shape["o"])), self.offset["o"])
        out[:] = np.asarray(a, np.float32).reshape(-1)


def same_types(p, name):
    if p["dtype"] != p["kv"]:
        raise NotImplementedError(f"{name} wants one type for q, k and v")


class Torch:
    def __init__(self, x, backend):
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
        p = x.p
        same_types(p, "torch")
        if p["causal"] and p["Sq"] != p["Skv"]:
            if p["Sq"] > 1:
                raise NotImplementedError("torch's is_causal is top-left aligned")
        torch.set_num_threads(x.threads)
        kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[p["dtype"]]
        make = lambda n: torch.frombuffer(x.map, dtype=kind, count=int(np.prod(x.shape[n])), offset=x.offset[n]).reshape(x.shape[n])
        self.torch, self.x = torch, x
        self.q, self.k, self.v = make("q"), make("k"), make("v")
        self.causal = bool(p["causal"]) and p["Sq"] > 1
        self.gqa = p["Hq"] != p["Hkv"]
        self.version = f"torch {torch.__version__} {torch.backends.cpu.get_cpu_capability()}"
        self.note = ""
        self.context = sdpa_kernel(SDPBackend.FLASH_ATTENTION if backend == "flash" else SDPBackend.MATH)
        self.scale = p["scale"]
        torch.set_grad_enabled(False)
        self.context.__enter__()
        try:
            self.run()
        except RuntimeError:
            if not (self.gqa and backend == "flash"):
                raise
            g = p["Hq"] // p["Hkv"]            # older builds: no flash with fewer kv heads; give it repeated heads, untimed
            self.k, self.v = self.k.repeat_interleave(g, 1), self.v.repeat_interleave(g, 1)
            self.gqa, self.note = False, "kv heads repeated before timing"
            self.run()

    def run(self):
        f = self.torch.nn.functional.scaled_dot_product_attention
        t0 = time.perf_counter_ns()
        self.out = f(self.q, self.k, self.v, is_causal=self.causal, scale=self.scale, enable_gqa=self.gqa)
        return time.perf_counter_ns() - t0

    def store(self):
        self.x.store(self.out.to(self.torch.float32).contiguous().numpy())


class Ggml:
    """flash_attn_ext of the ggml inside xllamacpp, through its exported C functions."""
    TYPE = {"f32": ggml_functions.F32, "f16": ggml_functions.F16, "bf16": ggml_functions.BF16}

    def __init__(self, x):
        self.g = g = ggml_functions.load()
        p = x.p
        if p["dtype"] != "f32":
            raise NotImplementedError("ggml's q is f32")
        bytes_all = sum(int(np.prod(s)) * 4 for s in x.shape.values()) + p["Sq"] * p["Skv"] * 2 + (512 << 20)
        c = g.ggml_init(ggml_functions.InitParams(bytes_all, None, False))
        make = lambda a, kind, shape: ggml_functions.tensor(g, c, np.ascontiguousarray(a), kind, shape)
        q, k, v = (make(x.array(n), self.TYPE["f32" if n == "q" else p["kv"]], x.shape[n]) for n in "qkv")
        mask = None
        if p["causal"] and p["Sq"] > 1:
            i, j = np.arange(p["Sq"])[:, None], np.arange(p["Skv"])[None]
            open_ = j <= i + p["Skv"] - p["Sq"]
            mask = make(np.where(open_, 0, -np.inf).astype(np.float16), ggml_functions.F16, (1, 1, p["Sq"], p["Skv"]))
        self.out = g.ggml_flash_attn_ext(c, q, k, v, mask, p["scale"], 0.0, 0.0)
        self.graph = g.ggml_new_graph(c)
        g.ggml_build_forward_expand(self.graph, self.out)
        self.x = x
        self.version = f"ggml {g.ggml_version().decode()} (xllamacpp wheel)"
        self.note = "x86-64-v3 build: no AVX-512"
        self.plan = g.ggml_graph_plan(self.graph, x.threads, None)
        self.work = ctypes.create_string_buffer(self.plan.work_size + 64)
        self.plan.work = ctypes.addressof(self.work)

    def run(self):
        t0 = time.perf_counter_ns()
        self.g.ggml_graph_compute(self.graph, ctypes.byref(self.plan))
        return time.perf_counter_ns() - t0

    def store(self):
        p = self.x.p
        n = p["B"] * p["Sq"] * p["Hq"] * p["Dv"]
        a = np.ctypeslib.as_array(ctypes.cast(self.g.ggml_get_data(self.out), ctypes.POINTER(ctypes.c_float)), (n,))
        self.x.store(a.reshape(p["B"], p["Sq"], p["Hq"], p["Dv"]).transpose(0, 2, 1, 3))


class OpenVino:
    def __init__(self, x):
        sys.modules["openvino_telemetry"] = None   # else it calls its makers, in a process that outlives us
        import openvino as ov
        from openvino import opset13 as op
        p = x.p
        same_types(p, "openvino")
        if p["causal"] and p["Sq"] != p["Skv"] and p["Sq"] > 1:
            raise NotImplementedError("causal with Sq != Skv")
        if abs(p["scale"] - p["D"] ** -0.5) > 1e-6:
            raise NotImplementedError("a scale of its own asks for a mask as well")
        kind = {"f32": ov.Type.f32, "f16": ov.Type.f16, "bf16": ov.Type.bf16}[p["dtype"]]
        g = p["Hq"] // p["Hkv"]
        inputs, self.feed = [], []
        for n in "qkv":
            a = x.as_f32(n)
            if g > 1 and n != "q":
                a = np.repeat(a, g, 1)
            inputs.append(op.parameter(a.shape, ov.Type.f32 if p["dtype"] == "f32" else kind))
            t = ov.Tensor(kind, a.shape)
            if p["dtype"] == "bf16":
                t.data[:] = ((a.view(np.uint32) + 0x8000) >> 16).astype(np.uint16).view(t.data.dtype)
            else:
                t.data[:] = a.astype(t.data.dtype)
            self.feed.append(t)
        node = op.scaled_dot_product_attention(*inputs, causal=bool(p["causal"]) and p["Sq"] > 1)
        model = ov.Model([node], inputs)
        precision = {"f32": "f32", "f16": "f16", "bf16": "bf16"}[p["dtype"]]
        core = ov.Core()
        self.request = core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": x.threads, "NUM_STREAMS": 1,
            "KV_CACHE_PRECISION": precision}).create_infer_request()
        for i, t in enumerate(self.feed):
            self.request.set_input_tensor(i, t)
        self.x = x
        self.version = f"openvino {ov.__version__.split('-')[0]}"
        self.note = "kv heads repeated before timing" if g > 1 else ""

    def run(self):
        t0 = time.perf_counter_ns()
        self.request.infer()
        return time.perf_counter_ns() - t0

    def store(self):
        a = self.request.get_output_tensor(0).data
        if self.x.p["dtype"] == "bf16":
            a = (a.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        self.x.store(a.astype(np.float32))


class OnnxRuntime:
    def __init__(self, x):
        import onnx
        import onnxruntime as ort
        from onnx import TensorProto as T, helper
        p = x.p
        same_types(p, "onnxruntime")
        if p["dtype"] == "bf16":
            raise NotImplementedError("its CPU kernels take no bf16")
        if p["D"] != p["Dv"]:
            raise NotImplementedError("D != Dv")
        if p["causal"] and p["Sq"] != p["Skv"] and p["Sq"] > 1:
            raise NotImplementedError("causal with Sq != Skv")
        kind = {"f32": T.FLOAT, "f16": T.FLOAT16}[p["dtype"]]
        g = p["Hq"] // p["Hkv"]
        feeds, infos = {}, []
        for n in "qkv":
            a = x.as_f32(n)
            if g > 1 and n != "q":
                a = np.repeat(a, g, 1)
            a = np.ascontiguousarray(a.transpose(0, 2, 1, 3)).reshape(a.shape[0], a.shape[2], -1)
            feeds[n] = a.astype(np.float32 if p["dtype"] == "f32" else np.float16)
            infos.append(helper.make_tensor_value_info(n, kind, a.shape))
        node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["o"], domain="com.microsoft", num_heads=p["Hq"],
                                scale=float(p["scale"]), unidirectional=1 if p["causal"] and p["Sq"] > 1 else 0)
        out = helper.make_tensor_value_info("o", kind, None)
        graph = helper.make_graph([node], "attention", infos, [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 8
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = x.threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        for n, a in feeds.items():
            self.binding.bind_cpu_input(n, a)
        self.binding.bind_output("o")
        self.feeds, self.x = feeds, x
        self.version = f"onnxruntime {ort.__version__}"
        self.note = "token-major input" + ("; kv heads repeated before timing" if g > 1 else "")

    def run(self):
        t0 = time.perf_counter_ns()
        self.session.run_with_iobinding(self.binding)
        return time.perf_counter_ns() - t0

    def store(self):
        p = self.x.p
        a = self.binding.copy_outputs_to_cpu()[0].astype(np.float32)
        self.x.store(a.reshape(p["B"], p["Sq"], p["Hq"], p["Dv"]).transpose(0, 2, 1, 3))


class Mlx:
    def __init__(self, x):
        import importlib.metadata
        import mlx.core as mx
        p = x.p
        same_types(p, "mlx")
        if p["causal"] and p["Sq"] > p["Skv"]:
            raise NotImplementedError("rows without keys are undefined")
        mx.set_default_device(mx.cpu)
        kind = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}[p["dtype"]]
        self.mx, self.x = mx, x
        self.q, self.k, self.v = (mx.array(x.as_f32(n)).astype(kind) for n in "qkv")
        mx.eval(self.q, self.k, self.v)
        self.mask = "causal" if p["causal"] and p["Sq"] > 1 else None
        self.version = f"mlx {importlib.metadata.version('mlx')}"
        self.note = "Linux CPU wheel: reference BLAS"

    def run(self):
        mx = self.mx
        t0 = time.perf_counter_ns()
        self.out = mx.fast.scaled_dot_product_attention(self.q, self.k, self.v, scale=self.x.p["scale"], mask=self.mask)
        mx.eval(self.out)
        return time.perf_counter_ns() - t0

    def store(self):
        self.x.store(np.array(self.out.astype(self.mx.float32)))


PEERS = {
    "torch-flash": lambda x: Torch(x, "flash"),
    "torch-math": lambda x: Torch(x, "math"),
    "ggml": Ggml,
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
    "mlx": Mlx,
}


def answer(reply):
    sys.__stdout__.write(json.dumps(reply) + "\n")
    sys.__stdout__.flush()


def main():
    real = os.dup(1)                       # libraries that print must not break the protocol
    os.dup2(2, 1)
    sys.__stdout__ = os.fdopen(real, "w")
    peer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "open":
                peer = None
                peer = PEERS[request["peer"]](Inputs(request))
                peer.run()
                answer({"ok": True, "version": peer.version, "note": peer.note})
            elif request["op"] == "run":
                answer({"ns": peer.run()})
            elif request["op"] == "store":
                peer.store()
                answer({"ok": True})
        except ImportError as e:
            answer({"ok": False, "why": f"not installed ({e}); run tools/peers/install"})
        except Exception as e:             # a peer's failure is a row in the table, not our end
            answer({"ok": False, "why": f"{type(e).__name__}: {e}"[:300]})


if __name__ == "__main__":
    main()
