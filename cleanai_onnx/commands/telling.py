"""What --verbose tells on standard error: which phase begins, and in the end how long each took."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from cleanai_onnx.commands.showing import say
from cleanai_onnx.errors import harmless

__all__ = ["phases_told"]


@contextmanager
def phases_told() -> Iterator[None]:
    """Say on standard error what the package logs inside, and in the end how long phases took.

    A program that embeds the package can listen to the same messages of the logger
    ``cleanai_onnx``.
    """
    logger, teller = logging.getLogger("cleanai_onnx"), _Teller()
    level = logger.level
    logger.addHandler(teller)
    logger.setLevel(logging.DEBUG)
    try:
        yield
        teller.sum_up()
    finally:
        logger.setLevel(level)
        logger.removeHandler(teller)


class _Teller(logging.Handler):
    """Prints what is logged with the seconds since the program began, and adds up phases."""

    def __init__(self) -> None:
        super().__init__()
        self._began = psutil.Process().create_time()
        self._spent: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, or add the seconds of a phase that ended."""
        phase: str | None = getattr(record, "phase", None)
        if phase is not None:
            seconds: float = getattr(record, "seconds", 0.0)
            self._spent[phase] = self._spent.get(phase, 0.0) + seconds
        elif record.levelno >= logging.INFO:
            _say(time.time() - self._began, harmless(record.getMessage()))

    def sum_up(self) -> None:
        """Print how long each phase took."""
        total = time.time() - self._began
        if not self._spent:
            _say(total, "in all")
            return
        _say(total, "in all; of these:")
        for phase, seconds in self._spent.items():
            _say(seconds, phase)
        _say(total - sum(self._spent.values()), "all else (imports, reports)")


def _say(seconds: float, text: str) -> None:
    say(f"{seconds:8.2f} s  {text}")
