"""The command ``report``: a stored result rendered again, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx import config
from cleanai_onnx.commands.gating import concluded, gates_said
from cleanai_onnx.commands.parsing import Parser, add_options
from cleanai_onnx.commands.reporting import places_of, refuse_same
from cleanai_onnx.formats import FORMATS

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx report",
        description="Render a stored result again, without running anything.",
        epilog="exit codes: 0 done, 1 a gate failed, 2 usage, 4 internal error",
    )
    made.add_argument("result", help="the JSON file of an analysis")
    made.add_argument("--output", metavar="DIR", help="folder for the reports (default: beside it)")
    made.add_argument(
        "--report",
        action="append",
        metavar="TYPE[:PATH]",
        help=f"a report to write, may be repeated: {', '.join(FORMATS)} (default: pdf)",
    )
    add_options(made, [one for one in config.OPTIONS if one.name in ("attest", "quiet")])
    add_options(
        made.add_argument_group("gates (otherwise those that were judged in the analysis)"),
        (option for option in config.OPTIONS if option.group == "gates"),
    )
    made.add_argument("--config", metavar="FILE", help="a configuration file (TOML) with gates")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Write the reports of a stored result, judged anew if gates are given."""
    gates = gates_said(arguments)

    from cleanai_onnx import report

    # No configuration: where it says what an analysis writes, that is the file read here too.
    given = {
        name: config.parsed(name, getattr(arguments, name), f"--{name}")
        for name in ("report", "attest", "quiet")
        if getattr(arguments, name) is not None
    }
    source = Path(arguments.result)
    folder = source.parent if arguments.output is None else Path(arguments.output)
    reports = places_of(given.get("report", ("pdf",)), given.get("attest"), folder, source.stem)
    written = [path for _, path in reports]
    refuse_same(written, [source])
    result = gates.judged(report.read(source))
    with report.all_or_nothing():
        for name, path in reports:
            report.write(result, name, path)
    return concluded(result, written, quiet="quiet" in given)
