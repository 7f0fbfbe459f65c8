"""The command ``combine``: states of a suite's parts, or profiles, become one."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx.commands.parsing import Parser
from cleanai_onnx.commands.profile import announce_profile
from cleanai_onnx.commands.showing import show_result
from cleanai_onnx.errors import UsageError, harmless

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx combine",
        description="Merge states of the parts of a suite (--state), or profiles of one model: the "
        "result is that of one run over all images, in the order of the files.",
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="states, or profiles, to merge")
    made.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        help="the folder for the reports (default: here), or the profile to write",
    )
    made.add_argument("--state", metavar="FILE", help="also write the merged state")
    made.add_argument("--quiet", action="store_true", help="print nothing but errors")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Merge what the files hold and write the result."""
    from cleanai_onnx.container import kind_of
    from cleanai_onnx.profiles.storage import FACTS as PROFILE
    from cleanai_onnx.states.storage import FACTS as STATE

    kinds = {path: kind_of(path) for path in arguments.files}
    if STATE not in kinds.values():
        return _combine_profiles(arguments)
    other = next((path for path, kind in kinds.items() if kind == PROFILE), None)
    if other is not None:
        raise UsageError(
            f"{harmless(other)[-300:]} is a profile and other files are states: combine states "
            "with states, and profiles with profiles."
        )
    return _combine_states(arguments)


def _combine_profiles(arguments: argparse.Namespace) -> int:
    from cleanai_onnx import profiles

    if arguments.state is not None:
        raise UsageError("--state is for states of parts, and profiles have none: leave it out.")
    if arguments.out is None:
        raise UsageError("-o must name the profile to write; see cleanai-onnx combine --help.")
    merged = profiles.merge([profiles.load(path) for path in arguments.files])
    path = profiles.save(merged, Path(arguments.out))
    return announce_profile(path, merged, quiet=arguments.quiet)


def _combine_states(arguments: argparse.Namespace) -> int:
    from cleanai_onnx import report
    from cleanai_onnx.combining import combine
    from cleanai_onnx.report.names import file_stem
    from cleanai_onnx.states import storage

    facts, model = storage.described(arguments.files[0])
    folder = Path(arguments.out or ".")
    stem = f"Analysis_{file_stem(Path(model.file).stem)}"
    paths = {name: folder / f"{stem}.{name}" for name in ("pdf", "json", "csv")}
    if facts.layer_scores:
        paths["layers"] = folder / f"{stem}_layers.csv"
    if arguments.state is not None:
        paths["state"] = Path(arguments.state)
    for path in paths.values():
        report.check_destination(path)
    with report.all_or_nothing():
        result = combine(
            arguments.files,
            per_image=paths["csv"],
            per_layer=paths.get("layers"),
            state=paths.get("state"),
        )
        for name in ("json", "pdf"):
            report.write(result, name, paths[name])
    if not arguments.quiet:
        show_result(result, paths.values())
    return 0
