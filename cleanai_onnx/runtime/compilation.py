"""Functions compiled by JAX with the options and the precision that this project wants."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax

__all__ = ["compiled", "compiler_options", "current_platform", "double_precision"]

_REDUCTIONS = ("xla_cpu_experimental_ynn_fusion_type", "")
"""jaxlib 0.10's CPU back end hands reductions to a fusion library that is slower here."""
_WIDE = ("xla_cpu_prefer_vector_width", "512")
"""By default vectors of 256 bits are used where the processor has wider ones."""
_ALONE = ("xla_cpu_multi_thread_eigen", "False")
"""By default a product of matrices is divided among all cores."""


@cache
def compiler_options(
    platform: str, *, wide: bool = False, alone: bool = False
) -> dict[str, str] | None:
    """Return the XLA options that make sweeps fast, as far as this jaxlib knows them.

    The arguments are those of `compiled`.
    """
    if platform != "cpu":
        return None
    wanted = [_REDUCTIONS, *([_WIDE] if wide else []), *([_ALONE] if alone else [])]
    return dict(option for option in wanted if _is_known(*option)) or None


@cache
def _is_known(name: str, value: str) -> bool:
    import jax
    import jax.numpy as jnp

    try:
        jax.jit(lambda: jnp.int32(0), compiler_options={name: value}).lower().compile()
    except Exception:  # the type that jaxlib raises for an unknown option differs by version
        return False
    return True


def current_platform() -> str:
    """Return the platform of JAX's default device of this moment, as ``"cpu"``."""
    import jax

    device = getattr(jax.config, "jax_default_device", None)
    return str(getattr(device, "platform", None) or jax.default_backend())


def compiled(
    function: Callable[..., Any],
    platform: str,
    *,
    wide: bool = False,
    alone: bool = False,
    **options: Any,
) -> jax.stages.Wrapped:
    """Return `function` compiled by JAX with this project's compiler options.

    Parameters
    ----------
    function : callable
    platform : str
        What it will run on: ``"cpu"``, ``"gpu"``, …
    wide : bool
        Use the widest vectors that the processor has. Not for functions with products of matrices
        whose last digits matter: XLA's order of additions in them, and so the rounding, depends on
        the width.
    alone : bool
        Leave products of matrices to the core that comes to them: for callers that keep all cores
        busy with calls side by side.
    **options
        Further ones of ``jax.jit``.
    """
    import jax

    return jax.jit(
        function, compiler_options=compiler_options(platform, wide=wide, alone=alone), **options
    )


def double_precision() -> AbstractContextManager[Any]:
    """Return a context in which JAX has 64-bit types; outside of it nothing changes."""
    import jax

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    # Before JAX 0.8.
    from jax import experimental

    return experimental.enable_x64()  # type: ignore[attr-defined]
