"""The command line: arguments in, exit code out. No logic."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from cleanai_onnx import config, convert_command, explain_command, profile_command
from cleanai_onnx._version import __version__
from cleanai_onnx.errors import CleanAIError, OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from cleanai_onnx.profiles import Profile
    from cleanai_onnx.result import Result

__all__ = ["main", "run"]

INTERRUPTED = 128 + signal.SIGINT
"""What shells expect of a program that Ctrl-C ended."""

DESCRIPTION = "How much of a neural network do your test images exercise?"
EPILOG = """\
examples:
  cleanai-onnx model.onnx images/
  cleanai-onnx model.onnx images/ --preset torchvision --output reports/
  cleanai-onnx report Analysis_model.json --output elsewhere/
  cleanai-onnx convert model.keras --analyze images/
  cleanai-onnx explain model.onnx images/
  cleanai-onnx profile model.onnx train/ -o model.profile
  cleanai-onnx model.onnx test/ --profile model.profile
  cleanai-onnx model.onnx test/ --train train/
  cleanai-onnx combine a.profile b.profile -o all.profile
  cleanai-onnx model.onnx test/ --subset keep.txt

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
REPEATED = frozenset({"input-value", "input-shape", "layer"})
"""Options whose flag may be given several times."""


def run() -> int:
    """Be the program: `main`, with what only a process of its own may do.

    Of the second or two that a single image takes, more than a third would go into looking for
    reference cycles among the objects of the imports, and into taking JAX and onnxruntime apart.
    """
    # Each batch leaves few objects behind and no cycles among its arrays.
    gc.set_threshold(100_000, 50, 100)
    code: list[int] = []
    # Registered first, it is called last: after the threads ended and all others were called.
    atexit.register(_end_at_once, code)
    code.append(main())
    return code[0]


