"""The command ``combine``: states of a suite's parts, or profiles, become one."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx import config
from cleanai_onnx.commands.gating import concluded, gates_said
from cleanai_onnx.commands.parsing import Parser, add_options
from cleanai_onnx.commands.profile import announce_profile
from cleanai_onnx.commands.reporting import places_of, refuse_same
from cleanai_onnx.errors import UsageError, harmless
from cleanai_onnx.formats import FORMATS

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
    made.add_argument(
        "--subset",
        metavar="FILE",
        help="list the fewest images with the same coverage in this .txt file (of states that "
        "were measured with --subset)",
    )
    made.add_argument(
        "--report",
        action="append",
        metavar="TYPE[:PATH]",
        help=f"a report to write, may be repeated: {', '.join(FORMATS)} (default: pdf and json)",
    )
    add_options(made, [one for one in config.OPTIONS if one.name == "quiet"])
    add_options(
        made.add_argument_group("gates"),
        (option for option in config.OPTIONS if option.group == "gates"),
    )
    made.add_argument("--config", metavar="FILE", help="a configuration file (TOML) with gates")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Merge what the files hold and write the result."""
    from cleanai_onnx.container import kind_of
    from cleanai_onnx.profiles.storage import FACTS as PROFILE
    from cleanai_onnx.states.storage import FACTS as STATE

    kinds = {path: kind_of(path) for path in arguments.files}
    if STATE not in kinds.values():
        # What is neither is missing or broken, which is said when it is read.
        return _combine_profiles(arguments, certain=PROFILE in kinds.values())
    other = next((path for path, kind in kinds.items() if kind == PROFILE), None)
    if other is not None:
        raise UsageError(
            f"{harmless(other)[-300:]} is a profile and other files are states: combine states "
            "with states, and profiles with profiles.",
            slug="state-file",
        )
    return _combine_states(arguments)


def _combine_profiles(arguments: argparse.Namespace, *, certain: bool) -> int:
    from cleanai_onnx import profiles

    for name in ("state", "subset", "report", "fail-under", "baseline", "config"):
        if certain and getattr(arguments, name) is not None:
            raise UsageError(
                f"--{name} is for states of parts, and profiles have no use for it: leave it out.",
                slug="state-file",
            )
    if certain and arguments.out is None:
        raise UsageError("-o must name the profile to write; see cleanai-onnx combine --help.")
    merged = profiles.merge([profiles.load(path) for path in arguments.files])
    path = profiles.save(merged, Path(arguments.out))
    return announce_profile(path, merged, quiet=bool(arguments.quiet))


def _combine_states(arguments: argparse.Namespace) -> int:
    gates = gates_said(arguments)

    from cleanai_onnx import report
    from cleanai_onnx.jobs.combining import combine
    from cleanai_onnx.report.names import file_stem
    from cleanai_onnx.states import storage

    wanted = config.parsed("report", arguments.report or ["pdf", "json"], "--report")
    facts, model = storage.described(arguments.files[0])
    folder = Path(arguments.out or ".")
    stem = f"Analysis_{file_stem(Path(model.file).stem)}"
    reports = places_of(wanted, None, folder, stem)
    paths = {"csv": folder / f"{stem}.csv"}
    if facts.layer_scores:
        paths["layers"] = folder / f"{stem}_layers.csv"
    if arguments.state is not None:
        paths["state"] = Path(arguments.state)
    if arguments.subset is not None:
        paths["subset"] = Path(arguments.subset)
    written = [*(path for _, path in reports), *paths.values()]
    refuse_same(written, arguments.files)
    for path in written:
        if path != paths.get("subset"):  # which is checked under its own name
            report.check_destination(path)
    with report.all_or_nothing():
        result = combine(
            arguments.files,
            per_image=paths["csv"],
            per_layer=paths.get("layers"),
            state=paths.get("state"),
            subset_file=paths.get("subset"),
        )
        result = gates.judged(result)
        for name, path in reports:
            report.write(result, name, path)
    return concluded(result, written, quiet=bool(arguments.quiet))
