"""ggml's FLASH_ATTN_EXT, operator by operator, in an unmodified ggml with the plug-in: shapes, layouts, types, masks,
windows, softcap, sinks, ALiBi. Each result is compared with attention in f64 of the same rounded inputs, and may be no
further from it than ggml's own kernel is; what the plug-in declines must be ggml's own, bit for bit.

The plug-in is loaded twice, as two files: one takes the hook, the other is a device, which must give the hook's bits."""
from common import *

import ctypes
import shutil

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

from ggml_functions import F, I, N, P
ggml = ggml_functions.load()
ggml_functions.bind(ggml, (
    ("ggml_backend_unload", None, [P]), ("ggml_backend_reg_dev_get", P, [P, N]), ("ggml_backend_dev_init", P, [P, P]),
    ("ggml_backend_dev_supports_op", ctypes.c_bool, [P, P]), ("ggml_backend_reg_get_proc_address", P, [P, ctypes.c_char_p]),
    ("ggml_backend_reg_name", ctypes.c_char_p, [P]), ("ggml_backend_init_by_type", P, [I, P]), ("ggml_backend_free", None, [P]),
    ("ggml_backend_graph_compute", I, [P, P]), ("ggml_backend_sched_new", P, [P, P, I, N, ctypes.c_bool, ctypes.c_bool]),
    ("ggml_backend_sched_free", None, [P]), ("ggml_backend_sched_alloc_graph", ctypes.c_bool, [P, P]),
    ("ggml_backend_sched_graph_compute", I, [P, P]), ("ggml_backend_sched_get_n_splits", I, [P]),
    ("ggml_backend_sched_get_tensor_backend", P, [P, P]), ("ggml_new_graph_custom", P, [P, N, ctypes.c_bool]),
    ("ggml_scale", P, [P, P, F]), ("ggml_add", P, [P, P, P]), ("ggml_set_input", None, [P]),
    ("ggml_backend_cpu_set_n_threads", None, [P, I]), ("ggml_log_set", None, [P, P]),
))
silent = ctypes.CFUNCTYPE(None, I, ctypes.c_char_p, P)(lambda level, text, user: None)
ggml.ggml_log_set(silent, None)
PRECISE = 10                           # enum ggml_prec


def load(path, route):
    """(ggml's registration, the plug-in's functions)"""
    os.environ["ATTUNE_GGML_ROUTE"] = route
    reg, lib = ggml.ggml_backend_load(path.encode()), ctypes.CDLL(path)
    lib.attune_ggml_route.restype = ctypes.c_char_p
    return reg, lib


if len(sys.argv) > 1:                  # a host without extra buffer types: a list of none
    extra = ggml._Z39ggml_backend_cpu_get_extra_buffer_typesv
    extra.restype = ctypes.POINTER(P * 3)
    extra().contents[1] = extra().contents[0]
    reg, lib = load(PLUGIN, sys.argv[1])
    print(lib.attune_ggml_route())
    if reg and lib.attune_ggml_route() == b"device":   # which calls it takes, by number of threads: a token, a prompt
        dev = ggml.ggml_backend_reg_dev_get(reg, 0)
        set_threads = ctypes.CFUNCTYPE(None, P, I)(ggml.ggml_backend_reg_get_proc_address(reg, b"ggml_backend_set_n_threads"))
        stream, c = ggml.ggml_backend_dev_init(dev, None), ggml.ggml_init(InitParams(8 << 20, None, True))
        for threads in 1, 2:
            set_threads(stream, threads)
            for queries in 1, 512:
                q, k = (ggml.ggml_new_tensor_4d(c, kind, 64, n, 1, 1) for kind, n in ((F32, queries), (F16, 512)))
                o = ggml.ggml_flash_attn_ext(c, q, k, k, None, 0.125, 0.0, 0.0)
                print(threads, queries, bool(ggml.ggml_backend_dev_supports_op(dev, o)))
    sys.exit(0)
