"""Long use: models loaded, patched and unloaded again and again, many tokens, two models at once, 1, 2 and 4 threads.

Short by default. ATTUNE_LONG=1: 100 cycles and 10,000 tokens in each runtime that is installed (a quarter of an hour,
most of it llama.cpp's). A leak is memory or threads that go on growing after the first quarter of the cycles.
Small random models for mlx-lm and transformers, SmolLM2-135M for llama.cpp; each runtime in a process of its own."""
from common import *

import gc
import threading

CYCLES, TOKENS = (100, 10000) if LONG else (8, 240)
SIZES = dict(hidden_size=96, num_hidden_layers=2, intermediate_size=128, num_attention_heads=6, num_key_value_heads=2,
             vocab_size=128)


def side_by_side(*functions):
    failed = []

    def guarded(f):
        try:
            f()
        except Exception as e:
            failed.append(e)
    ts = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    return failed


def mlx():
    import mlx.core as mx
    import numpy as np
    from attune import mlx as am
    from mlx.utils import tree_map
    from mlx_lm.models import llama
    from mlx_lm.models.cache import make_prompt_cache

    def make(threads):
        model = llama.Model(llama.ModelArgs.from_dict(dict(SIZES, model_type="llama", rms_norm_eps=1e-5)))
        mx.random.seed(3)
        model.update(tree_map(lambda a: mx.random.normal(a.shape) * 0.2, model.parameters()))
        am.patch(model, threads=threads, least_work=0)
        return model

    def generate(model, n):
        token, cache, finite = mx.array([[1]]), make_prompt_cache(model), True
        for i in range(n):
            if i % 500 == 0:
                cache = make_prompt_cache(model)
            out = model(token, cache=cache)
            token = mx.argmax(out[:, -1], axis=-1)[None]
            finite = finite and (i % 100 != 0 or bool(np.isfinite(np.array(out)).all()))
        return finite

    turn = [0]

    def cycle():
        turn[0] += 1
        model = make((1, 2, 4)[turn[0] % 3])
        generate(model, 3)
        am.unpatch(model)
    steady(cycle, CYCLES, "mlx: made, patched for 1, 2 or 4 threads, used, unpatched")
    model = make(2)
    finite = [True]
    part = TOKENS // 20

    def tokens():
        finite[0] = generate(model, part) and finite[0]
    steady(tokens, 20, f"mlx: {part} tokens")
    r = am.patch_report(model)
    check(finite[0] and r["calls"] == 2 * 20 * part and not r["fallbacks"], f"mlx: finite, {r['calls']} calls")
    other = make(2)
    for _ in range(10):  # mlx evaluates in one stream: two models in turns
        generate(model, 2), generate(other, 2)
    check(am.patch_report(other)["calls"] == 40, "mlx: two models in turns, each with its own counts")


def torch():
    import torch as t
    import transformers

    import attune.torch as at
    at.register()

    def make():
        t.manual_seed(3)
        c = transformers.LlamaConfig(**SIZES, max_position_embeddings=1024)
        c._attn_implementation = "attune"
        return transformers.LlamaForCausalLM(c).eval()

    def generate(model, n):
        past, token, finite = None, t.tensor([[1]]), True
        with t.inference_mode():
            for i in range(n):
                if i % 500 == 0:
                    past = None
                out = model(token, past_key_values=past, use_cache=True)
                past, token = out.past_key_values, out.logits[:, -1].argmax(-1)[None]
                finite = finite and (i % 100 != 0 or bool(out.logits.isfinite().all()))
        return finite

    turn = [0]

    def cycle():
        turn[0] += 1
        t.set_num_threads((1, 2, 4)[turn[0] % 3])
        generate(make(), 3)
    for _ in range(3):
        cycle()  # the pools of 1, 2 and 4 threads
    steady(cycle, CYCLES, "torch: made, used with 1, 2 or 4 threads, dropped")
    t.set_num_threads(2)
    model, finite, part = make(), [True], TOKENS // 20

    def tokens():
        finite[0] = generate(model, part) and finite[0]
    steady(tokens, 20, f"torch: {part} tokens")
    gc.collect()  # modules lie in cycles
    r = at.patch_report(model)
    layers = [l["calls"] for l in r["layers"]]
    check(finite[0] and layers == [20 * part] * 2 and not r["fallbacks"], f"torch: finite, calls by layer {layers}")
    a, b, answers = make(), make(), []
    failed = side_by_side(lambda: answers.append(generate(a, 50)), lambda: answers.append(generate(b, 50)))
    check(not failed and answers == [True, True], f"torch: two models at once {failed or ''}")


def llama():
    import ctypes

    import llama_cpp
    import numpy as np
    from attune._library import Counts
    gguf, _ = smollm2()
    plugin = os.path.join(os.environ["ATTUNE_LIB"], "libggml-attune.so")
    ggml = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml.so.0"))
    ggml.ggml_backend_load.restype, ggml.ggml_backend_load.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    check(bool(ggml.ggml_backend_load(plugin.encode())), "ggml takes the plug-in")
    hook = ctypes.CDLL(plugin)

    def calls():
        c, d, name = Counts(), ctypes.c_longlong(), ctypes.create_string_buffer(64)
        hook.attune_ggml_counts(ctypes.byref(c), ctypes.byref(d), name, 64)
        return c.calls

    def make(threads, n=512):
        return llama_cpp.Llama(gguf, n_ctx=n, flash_attn=True, n_threads=threads, n_threads_batch=threads, verbose=False)

    turn = [0]

    def cycle():
        turn[0] += 1
        model = make((1, 2, 4)[turn[0] % 3], 64)
        model.eval([1, 2, 3])
        model.eval([4])
        model.close()
    for _ in range(3):
        cycle()
    steady(cycle, CYCLES, "llama.cpp: loaded, used with 1, 2 or 4 threads, unloaded")
    model, finite, part, before = make(2), [True], TOKENS // 20, calls()

    def tokens():
        model.reset()
        for i in range(part):
            model.eval([(7 * i) % 4096 + 1])
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1), (model.n_vocab(),))
        finite[0] = finite[0] and bool(np.isfinite(logits).all())
    steady(tokens, 20, f"llama.cpp: {part} tokens")
    check(finite[0] and calls() - before == 30 * 20 * part, f"llama.cpp: finite, {calls() - before} calls")
    other = make(1)
    failed = side_by_side(lambda: [model.eval([5]) for _ in range(5)], lambda: [other.eval([7]) for _ in range(5)])
    check(not failed, f"llama.cpp: two models at once {failed or ''}")


PARTS = {"mlx": ("mlx_lm", mlx), "torch": ("transformers", torch), "llama": ("llama_cpp", llama)}
if len(sys.argv) > 1:
    PARTS[sys.argv[1]][1]()
    finish()
have = [part for part, (package, _) in PARTS.items() if importlib.util.find_spec(package)]
if not have:
    print("skip: none of mlx-lm, transformers and llama-cpp-python is installed; run tools/peers/install --models")
    sys.exit(77)
for part in have:
    r = subprocess.run([sys.executable, __file__, part], stderr=subprocess.PIPE, text=True)
    check(r.returncode == 0, f"{part}: ended with {r.returncode}{r.stderr[-2000:] if r.returncode else ''}")
finish()
