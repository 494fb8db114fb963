"""llama.cpp, unmodified, with the ggml plug-in: shared libraries (llama-cpp-python) and one static object (xllamacpp),
each with the hook and with the device.

Each part runs in a process of its own: what was loaded stays."""
from common import *

PLUGIN = os.path.join(os.environ["ATTUNE_LIB"], "libggml-attune.so")
if not os.path.exists(PLUGIN):
    print(f"skip: no plug-in at {PLUGIN}")
    sys.exit(77)
have = [p for p in ("llama_cpp", "xllamacpp") if importlib.util.find_spec(p)]
if not have:
    print("skip: neither llama-cpp-python nor xllamacpp is installed; run tools/peers/install --models")
    sys.exit(77)
gguf, _ = smollm2()


def host():
    """In the child: the functions of the ggml that the host has, and the plug-in's."""
    import ctypes
    if WHICH == "llama_cpp":
        import llama_cpp
        ggml = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml.so.0"))
    else:
        import xllamacpp
        ggml = ctypes.CDLL(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp.abi3.so"))
    ggml.ggml_backend_load.restype = ctypes.c_void_p
    ggml.ggml_backend_load.argtypes = [ctypes.c_char_p]
    return ggml, ctypes.CDLL(PLUGIN)


def static_object():
    """xllamacpp: llama.cpp with everything in one file, and another plug-in API."""
    ggml, plugin = host()
    if os.environ.get("GGML_BACKEND_PATH"):
        ggml.ggml_backend_load_all()
    else:
        check(bool(ggml.ggml_backend_load(PLUGIN.encode())), "ggml_backend_load takes the plug-in")
    import xllamacpp as x
    p = x.CommonParams()
    p.model.path, p.n_ctx, p.warmup, p.n_parallel = gguf, 512, False, 1
    p.cpuparams.n_threads = 2
    p.verbosity = 0
    if os.environ.get("ATTUNE_GGML_ROUTE"):
        p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    s = x.Server(p)
    r = s.handle_completions({"prompt": TEXT[:600], "max_tokens": 6, "temperature": 0})
    print("text:", repr(r["choices"][0]["text"]))


def shared_libraries():
    import ctypes
    import numpy as np
    import llama_cpp
    from attune._library import Counts
    from attune.workloads import kl
    ggml, plugin = host()
    device = os.environ["ATTUNE_GGML_ROUTE"] == "device"
    prompt, total = (40, 56) if device else (160, 200)  # operators, bits and speed of the device are t_ggml.py's
    check(bool(ggml.ggml_backend_load(PLUGIN.encode())) and bool(ggml.ggml_backend_load(PLUGIN.encode())),
          "loading it twice is fine")

    def counts():
        c, d, name = Counts(), ctypes.c_longlong(), ctypes.create_string_buffer(64)
        plugin.attune_ggml_counts(ctypes.byref(c), ctypes.byref(d), name, 64)
        return c, d.value, name.value.decode()

    ids = None

    def logits(on, flash, threads=2, **k):
        nonlocal ids
        plugin.attune_ggml_enable(on)
        m = llama_cpp.Llama(gguf, n_ctx=1024, flash_attn=flash, n_threads=threads, n_threads_batch=threads,
                            logits_all=True, verbose=False, **k)
        ids = ids or m.tokenize(TEXT.encode())[:total]
        m.eval(ids[:prompt])
        for t in ids[prompt:]:
            m.eval([t])
        out = np.array(m.scores[:len(ids)], np.float64)
        m.close()
        return out

    exact = logits(0, False, type_k=0, type_v=0)
    flash = kl(exact, logits(0, True))
    check(counts()[0].calls == 0, "switched off, it takes nothing")
    mine = logits(1, True)
    k = kl(exact, mine)
    check(k <= 1e-6 and k <= flash, f"f16 cache: KL {k:.1e}; ggml's own flash attention {flash:.1e}")
    c = counts()[0].calls
    check(c == 30 * (total - prompt + 1), f"every layer of every step: {c} calls")
    for threads in (1, 4):
        k = kl(exact, logits(1, True, threads))
        check(k <= 1e-6, f"{threads} threads: KL {k:.1e}")
    b, own = kl(exact, logits(1, True, type_k=30, type_v=30)), kl(exact, logits(0, True, type_k=30, type_v=30))
    check(b <= 1.05 * own, f"bf16 cache: KL {b:.1e}; ggml's own {own:.1e}")
    before, declined, _ = counts()
    same = np.array_equal(logits(1, True, type_k=8, type_v=8), logits(0, True, type_k=8, type_v=8))
    after, more, _ = counts()
    check(same and after.calls == before.calls and more > declined, "a q8_0 cache is ggml's: the same bits")

    plugin.attune_ggml_enable(1)
    m = llama_cpp.Llama(gguf, n_ctx=2048, flash_attn=True, n_threads=2, n_threads_batch=2, verbose=False)
    tokens = m.tokenize(TEXT.encode())

    def run():
        m.reset()
        m.eval(tokens[:1024])

    def slow():
        plugin.attune_ggml_repeat(12)
        run()
        plugin.attune_ggml_repeat(1)
    if not device:
        run()
        s = median_ratio(slow, run, 3)
        check(s > 1.3, f"a kernel made 12 times slower makes the model slower: {s:.1f} times")
    two = llama_cpp.Llama(gguf, n_ctx=512, flash_attn=True, n_threads=1, n_threads_batch=1, verbose=False)
    import threading
    one = threading.Thread(target=lambda: [m.eval([5]) for _ in range(10)])
    one.start()
    for _ in range(10):
        two.eval([7])
    one.join()
    check(counts()[0].refused == 0, "two models side by side")
    print("kernel:", counts()[2], "evolved:", counts()[0].evolved)


def routes():
    """Both ways in and ggml's own attention in turns, in one process: the plug-in is loaded as two files."""
    import ctypes
    import shutil
    import statistics

    import llama_cpp
    ggml, hook = host()
    folder = tempfile.TemporaryDirectory()
    copy = shutil.copy(PLUGIN, folder.name)
    for path, route in ((PLUGIN, "hook"), (copy, "device")):
        os.environ["ATTUNE_GGML_ROUTE"] = route
        check(bool(ggml.ggml_backend_load(path.encode())), f"loaded as a {route}")
    plugins = {"hook": hook, "device": ctypes.CDLL(copy)}

    def use(arm):
        for name, p in plugins.items():
            p.attune_ggml_enable(int(name == arm))

    arms = ("hook", "device", "ggml's own")

    def alternate(what, rounds, tokens, once):
        seconds = {a: [] for a in arms}
        for r in range(rounds):
            for a in arms if r % 2 == 0 else arms[::-1]:
                use(a)
                t = time.perf_counter()
                once(models[a])
                seconds[a].append((time.perf_counter() - t) / tokens * 1e3)
        print(f"speed: {threads} threads, {what}: " + ", ".join(f"{a} {statistics.median(seconds[a]):.3f}" for a in arms) +
              f" ms a token; device - hook {statistics.median(d - h for d, h in zip(seconds['device'], seconds['hook'])):+.3f}")

    def prefill(m, n):
        m.reset()
        m._ctx.kv_cache_clear()
        m.eval(tokens[:n])

    def decode(m, n):
        m.n_tokens = n
        for t in tokens[:8]:
            m.eval([t])

    for threads in (1, 2):
        models = {}
        for a in arms:  # what a graph's parts are is settled when a context is made
            use(a)
            models[a] = llama_cpp.Llama(gguf, n_ctx=2304, n_batch=2048, n_ubatch=512, flash_attn=True, n_threads=threads,
                                        n_threads_batch=threads, verbose=False)
        tokens = (2 * models["hook"].tokenize(TEXT.encode()))[:2048]
        for n, rounds in ((16, 15), (512, 3), (1984, 1)):
            alternate(f"prefill of {n}", rounds, n, lambda m: prefill(m, n))
            for a in arms:
                use(a)
                decode(models[a], n)
            alternate(f"decode after {n}", 15, 8, lambda m: decode(m, n))
        for m in models.values():
            m.close()


def child(part, which, **env):
    r = subprocess.run([sys.executable, __file__, part, which], capture_output=True, text=True,
                       env={**os.environ, **env}, timeout=900 if LONG else 280)
    for line in r.stdout.splitlines():
        if line.startswith(("ok ", "FAIL", "kernel:", "speed:")):
            print(line, flush=True)
    if r.returncode:
        print(r.stdout[-1500:], r.stderr[-3000:])
    return r


if len(sys.argv) > 2:
    WHICH = sys.argv[2]
    {"static": static_object, "shared": shared_libraries, "routes": routes}[sys.argv[1]]()
    finish()

import json

if "llama_cpp" in have:
    for route in ("hook", "device"):
        check(child("shared", "llama_cpp", ATTUNE_GGML_ROUTE=route).returncode == 0, f"llama-cpp-python by a {route}")
    if LONG:
        check(child("routes", "llama_cpp").returncode == 0, "the two ways in, in turns")
if "xllamacpp" in have:
    with tempfile.TemporaryDirectory() as d:
        import attune
        so = attune.build_program(PLAIN)
        texts = []
        for name, env in (("ggml_backend_load", {}), ("GGML_BACKEND_PATH", {"GGML_BACKEND_PATH": PLUGIN}),
                          ("an evolved program", {"ATTUNE_KERNEL": so}), ("a device", {"ATTUNE_GGML_ROUTE": "device"})):
            path = os.path.join(d, "report.json")
            r = child("static", "xllamacpp", ATTUNE_REPORT=path, **env)
            report = json.load(open(path)) if os.path.exists(path) else {"calls": 0}
            texts.append([l for l in r.stdout.splitlines() if l.startswith("text:")])
            good = r.returncode == 0 and report["calls"] > 30 and report["declined"] == 0 and \
                report["route"] == env.get("ATTUNE_GGML_ROUTE", "hook")
            if name == "an evolved program":
                good = good and report["evolved_calls"] == report["calls"]
            check(good, f"xllamacpp by {name}: {report}")
            if os.path.exists(path):
                os.remove(path)
        r = subprocess.run([sys.executable, "-c", f"import ctypes; p = ctypes.CDLL({PLUGIN!r}); "
                            "p.ggml_backend_init.restype = ctypes.c_void_p; print(p.ggml_backend_init())"],
                           capture_output=True, text=True)
        check("None" in r.stdout and "cannot find 'ggml_backend_reg_by_name'" in r.stderr,
              "a host without ggml is refused with a line: " + r.stderr.strip())
finish()