hooked, plugin = load(PLUGIN, "")
check(bool(hooked) and plugin.attune_ggml_route() == b"hook" and ggml.ggml_backend_reg_name(hooked) == b"attune-hook",
      "ggml takes the plug-in, which hooks itself in")
folder = tempfile.TemporaryDirectory()
DEVICE = shutil.copy(PLUGIN, folder.name)
registered, by_device = load(DEVICE, "device")
check(bool(registered) and by_device.attune_ggml_route() == b"device", "ggml takes the plug-in, which is a device")
device = ggml.ggml_backend_reg_dev_get(registered, 0)
set_threads = ctypes.CFUNCTYPE(None, P, I)(ggml.ggml_backend_reg_get_proc_address(registered, b"ggml_backend_set_n_threads"))
stream = ggml.ggml_backend_dev_init(device, None)


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

    def run(self, on, stream=None):
        """None: the device declined it."""
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
        if stream is None:
            assert ggml.ggml_graph_compute_with_ctx(c, graph, self.threads) == 0
        elif ggml.ggml_backend_dev_supports_op(device, o):
            set_threads(stream, self.threads)
            assert ggml.ggml_backend_graph_compute(stream, graph) == 0
        else:
            return ggml.ggml_free(c)
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


def calls(plugin=plugin):
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
    before, there = calls(), calls(by_device)
    mine, own, other = c.run(True), c.run(False), c.run(False, stream)
    n, declined = (y - x for x, y in zip(before[:2], calls()[:2]))
    n_there, declined_there = (y - x for x, y in zip(there[:2], calls(by_device)[:2]))
    if c.taken:
        exact = c.exact()
        e, o, limit = error(mine, exact), error(own, exact), 1e-5 if c.kv == BF16 else 1e-6
        check(n == 1 and e <= limit and e <= max(o, 1e-11) and n_there == 1 and np.array_equal(other, mine),
              f"{c.name}: error {e:.1e}, ggml's own {o:.1e}, {n} call by {calls()[2]}; the device's: "
              f"{n_there} call, {'-' if other is None else float(abs(other - mine).max())} from it")
    else:
        check(n == 0 and declined > 0 and np.array_equal(mine, own) and other is None and declined_there > 0,
              f"{c.name}: declined by both, the bits are ggml's")

for route, answer, line in (("", "device", "no extra buffer types"), ("hook", "None", "no extra buffer types"),
                            ("sideways", "None", "ATTUNE_GGML_ROUTE is 'sideways'; it must be hook or device")):
    r = subprocess.run([sys.executable, __file__, route], capture_output=True, text=True)
    said = [l for l in r.stderr.splitlines() if l.startswith("attune: ")]
    check(r.returncode == 0 and answer in r.stdout and len(said) == 1 and line in said[0],
          f"no hook to be placed, route '{route}': {answer}: {said}")
    if answer == "device":
        check(r.stdout.splitlines()[1:] == ["1 1 True", "1 512 True", "2 1 False", "2 512 True"],
              "with several threads it takes prompts and leaves tokens, with one both")


