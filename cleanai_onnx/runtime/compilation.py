"""Functions compiled by JAX with the compiler options that this project wants."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["compiled", "compiler_options"]


@cache
def compiler_options(platform: str) -> dict[str, str] | None:
    """Return the XLA options that make reductions fast, where this jaxlib knows them.

    jaxlib 0.10's CPU back end hands reductions to a fusion library that is slower here; an unknown
    option raises when something is compiled with it.
    """
    import jax
    import jax.numpy as jnp

    if platform != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda: jnp.int32(0), compiler_options=options).lower().compile()
    except Exception:  # the type that jaxlib raises for an unknown option differs by version
        return None
    return options


def compiled(function: Callable[..., Any], platform: str, **options: Any) -> Callable[..., Any]:
    """Return `function` compiled by JAX with this project's compiler options."""
    import jax

    return jax.jit(function, compiler_options=compiler_options(platform), **options)
