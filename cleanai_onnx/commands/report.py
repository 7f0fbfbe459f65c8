"""The command ``report``: a stored result rendered again, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx import config
from cleanai_onnx.commands.gating import Gates, concluded
from cleanai_onnx.commands.parsing import Parser, add_options, settings_of

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx report",
        description="Render a stored result again, without running anything.",
        epilog="exit codes: 0 done, 1 a gate failed, 2 usage, 4 internal error",
    )
    made.add_argument("result", help="the JSON file of an analysis")
    made.add_argument("--output", metavar="DIR", help="folder for the PDF (default: beside it)")
    add_options(
        made.add_argument_group("gates (otherwise those that were judged in the analysis)"),
        (option for option in config.OPTIONS if option.group == "gates"),
    )
    made.add_argument("--config", metavar="FILE", help="a configuration file (TOML) with gates")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Write the PDF of a stored result, judged anew if gates are given."""
    gates = _gates(arguments)

    from cleanai_onnx import report

    source = Path(arguments.result)
    result = gates.judged(report.read(source))
    folder = source.parent if arguments.output is None else Path(arguments.output)
    path = report.write(result, "pdf", folder / f"{source.stem}.pdf")
    return concluded(result, [path], quiet=False)


def _gates(arguments: argparse.Namespace) -> Gates:
    """Return the gates to judge by; none where nothing was said of them on the command line."""
    said = ("config", "fail-under", "baseline")
    if all(getattr(arguments, name) is None for name in said):
        return Gates((), None)
    return Gates.of(settings_of(arguments, config.OPTIONS))