class Scheduled:
    """Attention by the device in a graph that ggml's scheduler cuts: n times q = scale(attention(q, k, v)); then, where
    asked for, one attention more with keys and values that nobody but ggml takes."""

    def __init__(self, n, quantised=False, streams=(stream,)):
        self.cpu = ggml.ggml_backend_init_by_type(0, None)
        ggml.ggml_backend_cpu_set_n_threads(self.cpu, 1)
        backends = (P * (len(streams) + 1))(*streams, self.cpu)
        self.sched = ggml.ggml_backend_sched_new(backends, None, len(backends), 4096, False, False)
        self.c = ggml.ggml_init(InitParams(8 << 20, None, True))
        self.graph = ggml.ggml_new_graph_custom(self.c, 2048, False)
        inputs = []

        def given(kind, cells, value):
            t = ggml.ggml_new_tensor_4d(self.c, kind, 64, cells, 1, 1)
            ggml.ggml_set_input(t)
            inputs.append((t, np.ascontiguousarray(rounded(np.full((cells, 64), value) + np.arange(64) / 64, kind)[0])))
            return t
        o, k, v = given(F32, 1, 0.1), given(F16, 8, 0.2), given(F16, 8, 0.3)
        for _ in range(n):
            self.first = ggml.ggml_flash_attn_ext(self.c, o, k, v, None, 0.125, 0.0, 0.0)
            o = ggml.ggml_scale(self.c, self.first, 0.5)
        if quantised:
            k, v = given(Q8_0, 8, 0.2), given(Q8_0, 8, 0.3)
            o = self.declined = ggml.ggml_flash_attn_ext(self.c, o, k, v, None, 0.125, 0.0, 0.0)
        ggml.ggml_build_forward_expand(self.graph, o)
        assert ggml.ggml_backend_sched_alloc_graph(self.sched, self.graph)
        for t, a in inputs:
            ctypes.memmove(ggml.ggml_get_data(t), a.ctypes.data, a.nbytes)
        self.o = o

    def compute(self):
        assert ggml.ggml_backend_sched_graph_compute(self.sched, self.graph) == 0
        return np.array((ctypes.c_float * 64).from_address(ggml.ggml_get_data(self.o)))

    def close(self):
        ggml.ggml_backend_sched_free(self.sched)
        ggml.ggml_backend_free(self.cpu)
        ggml.ggml_free(self.c)


plugin.attune_ggml_enable(0)
before = calls(by_device)[0]
s, own = Scheduled(3, True), Scheduled(3, True, ())
at = lambda t: ggml.ggml_backend_sched_get_tensor_backend(s.sched, t)
a, b, splits = s.compute(), own.compute(), ggml.ggml_backend_sched_get_n_splits(s.sched)
check(at(s.first) == stream and at(s.declined) == s.cpu and calls(by_device)[0] == before + 3 and abs(a - b).max() <= 1e-3,
      f"ggml's scheduler: three for the device, the rest and a quantised one for the CPU, in {splits} parts, "
      f"{abs(a - b).max():.1e} apart")
s.close(), own.close()
by_device.attune_ggml_enable(0)
s = Scheduled(3)
check(ggml.ggml_backend_sched_get_n_splits(s.sched) == 1 and np.isfinite(s.compute()).all(),
      "switched off, the device takes nothing")
s.close()
by_device.attune_ggml_enable(1)

turn = 0


def cycle():
    """The device's registration given back and taken anew, and a stream of work made, used and given back."""
    global turn
    turn += 1
    ggml.ggml_backend_unload(registered)
    assert ggml.ggml_backend_load(DEVICE.encode()) == registered
    stream = ggml.ggml_backend_dev_init(device, None)
    CASES[turn % 8].run(False, stream)
    ggml.ggml_backend_free(stream)


for _ in range(8):
    cycle()
steady(cycle, 400 if LONG else 40, "the device: loaded, used with 1, 2 or 4 threads, unloaded")


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


def chain(streams, n=200):
    """Microseconds of an attention and a scaling in a scheduled chain of them, one thread."""
    s, times = Scheduled(n, streams=streams), []
    for _ in range(15):
        t = time.perf_counter()
        s.compute()
        times.append((time.perf_counter() - t) / n * 1e6)
    splits = ggml.ggml_backend_sched_get_n_splits(s.sched)
    s.close()
    return min(times), splits


plugin.attune_ggml_enable(1)
set_threads(stream, 1)
(there, splits), (here, whole) = chain((stream,)), chain(())
print(f"     an attention and a scaling, scheduled: the device {there:.2f} us in {splits} parts, the hook {here:.2f} us in "
      f"{whole}")
c = Case("nothing", Sq=300, Skv=2048, bias=8.0, Hq=16, Hkv=16, D=32)
for lib, where in ((plugin, None), (by_device, stream)):
    lib.attune_ggml_repeat(0)
    c.run(True, where)
    lib.attune_ggml_repeat(1)
    check(error(c.run(True, where), c.exact()) <= 1e-6,
          f"{lib.attune_ggml_route().decode()}: a kernel that computes nothing, and again one that does")
finish()
