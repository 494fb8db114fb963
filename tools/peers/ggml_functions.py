"""ggml's C functions, as the xllamacpp wheel exports them: for the peer of `attune bench` and the tests of the plug-in."""
import ctypes
import glob
import importlib.util
import os

F32, F16, Q8_0, BF16 = 0, 1, 8, 30     # enum ggml_type
P, I, L, F, N = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_size_t


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", N), ("mem_buffer", P), ("no_alloc", ctypes.c_bool)]


class Plan(ctypes.Structure):          # struct ggml_cplan; the spare words absorb fields that newer builds append
    _fields_ = [("work_size", N), ("work", P), ("threads", I), ("pool", P), ("spare", P * 8)]


FUNCTIONS = (
    ("ggml_version", ctypes.c_char_p, []), ("ggml_cpu_init", None, []), ("ggml_backend_load", P, [ctypes.c_char_p]),
    ("ggml_init", P, [InitParams]), ("ggml_free", None, [P]),
    ("ggml_new_tensor_4d", P, [P, I, L, L, L, L]), ("ggml_permute", P, [P, P, I, I, I, I]), ("ggml_get_data", P, [P]),
    ("ggml_nbytes", N, [P]), ("ggml_quantize_chunk", N, [I, P, P, L, L, L, P]),
    ("ggml_flash_attn_ext", P, [P, P, P, P, P, F, F, F]), ("ggml_flash_attn_ext_add_sinks", None, [P, P]),
    ("ggml_flash_attn_ext_set_prec", None, [P, I]),
    ("ggml_new_graph", P, [P]), ("ggml_build_forward_expand", None, [P, P]), ("ggml_graph_compute_with_ctx", I, [P, P, I]),
    ("ggml_graph_plan", Plan, [P, I, P]), ("ggml_graph_compute", I, [P, ctypes.POINTER(Plan)]),
)


def load():
    """The library, its CPU part ready. ImportError where xllamacpp is not installed."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None:
        raise ImportError("No module named 'xllamacpp'")
    lib = ctypes.CDLL(glob.glob(os.path.join(spec.submodule_search_locations[0], "xllamacpp*.so"))[0])
    bind(lib, FUNCTIONS)
    lib.ggml_cpu_init()
    return lib


def bind(lib, functions):
    for name, answer, asked in functions:
        f = getattr(lib, name)
        f.restype, f.argtypes = answer, asked


def tensor(lib, context, a, kind, shape):
    """A tensor of numpy's shape (slowest first) holding the bytes of the contiguous array a."""
    t = lib.ggml_new_tensor_4d(context, kind, *reversed(shape))
    assert a.nbytes == lib.ggml_nbytes(t)
    ctypes.memmove(lib.ggml_get_data(t), a.ctypes.data, a.nbytes)
    return t
