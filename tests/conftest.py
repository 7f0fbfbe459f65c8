"""What all tests share: kernels compiled once for the whole run."""

from __future__ import annotations

import atexit
import os
import tempfile

# Compiling a kernel takes longer than using it. The folder is new in each run, and gone after it;
# set the variable to keep the kernels from run to run.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
if "CLEANAI_ONNX_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="cleanai-onnx-tests-", ignore_cleanup_errors=True)
    atexit.register(_cache.cleanup)
    os.environ["CLEANAI_ONNX_CACHE"] = _cache.name
