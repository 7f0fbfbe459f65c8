"""Errors that a user can act on: one sentence that says what is wrong, where, and what to do.

Each class carries the exit code of the command line:

====  ==========================================================
code  meaning
====  ==========================================================
0     done, and every gate passed
1     a gate failed
2     usage or configuration
3     model or images unusable or unsafe
4     internal error: a bug
====  ==========================================================
"""

from __future__ import annotations

__all__ = [
    "CleanAIError",
    "ImageError",
    "ModelError",
    "NotSupportedError",
    "OutputError",
    "UsageError",
    "harmless",
]


def harmless(text: str) -> str:
    """Return text from outside without what a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


class CleanAIError(Exception):
    """Base of all errors that are explained to the user without a traceback."""

    exit_code = 4


class UsageError(CleanAIError):
    """An option, a configuration file or a combination of them cannot be used."""

    exit_code = 2


class OutputError(UsageError):
    """A result cannot be written where the user asked for it."""


class ModelError(CleanAIError):
    """The model cannot be loaded, is not safe to run, or has nothing to measure."""

    exit_code = 3


class NotSupportedError(ModelError):
    """The model uses an operator, or a form of one, that is not implemented for this analysis."""


class ImageError(CleanAIError):
    """The images cannot be found, read, or brought into the form that the model takes."""

    exit_code = 3
