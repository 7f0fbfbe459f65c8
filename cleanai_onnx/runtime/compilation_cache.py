"""JAX's persistent compilation cache, so that kernels are compiled once for each machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["use_compilation_cache"]


def use_compilation_cache() -> None:
    """Keep compiled kernels on disk, unless the process has chosen a cache of its own.

    The folder is ``$CLEANAI_ONNX_CACHE``, else ``cleanai-onnx`` in ``$XDG_CACHE_HOME`` or
    ``~/.cache``. Where it cannot be made, kernels are compiled again in each process.
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    chosen = os.environ.get("CLEANAI_ONNX_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(chosen) if chosen else Path(home) / "cleanai-onnx"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default only what took a second to compile is kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
