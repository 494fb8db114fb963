#!/usr/bin/env python3
"""A chat server that we did not write: llama.cpp's own, as the package xllamacpp carries it, with a small model.

    real_server.py MODEL.gguf      # prints its address, serves until stdin closes

Exit code 77 with a reason where the package or the model is missing.
"""
import os
import sys


def main():
    model = sys.argv[1]
    if not os.path.exists(model):
        print(f"SKIP: there is no model {model}: tools/peers/install --models")
        return 77
    try:
        import xllamacpp
    except ImportError:
        print("SKIP: no xllamacpp in this Python: tools/peers/install --models")
        return 77
    p = xllamacpp.CommonParams()
    p.model.path = model
    p.n_ctx = 24576
    p.n_parallel = 1
    p.n_predict = 48
    p.cpuparams.n_threads = 1
    p.cpuparams_batch.n_threads = 1
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.warmup = False
    server = xllamacpp.Server(p)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    return 0


code = main()
sys.stdout.flush()
os._exit(code)
