#!/usr/bin/env python3
"""Each kernel with every knob at its first value, and with every knob at its last: what evolution may build has to be
right, inside the workspace that it asks for.

Usage: knobs.py ROOT CONFORMANCE FOLDER CC... -- KERNEL.c...      TAP on stdout.
Register tiles that do not fit in the registers do not compile: their knobs (TILE) then stay as they are. So does
always EXP_DEG, whose small values are for half types and are refused for f32. Tiles of AMX are made of C where there are none.
"""
import os
import re
import subprocess
import sys

KNOB = re.compile(r"^(#define (\w+)) (\S+)(\s*// knob: ([^;\n]*))", re.M)
ACCURACY = {"EXP_DEG"}
TILE = {"QV", "KU", "PU", "MR", "NV", "PR", "PN"}


def with_knobs(text, which, kept):
    said = {}

    def value(m):
        v = m[3] if m[2] in kept else m[5].split()[which]
        said[m[2]] = v
        return f"{m[1]} {v}{m[4]}"

    return KNOB.sub(value, text), " ".join(f"{k}={v}" for k, v in said.items())


def build(cc, root, text, path):
    with open(path + ".c", "w") as f:
        f.write(text)
    return subprocess.run([*cc, "-O1", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
                           "-fassociative-math", "-freciprocal-math", "-ffp-contract=fast", "-w", "-shared", "-fPIC",
                           f"-I{root}/tests/conformance/tiles", f"-I{root}/include", path + ".c", "-o", path + ".so", "-lm"], capture_output=True, text=True)


def main(root, conformance, folder, *rest):
    cc, kernels = rest[:rest.index("--")], rest[rest.index("--") + 1:]
    os.makedirs(folder, exist_ok=True)
    print(f"1..{2 * len(kernels)}")
    n = bad = 0
    for kernel in kernels:
        with open(kernel) as f:
            source = f.read()
        for word, which in (("first", 0), ("last", -1)):
            n += 1
            path = os.path.join(folder, f"{os.path.basename(kernel)[:-2]}_{word}")
            text, said = with_knobs(source, which, ACCURACY)
            made = build(cc, root, text, path)
            if "static assertion" in made.stderr:
                text, said = with_knobs(source, which, ACCURACY | TILE)
                made = build(cc, root, text, path)
            out = made.stderr
            if made.returncode == 0:
                r = subprocess.run([conformance, "--tiny", path + ".so"], capture_output=True, text=True)
                out = r.stdout + r.stderr
                if r.returncode == 0:
                    skip = re.search(r"^ok.*(# SKIP.*)$", out, re.M)
                    print(f"ok {n} - {os.path.basename(path)}{' ' + skip[1] if skip else ''}", flush=True)
                    continue
            bad = 1
            print("".join(f"# {line}\n" for line in out.splitlines() + [said]) + f"not ok {n} - {os.path.basename(path)}", flush=True)
    return bad


sys.exit(main(*sys.argv[1:]))
