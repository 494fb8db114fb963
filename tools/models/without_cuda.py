"""Lets PyTorch's CUDA wheel be imported without 2 GB of CUDA libraries: without_cuda.py FOLDER-OF-SITE-PACKAGES

PyPI's Linux wheels of PyTorch are built with CUDA, and their libraries name cuBLAS, cuDNN and others as needed, also where
only the CPU is used. For each one that is not among the installed packages this writes a small stand-in beside PyTorch's
own libraries, where PyTorch looks before the system does (another version there would not do): it has the name and the
symbols that PyTorch asks for, and every function says "failed" (1). libcudart and libcupti must be the real ones
(nvidia-cuda-runtime, nvidia-cuda-cupti: device code is registered when they are loaded). Invariant: what a package
installed is never touched. An environment made so computes on the CPU only. Needs cc and binutils.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def needed(so):
    """(names of libraries that it needs, {library: the one version of symbols that it wants of it})"""
    text = output("objdump", "-p", so)
    versions = dict(re.findall(r"required from (\S+):\n\s+\S+ \S+ \S+ (\S+)", text))
    return re.findall(r"^\s+NEEDED\s+(\S+)", text, re.M), versions


def wanted(so):
    """(symbol, version or '') of what it expects others to define."""
    for line in output("nm", "-D", "--undefined-only", so).splitlines():
        symbol, _, version = line.split()[-1].partition("@")
        yield symbol, version.lstrip("@")


def prefix_of(name):
    """How the functions of a library without symbol versions begin: libnccl.so.2 has ncclAllGather."""
    return re.sub(r"^lib|\.so.*", "", name).lower()


def write_stand_in(folder, name, version, symbols):
    """NVSHMEM's are variables too: there all are zeroed memory. The others are functions."""
    kind = "char %s[64];\n" if "nvshmem" in name else "int %s(void) { return 1; }\n"
    with tempfile.TemporaryDirectory() as work:
        source, script = os.path.join(work, "stand_in.c"), os.path.join(work, "version.map")
        with open(source, "w") as f:
            f.writelines(kind % s for s in sorted(symbols))
        extra = []
        if version:
            with open(script, "w") as f:
                f.write(f"{version} {{ global: *; }};\n")
            extra = [f"-Wl,--version-script={script}"]
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", source, "-o",
                        os.path.join(folder, name), f"-Wl,-soname,{name}"] + extra, check=True)


def main(site):
    own = os.path.join(site, "torch", "lib")
    folders = [own] + glob.glob(os.path.join(site, "nvidia", "*", "lib"))
    missing = {}                                     # library: (version, symbols)
    unversioned = set()
    for so in sorted(glob.glob(os.path.join(own, "*.so*"))):
        libraries, versions = needed(so)
        absent = [n for n in libraries if re.match(r"lib(cu|nv|nccl)(?!da\.so)", n)
                  and not any(os.path.exists(os.path.join(f, n)) for f in folders)]
        if not absent:
            continue
        asked = list(wanted(so))
        unversioned.update(s for s, v in asked if not v)
        for name in absent:
            version, symbols = missing.setdefault(name, [versions.get(name, ""), set()])
            missing[name][0] = version or versions.get(name, "")
            symbols.update(s for s, v in asked if v and v == versions.get(name))
    for name, (version, symbols) in missing.items():
        if not version:
            symbols.update(s for s in unversioned if s.lower().startswith(prefix_of(name)))
        write_stand_in(own, name, version, symbols)
        print(f"{name}: a stand-in with {len(symbols)} symbols")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not os.path.isdir(os.path.join(sys.argv[1], "torch", "lib")):
        sys.exit("without_cuda.py: give the site-packages folder that holds torch")
    main(sys.argv[1])