def _end_at_once(code: Sequence[int]) -> None:
    """End the process without taking the interpreter apart, if `main` gave an exit code."""
    if not code:
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return  # the interpreter tries again, and says what is wrong
    os._exit(code[0])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Without `argv` it is the program: then it also takes over Ctrl-C and the process's warnings.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if argv is None:
        _end_on_signals()
        if not debug and not sys.warnoptions:
            # What numpy and JAX warn of is for programmers; the report has its own notes.
            warnings.simplefilter("ignore")
    try:
        if arguments[:1] == ["report"]:
            return _report(_report_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["convert"]:
            return _convert(_convert_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["explain"]:
            return _explain(_explain_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["profile"]:
            return _profile(_profile_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["combine"]:
            return _combine(_combine_parser().parse_args(arguments[1:]))
        if arguments[:1] == ["analyze"]:
            arguments = arguments[1:]
        return _analyze(_analyze_parser().parse_args(arguments))
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); there is nobody to tell.
        _point_at_nothing(sys.stdout)
        return 0
    except KeyboardInterrupt:
        _say("cleanai-onnx: interrupted.")
        return INTERRUPTED
    except Exception as error:
        if debug:
            _say(traceback.format_exc())
        text, code = _explained(error)
        _say(f"cleanai-onnx: {text}")
        return code


def _explained(error: Exception) -> tuple[str, int]:
    """Return what an error means to the user, and the exit code."""
    if isinstance(error, CleanAIError):
        return f"error: {_harmless(str(error))}", error.exit_code
    if isinstance(error, MemoryError):
        return "error: out of memory; use a smaller --batch-size, or fewer --taps.", 3
    text = _harmless(" ".join(f"{type(error).__name__}: {error}".split())[:300])
    return (
        f"internal error: {text}\nThis is a bug. Please report it with the output of the same "
        "command with --debug.",
        CleanAIError.exit_code,
    )


def _harmless(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _say(text: str) -> None:
    """Print to standard error, if there is one that takes it."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _point_at_nothing(sys.stderr)


def _point_at_nothing(stream: Any) -> None:
    """Keep the interpreter from failing on `stream` again when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _end_on_signals() -> None:
    """Let Ctrl-C and a request to end do so at once, and leave nothing half-written.

    An exception would not do: raised inside one of the many callbacks of JAX it is swallowed, and
    raised while an extension is imported it aborts the process.
    """

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        for name in ("cleanai_onnx.converters.isolation", "cleanai_onnx.report.destination"):
            if name in sys.modules:
                sys.modules[name].discard_unfinished()
        show_cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
        word = "interrupted" if number == signal.SIGINT else "ended"
        # Not through sys.stderr: the signal may have come while that was being written to.
        with suppress(OSError):
            os.write(2, f"{show_cursor}\ncleanai-onnx: {word}.\n".encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        # A parent that ignores a signal (nohup, a shell's &) wants it ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError):  # not the main thread
                signal.signal(number, end)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help.")


def _analyze_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cleanai-onnx",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cleanai-onnx {__version__}")
    _add_model_and_images(parser)
    _add_groups(parser, lambda _: True)
    learning = parser.add_argument_group("learning (with --train; as in the command profile)")
    for option in config.LEARNING:
        _add(learning, option)
    return parser


def _add_model_and_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the ONNX file")
    parser.add_argument(
        "images",
        nargs="+",
        help="a folder of images, an image, a glob pattern, a .txt file that lists such, or a "
        ".npy or .npz file",
    )
    parser.add_argument("--config", metavar="FILE", help="a configuration file (TOML)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_groups(parser: argparse.ArgumentParser, taken: Callable[[config.Option], bool]) -> None:
    """Add the options of the analysis that a command takes, under their headings."""
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for option in filter(taken, config.OPTIONS):
        _add(groups[option.group], option)


def _add(group: Any, option: config.Option) -> None:
    # Every default is None, so that the environment and the file can speak where the user did not.
    keywords: dict[str, Any] = {"help": option.help, "default": None, "dest": option.name}
    if option.metavar is None:
        keywords |= {"action": "store_const", "const": True}
    elif option.name in REPEATED:
        keywords |= {"action": "append", "metavar": option.metavar}
    else:
        keywords["metavar"] = option.metavar
        if option.many > 1:
            keywords["nargs"] = option.many
    group.add_argument(f"--{option.name}", **keywords)


def _report_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cleanai-onnx report",
        description="Render a stored result again, without running anything.",
        allow_abbrev=False,
    )
    parser.add_argument("result", help="the JSON file of an analysis")
    parser.add_argument("--output", metavar="DIR", help="folder for the PDF (default: beside it)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _convert_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cleanai-onnx convert",
        description="Convert a PyTorch or Keras model to ONNX, and prove that it is the same one.",
        epilog="exit codes: 0 converted and proved, 2 usage, 3 source unusable or not proved",
        allow_abbrev=False,
    )
    convert_command.add_arguments(parser)
    for option in config.CONVERSION:
        _add(parser, option)
    parser.add_argument("--reports", dest="output", metavar="DIR", help="with --analyze: folder")
    parser.add_argument("--config", metavar="FILE", help="a configuration file (TOML)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    _add_groups(parser, lambda one: one.name != "output")
    return parser


def _explain_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cleanai-onnx explain",
        description="Show which pixels speak for and against a model's decision on each image, by "
        "layer-wise relevance propagation.",
        epilog="exit codes: 0 done, 2 usage, 3 model or images unusable, 4 internal error",
        allow_abbrev=False,
    )
    _add_model_and_images(parser)
    explanation = parser.add_argument_group("explanation")
    for option in config.EXPLANATION:
        _add(explanation, option)
    left_out = explain_command.NOT_TAKEN
    _add_groups(parser, lambda one: one.group != "metrics" and one.name not in left_out)
    return parser


def _profile_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cleanai-onnx profile",
        description="Learn from training images what the neurons of a model do, for the metrics "
        "that measure a suite against it.",
        epilog="exit codes: 0 done, 2 usage, 3 model or images unusable, 4 internal error",
        allow_abbrev=False,
    )
    _add_model_and_images(parser)
    profile_command.add_arguments(parser)
    learning = parser.add_argument_group("learning")
    for option in config.LEARNING:
        _add(learning, option)
    left_out = profile_command.NOT_TAKEN
    _add_groups(parser, lambda one: one.group != "metrics" and one.name not in left_out)
    return parser


def _combine_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cleanai-onnx combine",
        description="Merge profiles of one model: the result is that of one pass over all images.",
        allow_abbrev=False,
    )
    profile_command.add_combine_arguments(parser)
    return parser


def _profile(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, config.OPTIONS, config.LEARNING)
    _check_model_and_output(arguments.model, [profile_command.target(arguments)])
    with _progress(settings["quiet"] or settings["no-progress"]) as progress:
        written = profile_command.profile(arguments, settings, _image_options(settings), progress)
    return _keep(*written, quiet=settings["quiet"])


def _combine(arguments: argparse.Namespace) -> int:
    return _keep(*profile_command.combine(arguments), quiet=arguments.quiet)


def _keep(path: Path, profile: Profile, *, quiet: bool) -> int:
    """Say what a profile that was written holds."""
    if not quiet:
        _print(lambda console: profile_command.show(profile, console), [path])
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, config.OPTIONS, config.CONVERSION)

    from cleanai_onnx.converters.conversion import ConversionError

    if not settings["quiet"] and sys.stderr is not None and sys.stderr.isatty():
        _say("Converting and comparing; this takes from seconds to minutes ...")
    try:
        path, record = convert_command.convert(arguments, settings)
    except ConversionError as error:
        _say("\n".join(convert_command.failure(error.attempts)))
        name = _harmless(os.path.basename(os.path.normpath(arguments.source)))
        _say(f"cleanai-onnx: error: {name} was not converted, see above; no file was written.")
        return error.exit_code
    if not settings["quiet"] and sys.stdout is not None:
        for line in convert_command.verdict(record):
            print(line)
        _announce(_console(), [path])
    if arguments.analyze is None:
        return 0
    arguments.model, arguments.images = str(path), [arguments.analyze]
    return _analyze(arguments)


def _settings(arguments: argparse.Namespace, *tables: Iterable[config.Option]) -> config.Settings:
    names = {option.name for table in tables for option in table}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return config.gather(given, file=arguments.config)


def _explain(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, config.OPTIONS, config.EXPLANATION)

    from pathlib import Path

    from cleanai_onnx import report
    from cleanai_onnx.report.names import file_stem

    stem = Path(settings["output"]) / f"Relevance_{file_stem(Path(arguments.model).stem)}"
    path = stem.with_name(f"{stem.name}.json")
    _check_model_and_output(arguments.model, [path])
    silent = settings["quiet"] or settings["no-progress"]
    with report.all_or_nothing(), _progress(silent) as progress:
        summary = explain_command.explain(
            arguments.model,
            arguments.images,
            settings,
            path,
            folder=stem,
            progress=progress,
            **_image_options(settings),
        )
    if not settings["quiet"]:
        _print(summary.show, [path, stem])
    return 0


def _image_options(settings: config.Settings) -> dict[str, Any]:
    """Return what says which images there are and how they become inputs."""
    preprocessing = settings.given("preprocessing", files=False)
    file = preprocessing.pop("preprocessing", None)
    preset = preprocessing.pop("preset", None)
    from_files = settings.given("preprocessing", files=True)
    file = from_files.pop("preprocessing", None) if file is None else file
    return {
        "input_name": settings["input"],
        "input_values": settings["input-value"],
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": file,
        "preprocessing_config": from_files,
        "device": settings["device"],
        "batch_size": settings["batch-size"],
        "threads": settings["threads"],
        "limit": settings["limit"],
        "seed": settings["seed"],
        "strict": settings["strict"],
    }


def _analyze(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments, config.OPTIONS, config.LEARNING)
    profile_command.require_train(settings)

    # Heavy imports come after the arguments were understood.
    from pathlib import Path

    from cleanai_onnx import report
    from cleanai_onnx.analysis import analyze
    from cleanai_onnx.coverage import Parameters, ProfileParameters
    from cleanai_onnx.report.names import file_stem

    folder = Path(settings["output"])
    stem = f"Analysis_{file_stem(Path(arguments.model).stem)}"
    paths = {name: folder / f"{stem}.{name}" for name in ("pdf", "json", "csv")}
    if settings["per-image"]:
        paths["layers"] = folder / f"{stem}_layers.csv"
    if settings["subset"] is not None:
        paths["subset"] = Path(settings["subset"])
    elif settings["subset-metrics"]:
        raise UsageError("--subset-metrics needs --subset, which names the file to write.")
    _check_model_and_output(arguments.model, paths.values())
    silent = settings["quiet"] or settings["no-progress"]
    trains = settings["train"] is not None
    titles = ("Training images", "Images") if trains else ("Images",)
    with report.all_or_nothing(), _progress(silent, *titles) as progress:
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
            pair=settings["pair"],
            adjacency=settings["adjacency"],
            **_image_options(settings),
            relevance=not settings["no-relevance"],
            per_image=paths["csv"],
            per_layer=paths.get("layers"),
            profile=settings["profile"],
            train=settings["train"],
            learning=profile_command.learning(settings) if trains else None,
            profile_parameters=ProfileParameters(
                sections=settings["sections"],
                margin=settings["margin"],
                important=settings["important"],
                clusters=settings["clusters"],
                compat=settings["compat"],
                surprise_buckets=settings["surprise-buckets"],
                surprise_bounds=settings["surprise-bounds"],
            ),
            subset=settings["subset-metrics"],
            subset_file=paths.get("subset"),
            progress=progress,
        )
        for name in ("json", "pdf"):
            report.write(result, name, paths[name])
    if not settings["quiet"]:
        _show(result, paths.values())
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from cleanai_onnx import report

    source = Path(arguments.result)
    result = report.read(source)
    folder = source.parent if arguments.output is None else Path(arguments.output)
    path = report.write(result, "pdf", folder / f"{source.stem}.pdf")
    _show(result, [path])
    return 0


