"""Finds and loads the C library; opens kernels. Invariant: a Binding's counters are kept by C, where the kernel ran."""
import ctypes
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import weakref


class AttuneError(RuntimeError):
    """Something outside of attune failed; the text says what, which, and what to try."""


# ---- finding ----

_here = os.path.dirname(os.path.abspath(__file__))
_NAME = "libattune-python.so"


def _build_folders():
    """Build folders of the checkout that this file lies in, `build` first."""
    root = os.path.abspath(os.path.join(_here, "..", "..", ".."))
    if not os.path.exists(os.path.join(root, "include", "attune", "attune.h")):
        return []
    return [os.path.join(root, "build")]


def _candidates():
    own = os.environ.get("ATTUNE_LIB")
    if own:  # a folder, libattune.so itself, or libattune-python.so
        folder = own if os.path.isdir(own) else os.path.dirname(own)
        yield os.path.join(folder, _NAME)
        yield os.path.join(folder, "attune", _NAME)
        yield os.path.join(folder, "integrations", _NAME)
        yield os.path.join(folder, "..", "..", "integrations", _NAME)
        return
    yield os.path.join(_here, _NAME)
    yield os.path.join(_here, "lib", _NAME)
    for b in _build_folders():
        yield os.path.join(b, "integrations", _NAME)
    for prefix in (sys.prefix, "/usr/local", "/usr"):
        yield os.path.join(prefix, "lib", "attune", _NAME)
        yield from glob.glob(os.path.join(prefix, "lib", "*", "attune", _NAME))


class Counts(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int64) for n in ("calls", "evolved", "refused", "ns", "plans")]


class _Libraries:
    """gil: functions that are called with Python's lock held (they take Python objects); free: all others."""

    def __init__(self, path):
        self.path = path
        self.gil = ctypes.PyDLL(path)
        self.free = f = ctypes.CDLL(path)
        f.attune_host_open.restype = ctypes.c_void_p
        f.attune_host_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
        f.attune_host_close.argtypes = [ctypes.c_void_p]
        f.attune_host_counts.argtypes = [ctypes.c_void_p, ctypes.POINTER(Counts)]
        f.attune_host_repeat.argtypes = [ctypes.c_void_p, ctypes.c_int]
        f.attune_host_kernels.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        f.attune_host_kernel.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        f.attune_host_error.restype = ctypes.c_char_p
        f.attune_torch_register.argtypes = [ctypes.c_char_p]
        f.atn_version.restype = ctypes.c_char_p  # of libattune, which it is linked with
        g = self.gil
        g.attune_host_error.restype = ctypes.c_char_p
        p, i, o, d = ctypes.c_void_p, ctypes.c_int, ctypes.py_object, ctypes.c_double
        g.attune_mlx_sdpa.argtypes = [p, o, o, o, o, i, o, i, o, d, i, d]

    def why(self):
        return (self.gil.attune_host_error() or b"").decode()


_loaded = None


def libraries():
    global _loaded
    if _loaded is None:
        tried = []
        for path in _candidates():
            path = os.path.normpath(path)
            tried.append(path)
            if os.path.exists(path):
                try:
                    _loaded = _Libraries(path)
                except OSError as e:
                    raise AttuneError(f"cannot load '{path}': {e}; build again with './attune setup'") from None
                break
        else:
            raise AttuneError(f"cannot find {_NAME} (looked at {', '.join(tried)}); build attune with './attune setup' "
                              "or set ATTUNE_LIB to the folder that holds it")
    return _loaded


def library_version():
    return libraries().free.atn_version().decode()


# ---- programs ----

def _program():
    own = os.environ.get("ATTUNE_PROGRAM")
    if own and os.path.exists(own):
        return own
    for b in _build_folders():
        path = os.path.join(b, "app", "attune")
        if os.path.exists(path):
            return path
    return shutil.which("attune")


def _content(path):
    """The bytes that decide what a program does: its own, or of a run's folder the dispatch table and its programs."""
    if not os.path.isdir(path):
        with open(path, "rb") as f:
            return f.read()
    inside = os.path.join(path, "portfolio")
    place = inside if os.path.isdir(inside) else path
    if not os.path.exists(os.path.join(place, "dispatch.txt")):
        raise AttuneError(f"'{path}' is not the folder of a run: it has no portfolio/dispatch.txt")
    files = [os.path.join(place, "dispatch.txt")] + sorted(glob.glob(os.path.join(place, "*.c")))
    return b"\0".join(_content(f) for f in files)


