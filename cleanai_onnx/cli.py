"""The command line: arguments in, exit code out. No logic."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cleanai_onnx import config
from cleanai_onnx._version import __version__
from cleanai_onnx.errors import CleanAIError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main"]

INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""

DESCRIPTION = "How much of a neural network do your test images exercise?"
EPILOG = """\
examples:
  cleanai-onnx model.onnx images/
  cleanai-onnx model.onnx images/ --preset torchvision --output reports/
  cleanai-onnx report Analysis_model.json --output elsewhere/

exit codes: 0 done, 1 a gate failed, 2 usage, 3 model or images unusable, 4 internal error
"""
GROUPS: dict[config.Group, str] = {
    "output": "output",
    "model": "model",
    "images": "images",
    "preprocessing": "preprocessing (command line > file > beside the model > model > preset)",
    "metrics": "metrics",
    "run": "run",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        if arguments[:1] == ["report"]:
            return _report(_report_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["analyze"]:
            arguments = arguments[1:]
        return _analyze(_analyze_parser().parse_args(arguments))
    except CleanAIError as error:
        if debug:
            traceback.print_exc()
        print(f"cleanai-onnx: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ncleanai-onnx: interrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print(
            "cleanai-onnx: error: out of memory; use a smaller --batch-size, or fewer --taps.",
            file=sys.stderr,
        )
        return 3
    except Exception as error:
        if debug:
            traceback.print_exc()
        kind = type(error).__name__
        text = " ".join(str(error).split())[:300]
        print(
            f"cleanai-onnx: internal error: {kind}: {text}\nThis is a bug. Please report it with "
            "the output of the same command with --debug.",
            file=sys.stderr,
        )
        return CleanAIError.exit_code


def _analyze_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cleanai-onnx",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", help="the ONNX file")
    parser.add_argument(
        "images",
        nargs="+",
        help="a folder of images, an image, a glob pattern, or a .npy or .npz file",
    )
    parser.add_argument("--version", action="version", version=f"cleanai-onnx {__version__}")
    parser.add_argument("--config", metavar="FILE", help="a configuration file (TOML)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for option in config.OPTIONS:
        _add(groups[option.group], option)
    return parser


def _add(group: Any, option: config.Option) -> None:
    # Every default is None, so that the environment and the file can speak where the user did not.
    keywords: dict[str, Any] = {"help": option.help, "default": None, "dest": option.name}
    if option.metavar is None:
        keywords |= {"action": "store_const", "const": True}
    elif option.name == "input-value":
        keywords |= {"action": "append", "metavar": option.metavar}
    else:
        keywords["metavar"] = option.metavar
        if option.many > 1:
            keywords["nargs"] = option.many
    group.add_argument(f"--{option.name}", **keywords)


def _report_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cleanai-onnx report",
        description="Render a stored result again, without running anything.",
        allow_abbrev=False,
    )
    parser.add_argument("result", help="the JSON file of an analysis")
    parser.add_argument("--output", metavar="DIR", help="folder for the PDF (default: beside it)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _analyze(arguments: argparse.Namespace) -> int:
    names = {option.name for option in config.OPTIONS}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    settings = config.gather(given, file=arguments.config)

    # Heavy imports come after the arguments were understood.
    from pathlib import Path

    from cleanai_onnx import report
    from cleanai_onnx.analysis import analyze
    from cleanai_onnx.coverage import Parameters
    from cleanai_onnx.report.names import file_stem

    folder = Path(settings["output"])
    stem = f"Analysis_{file_stem(Path(arguments.model).stem)}"
    paths = {name: folder / f"{stem}.{name}" for name in ("pdf", "json", "csv")}
    _check_model_and_output(Path(arguments.model), paths["json"])
    preprocessing = settings.given("preprocessing", files=False)
    file = preprocessing.pop("preprocessing", None)
    preset = preprocessing.pop("preset", None)
    from_files = settings.given("preprocessing", files=True)
    file = from_files.pop("preprocessing", None) if file is None else file
    with _progress(settings["quiet"] or settings["no-progress"]) as progress:
        result = analyze(
            arguments.model,
            arguments.images,
            parameters=Parameters(
                threshold=settings["threshold"],
                value_threshold=settings["value-threshold"],
                top_k=settings["top-k"],
                intervals=settings["intervals"],
                bounds_from=settings["bounds-from"],
                cleanai_compat=settings["cleanai-compat"],
            ),
            taps=settings["taps"],
            input_name=settings["input"],
            input_values=settings["input-value"],
            preset=preset,
            preprocessing=preprocessing,
            preprocessing_file=file,
            preprocessing_config=from_files,
            device=settings["device"],
            batch_size=settings["batch-size"],
            threads=settings["threads"],
            pair=settings["pair"],
            adjacency=settings["adjacency"],
            limit=settings["limit"],
            seed=settings["seed"],
            strict=settings["strict"],
            per_image=paths["csv"],
            per_layer=folder / f"{stem}_layers.csv" if settings["per-image"] else None,
            progress=progress,
        )
    written = [report.write(result, name, paths[name]) for name in ("json", "pdf")]
    if not settings["quiet"]:
        from cleanai_onnx.report.terminal import summary

        console = _console()
        summary(result, console)
        _announce(console, [written[1], written[0], paths["csv"]])
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from cleanai_onnx import report
    from cleanai_onnx.report.terminal import summary

    source = Path(arguments.result)
    result = report.read(source)
    folder = source.parent if arguments.output is None else Path(arguments.output)
    path = report.write(result, "pdf", folder / f"{source.stem}.pdf")
    console = _console()
    summary(result, console)
    _announce(console, [path])
    return 0


def _check_model_and_output(model: Any, target: Any) -> None:
    """Fail before the long part where the reports could not be written in the end."""
    from cleanai_onnx.report import check_destination

    if str(model) == "":
        raise UsageError("the name of the model file is empty.")
    if model.is_file():
        check_destination(target)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _announce(console: Console, paths: Sequence[Any]) -> None:
    from rich.text import Text

    from cleanai_onnx.report.names import printable

    for number, path in enumerate(paths):
        lead = "Written: " if number == 0 else "         "
        console.print(Text(lead + printable(str(path))), soft_wrap=True)


@contextmanager
def _progress(silent: bool) -> Iterator[Callable[[int], Callable[[int], None]] | None]:
    """Show a progress bar on standard error where that is a terminal."""
    if silent or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def start(total: int) -> Callable[[int], None]:
            task = bar.add_task("Images", total=total)
            return lambda done: bar.update(task, completed=done)

        yield start


if __name__ == "__main__":
    sys.exit(main())
