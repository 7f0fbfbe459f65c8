"""What children of `cleanai_onnx.converters.isolation` are told to do in tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cleanai_onnx.errors import ImageError, UsageError


def echo(**arguments: Any) -> Any:
    return arguments


def raises(kind: str, text: str) -> None:
    raise {"usage": UsageError, "image": ImageError, "value": ValueError}[kind](text)


def exits(code: int) -> None:
    print("last words")
    sys.stdout.flush()
    os._exit(code)


def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(pids: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pids).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def environment() -> dict[str, Any]:
    return {"path": sys.path, "variables": dict(os.environ)}


def unspeakable() -> object:
    return object()