def build_program(path):
    """Path of the shared object of a C program, or of the folder of objects for the folder of a run, built by `attune build`
    in its sandbox, once for each content."""
    if not os.path.exists(path):
        raise AttuneError(f"cannot open '{path}': no such file; 'attune evolve' writes best/best_program.c")
    if path.endswith(".py"):
        raise AttuneError(f"'{path}' is a Python program; attune's programs are C: give the best_program.c of "
                          "'attune evolve'")
    if path.endswith(".so"):
        return path
    digest = hashlib.sha256(_content(path)).hexdigest()[:32]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "attune", "built")
    so = os.path.join(folder, f"{digest}-{_machine()}" + ("" if os.path.isdir(path) else ".so"))
    if os.path.exists(os.path.join(so, "dispatch.txt") if os.path.isdir(path) else so):
        return so
    program = _program()
    if not program:
        raise AttuneError(f"'{path}' must be built first, and no attune program was found; run 'attune build "
                          f"{path} -o kernel.so' and give kernel.so")
    os.makedirs(folder, exist_ok=True)
    r = subprocess.run([program, "build", path, "-o", so], capture_output=True, text=True)
    if r.returncode != 0:
        raise AttuneError((r.stderr or r.stdout).strip() or f"'{program} build {path}' failed")
    return so


def _machine():
    """Objects are built for this CPU: another one must not find them in a shared cache."""
    try:
        with open("/proc/cpuinfo") as f:
            words = [line for line in f.read().split("\n\n")[0].splitlines()
                     if line.split(":")[0].strip() in ("model name", "flags", "Features")]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    except OSError:
        return "any"


def _nonce(path):
    """16 hex digits of the bytes that will run: a rebuilt kernel has another nonce."""
    if os.path.isdir(path):
        files = sorted(glob.glob(os.path.join(path, "*.so"))) + [os.path.join(path, "dispatch.txt")]
    else:
        files = [path]
    return hashlib.sha256(b"\0".join(_content(f) for f in files)).hexdigest()[:16]


# ---- bindings ----

class Binding:
    """A kernel with its plans and threads. program: evolved .c or .so, or the folder of a run; None: the best that the
    library has."""

    def __init__(self, program=None, kernel=None, threads=0, in_torch=False):
        lib = libraries()
        self.lib = lib
        self.program = program
        so = build_program(os.fspath(program)) if program else None
        threads = threads or int(os.environ.get("ATTUNE_THREADS") or 0)
        self.handle = lib.free.attune_host_open(so.encode() if so else None, kernel.encode() if kernel else None,
                                                threads, int(in_torch))
        if not self.handle:
            raise AttuneError(lib.why())
        self._finalizer = weakref.finalize(self, lib.free.attune_host_close, self.handle)
        if so:
            self.nonce = _nonce(so)
        else:
            own = os.path.realpath(lib.path)
            with open("/proc/self/maps") as f:
                for line in f:
                    if "libattune.so" in line:
                        own = line.split(None, 5)[5].strip()
            self.nonce = _nonce(own) if os.path.exists(own) else _nonce(lib.path)

    def counts(self):
        c = Counts()
        self.lib.free.attune_host_counts(self.handle, ctypes.byref(c))
        return {n: getattr(c, n) for n, _ in Counts._fields_}

    def repeat(self, n):
        """Computes every call n times (a deliberately slow kernel); 0: not at all (the ceiling; outputs undefined)."""
        self.lib.free.attune_host_repeat(self.handle, n)

    def kernels(self):
        """What computed the calls: [{"kernel", "for": types and prefill or decode, "evolved", "calls", "why": not evolved}]."""
        room = ctypes.create_string_buffer(8192)
        self.lib.free.attune_host_kernels(self.handle, room, 8192)
        return json.loads(room.value.decode())

    @property
    def kernel(self):
        """The kernel that ran last; '' before the first call."""
        room = ctypes.create_string_buffer(64)
        self.lib.free.attune_host_kernel(self.handle, room, 64)
        return room.value.decode()
