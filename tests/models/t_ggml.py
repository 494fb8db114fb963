"""ggml's FLASH_ATTN_EXT, operator by operator, in an unmodified ggml with the plug-in: shapes, layouts, types, masks,
windows, softcap, sinks, ALiBi. Each result is compared with attention in f64 of the same rounded inputs, and may be no
further from it than ggml's own kernel is; what the plug-in declines must be ggml's own, bit for bit."""
from common import *

import ctypes

import numpy as np

PLUGIN = os.path.join(os.environ["ATTUNE_LIB"], "libggml-attune.so")
if not os.path.exists(PLUGIN):
    print(f"skip: no plug-in at {PLUGIN}")
    sys.exit(77)
need("xllamacpp")
from attune._library import Counts

sys.path.append(os.path.join(ROOT, "tools", "peers"))
import ggml_functions
from ggml_functions import BF16, F16, F32, Q8_0, InitParams

ggml = ggml_functions.load()
plugin = ctypes.CDLL(PLUGIN)
PRECISE = 10                           # enum ggml_prec
check(bool(ggml.ggml_backend_load(PLUGIN.encode())), "ggml takes the plug-in")


def rounded(a, kind):
    """(the bytes as ggml keeps them, the values that they stand for)"""
    if kind == F16:
        h = a.astype(np.float16)
        return h, h.astype(np.float64)
    if kind == BF16:
        bits = (a.astype(np.float32).view(np.uint32) + 0x8000) >> 16
        return bits.astype(np.uint16), (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if kind == Q8_0:
        flat = np.ascontiguousarray(a, np.float32)
        out = np.zeros(flat.size // 32 * 34, np.uint8)
        ggml.ggml_quantize_chunk(Q8_0, flat.ctypes.data, out.ctypes.data, 0, flat.size // flat.shape[-1], flat.shape[-1], None)
        return out, None
    f = a.astype(np.float32)
    return f, f.astype(np.float64)


def tensor(context, a, kind, shape):
    return ggml_functions.tensor(ggml, context, np.ascontiguousarray(a), kind, shape)


def slopes(heads, bias):
    n = 1 << (heads.bit_length() - 1)
    m0, m1 = 2.0 ** (-bias / n), 2.0 ** (-bias / 2 / n)
    return np.array([m0 ** (h + 1) if h < n else m1 ** (2 * (h - n) + 1) for h in range(heads)])


class Case:
    def __init__(self, name, B=1, Hq=9, Hkv=3, Sq=1, Skv=256, D=64, Dv=0, kv=F16, mask="causal", bias=0.0, softcap=0.0,
                 sinks=False, threads=2, window=0, empty=0, taken=True, spread=1.0):
        self.__dict__.update(locals())
        Dv = self.Dv = Dv or D
        r = np.random.default_rng(len(name) + Sq + Skv)
        self.scale = D ** -0.5
        q, k, v = (spread * r.standard_normal((B, Sq, Hq, D)), r.standard_normal((B, Skv, Hkv, D)), r.standard_normal((B, Skv, Hkv, Dv)))
        (self.q, self.exact_q), (self.k, self.exact_k), (self.v, self.exact_v) = rounded(q, F32), rounded(k, kv), rounded(v, kv)
        i, j = np.arange(Sq)[:, None] + Skv - empty - Sq, np.arange(Skv)[None]  # llama.cpp's cache ends in empty cells
        keep = (j <= i) & ((j > i - window) if window else True)
        if mask == "holes":     # a cache whose cells are in no order, empty ones among them; a row that sees nothing
            keep = r.random((Sq, Skv)) < 0.5
            keep[0] = Sq == 1
        m = np.where(keep, -np.abs(i - j) if bias else 0.0, -np.inf)
        self.m = None if mask is None else np.broadcast_to(m, (B if mask == "streams" else 1, 1, Sq, Skv)).astype(np.float16)
        self.s = r.standard_normal(Hq).astype(np.float32) if sinks else None

    def run(self, on):
        plugin.attune_ggml_enable(int(on))
        c = ggml.ggml_init(InitParams(64 << 20, None, False))
        rows = lambda a, kind, s, heads, d: ggml.ggml_permute(c, tensor(c, a, kind, (self.B, s, heads, d)), 0, 2, 1, 3)
        mask = None if self.m is None else tensor(c, self.m, F16, self.m.shape)
        o = ggml.ggml_flash_attn_ext(c, rows(self.q, F32, self.Sq, self.Hq, self.D), rows(self.k, self.kv, self.Skv, self.Hkv, self.D),
                                     rows(self.v, self.kv, self.Skv, self.Hkv, self.Dv), mask, self.scale, self.bias, self.softcap)
        ggml.ggml_flash_attn_ext_set_prec(o, PRECISE)
        if self.s is not None:
            ggml.ggml_flash_attn_ext_add_sinks(o, tensor(c, self.s, F32, (1, 1, 1, self.Hq)))
        graph = ggml.ggml_new_graph(c)
        ggml.ggml_build_forward_expand(graph, o)
        assert ggml.ggml_graph_compute_with_ctx(c, graph, self.threads) == 0
        out = np.empty((self.B, self.Sq, self.Hq, self.Dv), np.float32)
        ctypes.memmove(out.ctypes.data, ggml.ggml_get_data(o), out.nbytes)
        ggml.ggml_free(c)
        return out

    def exact(self):
        heads = self.Hq // self.Hkv
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (self.exact_q, np.repeat(self.exact_k, heads, 2), np.repeat(self.exact_v, heads, 2)))
        s = q @ k.swapaxes(2, 3) * self.scale
        if self.softcap:
            s = self.softcap * np.tanh(s / self.softcap)
        if self.m is not None:
            slope = slopes(self.Hq, self.bias)[None, :, None, None] if self.bias else 1.0
            s = s + slope * self.m.astype(np.float64)
        sink = np.full((1, self.Hq, 1, 1), -np.inf) if self.s is None else self.s.astype(np.float64).reshape(1, -1, 1, 1)
        top = np.maximum(np.maximum(s.max(-1, keepdims=True), sink), -1e300)
        e = np.exp(s - top)
        total = e.sum(-1, keepdims=True) + np.exp(sink - top)
        return ((e / np.where(total == 0, 1, total)) @ v).transpose(0, 2, 1, 3)


def calls():
    c, d, name = Counts(), ctypes.c_longlong(), ctypes.create_string_buffer(64)
    plugin.attune_ggml_counts(ctypes.byref(c), ctypes.byref(d), name, 64)
    return c.calls, d.value, name.value.decode()


def error(a, exact):
    return float(((a - exact) ** 2).sum() / (exact ** 2).sum())


CASES = [
    Case("decode"), Case("decode, one thread", threads=1, Skv=1024), Case("decode, four threads", threads=4, Skv=1024),
    Case("prefill", Sq=77, Skv=256), Case("prefill, no mask", Sq=33, Skv=70, mask=None), Case("one key", Skv=1),
    Case("cells in no order, a row that sees none", Sq=20, Skv=300, mask="holes"), Case("decode with holes", Skv=1280, mask="holes"),
    Case("16 tokens in a cache of 256 cells", Sq=16, empty=240), Case("decode, 900 empty cells", Skv=2048, empty=900),
    Case("half of a long prompt", Sq=260, Skv=640, empty=100), Case("a window, empty cells", Sq=3, Skv=1280, window=200, empty=130),
    Case("three streams", B=3, Sq=5, Skv=256, mask="streams"), Case("heads of 128", Hq=8, Hkv=2, Sq=17, D=128),
    Case("heads of 256, decode", Hq=4, Hkv=1, D=256, Skv=512), Case("heads of 192 and 128", Hq=4, Hkv=4, Sq=9, D=192, Dv=128),
    Case("heads of 80", Hq=4, Hkv=4, Sq=9, D=80), Case("bf16", kv=BF16, Sq=40), Case("bf16, decode", kv=BF16, Skv=1024),
    Case("f32", kv=F32, Sq=40), Case("sliding window", Sq=90, Skv=256, window=32), Case("sliding window, decode", Skv=512, window=32),
    Case("softcap", Sq=30, softcap=50.0, spread=8.0), Case("softcap, decode", softcap=20.0, spread=8.0, Skv=512),
    Case("sinks", Sq=30, sinks=True), Case("sinks, decode", sinks=True, Skv=512),
    Case("window, softcap and sinks", Sq=30, softcap=30.0, sinks=True, window=16),
    Case("ALiBi", Sq=40, Skv=300, bias=8.0, Hq=8, Hkv=8), Case("ALiBi, decode", Skv=1000, bias=8.0, Hq=8, Hkv=2),
    Case("ALiBi, heads no power of two", Sq=19, bias=8.0, Hq=12, Hkv=4), Case("ALiBi, decode, four threads", bias=8.0, Skv=700, threads=4),
    Case("ALiBi in blocks of rows", Sq=300, Skv=2048, bias=8.0, Hq=16, Hkv=16, D=32),
    Case("ALiBi, three streams", B=3, Sq=5, bias=8.0, mask="streams", Hq=6, Hkv=6),
    Case("ALiBi, softcap and sinks", Sq=21, bias=8.0, softcap=30.0, sinks=True, Hq=8, Hkv=4),
    Case("quantised keys and values", kv=Q8_0, Sq=5, taken=False), Case("quantised, decode", kv=Q8_0, taken=False),
]
for c in CASES:
    before = calls()
    mine, own = c.run(True), c.run(False)
    n, declined = (y - x for x, y in zip(before[:2], calls()[:2]))
    if c.taken:
        exact = c.exact()
        e, o, limit = error(mine, exact), error(own, exact), 1e-5 if c.kv == BF16 else 1e-6
        check(n == 1 and e <= limit and e <= max(o, 1e-11),
              f"{c.name}: error {e:.1e}, ggml's own {o:.1e}, {n} call by {calls()[2]}")
    else:
        check(n == 0 and declined > 0 and np.array_equal(mine, own), f"{c.name}: declined, the bits are ggml's")



def microseconds(on, tokens=1, cells=1, Hq=1, Hkv=1, n=300):
    """Of an operator that has little to do, in a graph of them, on one thread: what a call costs."""
    plugin.attune_ggml_enable(int(on))
    c = ggml.ggml_init(InitParams(64 << 20, None, False))
    q = tensor(c, np.ones((1, Hq, tokens, 64), np.float32), F32, (1, Hq, tokens, 64))
    k, v = (tensor(c, np.ones((1, Hkv, cells, 64), np.float16), F16, (1, Hkv, cells, 64)) for _ in "kv")
    m = np.where(np.arange(cells)[None] <= np.arange(tokens)[:, None], 0, -np.inf).astype(np.float16)
    mask = None if cells == 1 else tensor(c, m, F16, (1, 1, tokens, cells))
    graph = ggml.ggml_new_graph(c)
    for _ in range(n):
        ggml.ggml_build_forward_expand(graph, ggml.ggml_flash_attn_ext(c, q, k, v, mask, 0.125, 0.0, 0.0))
    times = []
    for _ in range(15):
        t = time.perf_counter()
        ggml.ggml_graph_compute_with_ctx(c, graph, 1)
        times.append((time.perf_counter() - t) / n * 1e6)
    ggml.ggml_free(c)
    return min(times)


for what, shape in (("one key and one head", {}), ("one token in a cache of 256 cells", dict(cells=256, Hq=9, Hkv=3)),
                    ("16 tokens there", dict(tokens=16, cells=256, Hq=9, Hkv=3, n=100))):
    print(f"     a call with {what}: {microseconds(True, **shape):.2f} us, ggml's own {microseconds(False, **shape):.2f} us")
plugin.attune_ggml_enable(1)
plugin.attune_ggml_repeat(0)
c = Case("nothing", Sq=300, Skv=2048, bias=8.0, Hq=16, Hkv=16, D=32)
c.run(True)
plugin.attune_ggml_repeat(1)
check(error(c.run(True), c.exact()) <= 1e-6, "a kernel that computes nothing, and again one that does")
finish()
