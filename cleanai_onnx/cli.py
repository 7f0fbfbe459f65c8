"""The command line: arguments in, exit code out. No logic."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cleanai_onnx import commands
from cleanai_onnx.commands.showing import point_at_nothing, say
from cleanai_onnx.errors import CleanAIError, harmless

__all__ = ["main", "run"]

INTERRUPTED = 128 + signal.SIGINT
"""What shells expect of a program that Ctrl-C ended."""


def run() -> int:
    """Be the program: `main`, with what only a process of its own may do.

    Of the second or two that a single image takes, more than a third would go into looking for
    reference cycles among the objects of the imports, and into taking JAX and onnxruntime apart.
    """
    # Each batch leaves few objects behind and no cycles among its arrays.
    gc.set_threshold(100_000, 50, 100)
    if "_ARGCOMPLETE" in os.environ:
        commands.find("completion").answer()
    code: list[int] = []
    # Registered first, it is called last: after the threads ended and all others were called.
    atexit.register(_end_at_once, code)
    code.append(main())
    return code[0]


def _end_at_once(code: Sequence[int]) -> None:
    """End the process without taking the interpreter apart, if `main` gave an exit code."""
    if not code:
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return  # the interpreter tries again, and says what is wrong
    os._exit(code[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Without `argv` it is the program: then it also takes over Ctrl-C and the process's warnings.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if argv is None:
        _end_on_signals()
        if not debug and not sys.warnoptions:
            # What numpy and JAX warn of is for programmers; the report has its own notes.
            warnings.simplefilter("ignore")
    try:
        name = "analyze"
        if arguments and arguments[0] in commands.NAMES:
            name = arguments.pop(0)
        command = commands.find(name)
        code: int = command.run(command.parser().parse_args(arguments))
        return code
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); there is nobody to tell.
        point_at_nothing(sys.stdout)
        return 0
    except KeyboardInterrupt:
        say("cleanai-onnx: interrupted.")
        return INTERRUPTED
    except Exception as error:
        if debug:
            say(traceback.format_exc())
        text, exit_code = _explained(error)
        say(f"cleanai-onnx: {text}")
        return exit_code


def _explained(error: Exception) -> tuple[str, int]:
    """Return what an error means to the user, and the exit code."""
    if isinstance(error, CleanAIError):
        return f"error: {harmless(str(error))} [{error.slug}]", error.exit_code
    if isinstance(error, MemoryError):
        return "error: out of memory; use a smaller --batch-size, or fewer --taps. [memory]", 3
    text = harmless(" ".join(f"{type(error).__name__}: {error}".split())[:300])
    return (
        f"internal error: {text}\nThis is a bug. Please report it with the output of the same "
        "command with --debug.",
        CleanAIError.exit_code,
    )


def _end_on_signals() -> None:
    """Let Ctrl-C and a request to end do so at once, and leave nothing half-written.

    An exception would not do: raised inside one of the many callbacks of JAX it is swallowed, and
    raised while an extension is imported it aborts the process.
    """

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        for name in ("cleanai_onnx.converters.isolation", "cleanai_onnx.report.destination"):
            if name in sys.modules:
                sys.modules[name].discard_unfinished()
        show_cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
        word = "interrupted" if number == signal.SIGINT else "ended"
        # Not through sys.stderr: the signal may have come while that was being written to.
        with suppress(OSError):
            os.write(2, f"{show_cursor}\ncleanai-onnx: {word}.\n".encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        # A parent that ignores a signal (nohup, a shell's &) wants it ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError):  # not the main thread
                signal.signal(number, end)


if __name__ == "__main__":
    sys.exit(run())
