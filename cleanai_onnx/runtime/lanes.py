"""Kernels of independent layers, side by side.

XLA's CPU back end runs what one thread dispatches one after the other, and a kernel's small
reductions leave some of the cores idle. The kernels of another layer use them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

__all__ = ["beside"]

LANES = 2
"""More bring nothing: each kernel spreads over all cores where it can."""


def beside(platform: str, kernel: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Run a compiled `kernel` beside others, and return what will be its result.

    Parameters
    ----------
    platform : str
        What it runs on. Only on ``"cpu"`` do threads take part: elsewhere a call returns at once.
    kernel : callable
        It must not need what JAX keeps for each thread, such as its default device.
    *arguments
        Arrays that `kernel` is given for good (donated) must not be given to another one.

    Returns
    -------
    Future
        Its ``result()`` raises what the kernel raised.
    """
    if platform == "cpu":
        return _lanes().submit(kernel, *arguments)
    done: Future[Any] = Future()
    done.set_result(kernel(*arguments))
    return done


@cache
def _lanes() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LANES, thread_name_prefix="kernels")