def _check_model_and_output(model: str, targets: Iterable[Path]) -> None:
    """Fail before the long part where the reports could not be written in the end."""
    from cleanai_onnx.report import check_destination

    if not model:
        raise UsageError("the name of the model file is empty: give the path of an .onnx file.")
    if os.path.isfile(model):
        for target in targets:
            check_destination(target)


def _show(result: Result, written: Iterable[Path]) -> None:
    """Print the summary, and where the reports are."""
    from cleanai_onnx.report.terminal import summary

    _print(lambda console: summary(result, console), written)


def _print(summary: Callable[[Console], None], written: Iterable[Path]) -> None:
    if sys.stdout is None:
        return
    console = _console()
    try:
        summary(console)
        _announce(console, written)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _point_at_nothing(sys.stdout)
        raise OutputError(
            f"the reports are written, but their summary cannot be printed: {error.strerror}; "
            "give --quiet."
        ) from error


def _console() -> Console:
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> NoReturn:
            """Leave it to `main`, which knows the exit code; rich would end with 1."""
            raise BrokenPipeError

    return Plain(highlight=False)


def _announce(console: Console, paths: Iterable[Path]) -> None:
    from rich.text import Text

    from cleanai_onnx.report.names import printable

    for number, path in enumerate(paths):
        lead = "Written: " if number == 0 else "         "
        console.print(Text(lead + printable(str(path))), soft_wrap=True)


@contextmanager
def _progress(
    silent: bool, *titles: str
) -> Iterator[Callable[[int], Callable[[int], None]] | None]:
    """Show a progress bar on standard error where that is a terminal, and one for each title."""
    if silent or sys.stderr is None or not sys.stderr.isatty():
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

    left = iter(titles)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def start(total: int) -> Callable[[int], None]:
            task = bar.add_task(next(left, "Images"), total=total)
            return lambda done: bar.update(task, completed=done)

        yield start


if __name__ == "__main__":
    sys.exit(run())
