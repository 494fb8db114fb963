"""attune: attention by kernels evolved for this machine, inside mlx-lm and PyTorch/transformers.

    from attune.mlx import load_and_patch_model
    import attune.torch; attune.torch.register()

A thin layer of ctypes over libattune; using it needs no compiler. An evolved program may be a shared object (.so) or the
C file that `attune evolve` wrote, which the `attune` program then builds in its sandbox. Inference only."""
from ._library import AttuneError, Binding, build_program, library_version

__version__ = "0.1.0"
__all__ = ["AttuneError", "Binding", "build_program", "library_version", "__version__"]
