"""The child process of `isolation`: one call, its answer written to a file."""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Read a request from standard input, call what it names, write the answer."""
    _end_with(int(sys.argv[1]))
    request = json.load(sys.stdin)
    try:
        module, _, name = request["job"].partition(":")
        value = getattr(import_module(module), name)(**request["arguments"])
        answer: dict[str, Any] = {"value": value}
    except Exception as error:
        # Whatever it is, it is the reason that the attempt failed.
        text = str(error)
        own = type(error).__module__.startswith("cleanai_onnx.")
        answer = {
            "error": type(error).__name__,
            "text": text if own else f"{type(error).__name__}: {text}",
        }
    target = Path(request["answer"])
    part = target.with_suffix(".part")
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.replace(target)
    return 0


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its parent, however deep in native code it is."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
