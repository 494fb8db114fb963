"""The package without any host: errors say what to do, and objects are built once."""
from common import *

import attune
from attune import _library

so = attune.build_program(PLAIN)
check(so == attune.build_program(PLAIN) and os.path.exists(so), "a C program is built once")
check(raises(attune.AttuneError, lambda: attune.build_program("best.c"), "no such file"), "a missing program is named")
with tempfile.TemporaryDirectory() as d:
    py = os.path.join(d, "x.py")
    open(py, "w").close()
    check(raises(attune.AttuneError, lambda: attune.build_program(py), "Python"), "a Python program is refused")
    bad = os.path.join(d, "bad.c")
    with open(bad, "w") as f:
        f.write("int attune_kernel = ;\n")
    check(raises(attune.AttuneError, lambda: attune.build_program(bad), "bad.c"), "a program that does not build is refused")
    notso = os.path.join(d, "bad.so")
    with open(notso, "w") as f:
        f.write("x" * 100)
    check(raises(attune.AttuneError, lambda: attune.Binding(notso), "bad.so"), "an object that is none is refused")
b = attune.Binding(so)
check(b.kernel == "" and b.counts()["calls"] == 0 and len(b.nonce) == 16, "a binding starts from zero")
check(attune.library_version() == attune.__version__, "one version")
finish()
