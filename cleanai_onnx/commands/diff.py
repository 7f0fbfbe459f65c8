"""The command ``diff``: two stored results side by side, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx.commands.parsing import Parser
from cleanai_onnx.commands.showing import show

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx diff",
        description="Show what changed from one stored result to another: every metric, the layers "
        "that correspond, channels that fell silent, and settings that are not the same.",
        epilog="exit codes: 0 done (whatever differs: limits are for gates), 2 usage, 4 internal "
        "error",
    )
    made.add_argument("old", help="the JSON file of an analysis")
    made.add_argument("new", help="that of a later one, of the same model or of another")
    made.add_argument("--output", metavar="FILE", help="also write everything as JSON")
    made.add_argument("--quiet", action="store_true", help="print nothing but errors")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Compare two results, write and show what changed."""
    from cleanai_onnx.report.destination import replace_file
    from cleanai_onnx.report.difference import DifferenceLines, as_json
    from cleanai_onnx.validation import diff

    found = diff(arguments.old, arguments.new)
    written = []
    if arguments.output is not None:
        written.append(replace_file(Path(arguments.output), as_json(found)))
    if not arguments.quiet:
        show(lambda console: DifferenceLines(found, console).everything(), written)
    return 0
