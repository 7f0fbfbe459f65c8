"""The command ``report``: a stored result rendered again, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx.commands.parsing import Parser
from cleanai_onnx.commands.showing import show_result

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx report",
        description="Render a stored result again, without running anything.",
    )
    made.add_argument("result", help="the JSON file of an analysis")
    made.add_argument("--output", metavar="DIR", help="folder for the PDF (default: beside it)")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Write the PDF of a stored result."""
    from cleanai_onnx import report

    source = Path(arguments.result)
    result = report.read(source)
    folder = source.parent if arguments.output is None else Path(arguments.output)
    path = report.write(result, "pdf", folder / f"{source.stem}.pdf")
    show_result(result, [path])
    return 0
