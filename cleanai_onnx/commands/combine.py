"""The command ``combine``: profiles in, one profile out."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx.commands.parsing import Parser
from cleanai_onnx.commands.profile import announce_profile

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx combine",
        description="Merge profiles of one model: the result is that of one pass over all images.",
    )
    made.add_argument("profiles", nargs="+", metavar="PROFILE", help="profiles to merge")
    made.add_argument("-o", "--out", metavar="FILE", required=True, help="the profile to write")
    made.add_argument("--quiet", action="store_true", help="print nothing but errors")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Merge profiles and write the result."""
    from cleanai_onnx import profiles

    merged = profiles.merge([profiles.load(path) for path in arguments.profiles])
    path = profiles.save(merged, Path(arguments.out))
    return announce_profile(path, merged, quiet=arguments.quiet)
