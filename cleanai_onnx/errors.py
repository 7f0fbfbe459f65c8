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

and a slug, a stable word that `docs/messages.md` explains. `cleanai_onnx.slugs` says which.
"""

from __future__ import annotations

import sys

from cleanai_onnx.slugs import slug_of_module

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
    """Base of all errors that are explained to the user without a traceback.

    Parameters
    ----------
    sentence : str
    slug : str, optional
        Under which word `docs/messages.md` explains the error. By default that of the class, where
        it has a word of its own; else that of the module that raises it; else that of the kind.
    """

    exit_code = 4
    kind = "internal-error"
    own_slug: str | None = None

    def __init__(self, sentence: str, *, slug: str | None = None) -> None:
        super().__init__(sentence)
        # The module knows what its errors are about: so it is said once for each module, in a
        # table, and not in each of the hundreds of places that raise one.
        module = sys._getframe(1).f_globals.get("__name__", "")
        self.slug: str = slug or self.own_slug or slug_of_module(module) or self.kind


class UsageError(CleanAIError):
    """An option, a configuration file or a combination of them cannot be used."""

    exit_code = 2
    kind = "usage"


class OutputError(UsageError):
    """A result cannot be written where the user asked for it."""

    own_slug = "output"


class ModelError(CleanAIError):
    """The model cannot be loaded, is not safe to run, or has nothing to measure."""

    exit_code = 3
    kind = "model"


class NotSupportedError(ModelError):
    """The model uses an operator, or a form of one, that is not implemented for this analysis."""

    own_slug = "operator-not-supported"


class ImageError(CleanAIError):
    """The images cannot be found, read, or brought into the form that the model takes."""

    exit_code = 3
    kind = "images"
