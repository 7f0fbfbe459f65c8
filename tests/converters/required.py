"""What the tests of the converters need beyond the extra ``test``."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

__all__ = ["require"]


def require(*modules: str) -> None:
    """Skip the test module that calls this at its top if a module is missing.

    Where ``CONVERTERS_REQUIRED`` is set, as `.ci/run` does, a missing one is an error: a converter
    that cannot be installed must not pass for one that works.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} cannot be imported"
    if os.environ.get("CONVERTERS_REQUIRED"):
        raise ImportError(f"{reason}, and CONVERTERS_REQUIRED is set")
    pytest.skip(reason, allow_module_level=True)
