"""The name that the example this project is modelled on uses: `from attention_integration import load_and_patch_model`."""
from attune.mlx import (compare, compare_outputs, enable, load_and_patch_model, patch, patch_report,  # noqa: F401
                        set_least_work, unpatch)
