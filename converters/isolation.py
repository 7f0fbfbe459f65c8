"""Work in a process of its own: what crashes or hangs there ends as one sentence here.

The child imports nothing from the current folder (a file named ``numpy.py`` there would otherwise
run), inherits no way to loosen what may be loaded, and ends when its parent does. It is no sandbox:
it has the rights of the user. What may be executed is decided by the code that loads models, the
same in both processes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cleanai_onnx import errors
from cleanai_onnx.converters.conversion import FailedAttemptError, UnloadableError

__all__ = ["DEFAULT_TIMEOUT", "discard_unfinished", "one_line", "run", "working_folder"]

DEFAULT_TIMEOUT = 600.0
"""Seconds that an attempt may take."""

_LOOSENING = ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",)
_ROOT = str(Path(errors.__file__).resolve().parents[1])
"""Where this package is found, installed or not."""

_REFUSALS: dict[str, type[errors.CleanAIError]] = {
    kind.__name__: kind
    for kind in (errors.UsageError, errors.OutputError, errors.ModelError, errors.ImageError)
}
"""What ends a conversion, whichever routes are left."""

_LOG_TAIL = 4000
_MOST_REASON = 300
_RUNNING: set[subprocess.Popen[bytes]] = set()
_FOLDERS: set[str] = set()


@contextmanager
def working_folder() -> Iterator[Path]:
    """Give a temporary folder that is removed at the end, or by `discard_unfinished`."""
    folder = tempfile.mkdtemp(prefix="cleanai-onnx-")
    _FOLDERS.add(folder)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _FOLDERS.discard(folder)


def discard_unfinished() -> None:
    """End all children and remove all working folders, where a process ends without unwinding."""
    for child in tuple(_RUNNING):
        _end(child)
    for folder in tuple(_FOLDERS):
        shutil.rmtree(folder, ignore_errors=True)


def run(
    job: str,
    arguments: Mapping[str, Any],
    folder: Path,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Call a function in a process of its own and return what it returned.

    Parameters
    ----------
    job
        ``"module:function"``, called as ``function(**arguments)``.
    arguments
        What JSON can hold.
    folder
        Where the answer and the log are written.
    timeout
        Seconds.
    environment
        Variables to set.

    Raises
    ------
    FailedAttemptError
        If it raised, crashed, hung or said nothing; the phrase says which. `UnloadableError` if it
        raised that.
    CleanAIError
        If the function raised one: the same class with the same sentence.
    """
    answer, log = folder / "answer.json", folder / "log.txt"
    answer.unlink(missing_ok=True)
    variables = {k: v for k, v in os.environ.items() if k not in _LOOSENING}
    paths = [_ROOT, *filter(None, [variables.get("PYTHONPATH")])]
    variables.setdefault("ORT_DISABLE_TELEMETRY", "1")
    variables |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    variables |= environment or {}
    command = [sys.executable, "-P", "-m", "cleanai_onnx.converters.worker", str(os.getpid())]
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
        )
        _RUNNING.add(child)
        try:
            request = {"job": job, "arguments": dict(arguments), "answer": str(answer)}
            child.communicate(json.dumps(request).encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            raise FailedAttemptError(
                f"it took longer than {timeout:g} s and was ended (--timeout)"
            ) from None
        finally:
            _end(child)
    try:
        found = json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FailedAttemptError(_how_it_ended(child.returncode, log)) from None
    if "value" in found:
        return found["value"]
    kind, text = str(found.get("error")), str(found.get("text"))
    if kind in _REFUSALS:
        raise _REFUSALS[kind](text)
    failure = UnloadableError if kind == UnloadableError.__name__ else FailedAttemptError
    raise failure(one_line(text))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that it started."""
    if child.poll() is None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
        child.wait()
    _RUNNING.discard(child)


def _how_it_ended(code: int, log: Path) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"the process crashed ({signal.Signals(-code).name})"
        return f"the process crashed (signal {-code})"
    tail = log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace").strip().splitlines()
    said = f": {one_line(tail[-1])}" if tail else ""
    return f"the process ended without an answer (exit code {code}){said}"


def one_line(text: str, limit: int = _MOST_REASON) -> str:
    """Return text from outside on one line, printable and shortened, without a final stop."""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text[:10_000].split()))
    return (text if len(text) <= limit else text[: limit - 2] + " …").rstrip(" .;")
