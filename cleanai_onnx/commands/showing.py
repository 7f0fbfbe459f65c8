"""What the commands say and show: on the terminal if there is one, harmless whatever the names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from cleanai_onnx.errors import OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from cleanai_onnx.config import Settings

__all__ = [
    "announce",
    "check_model_and_output",
    "make_console",
    "point_at_nothing",
    "progress_bar",
    "say",
    "show",
    "told",
]


def say(text: str) -> None:
    """Print to standard error, if there is one that takes it."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        point_at_nothing(sys.stderr)


def point_at_nothing(stream: Any) -> None:
    """Keep the interpreter from failing on `stream` again when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def check_model_and_output(model: str, targets: Iterable[Path], flag: str = "--output") -> None:
    """Fail before the long part where the files could not be written in the end.

    `flag` is the option that names another place for them.
    """
    from cleanai_onnx.report import check_destination

    if not model:
        raise UsageError("the name of the model file is empty: give the path of an .onnx file.")
    if os.path.isfile(model):
        for target in targets:
            check_destination(target, flag)


def show(summary: Callable[[Console], None], written: Iterable[Path]) -> None:
    """Print a summary, and the files that were written."""
    if sys.stdout is None:
        return
    console = make_console()
    try:
        summary(console)
        announce(console, written)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        point_at_nothing(sys.stdout)
        raise OutputError(
            f"the reports are written, but their summary cannot be printed: {error.strerror}; "
            "give --quiet."
        ) from error


def make_console() -> Console:
    """Return a console on standard output."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> NoReturn:
            """Leave it to `main`, which knows the exit code; rich would end with 1."""
            raise BrokenPipeError

    return Plain(highlight=False)


def announce(console: Console, paths: Iterable[Path]) -> None:
    """Print where files were written to."""
    from rich.text import Text

    from cleanai_onnx.report.names import printable

    for number, path in enumerate(paths):
        lead = "Written: " if number == 0 else "         "
        console.print(Text(lead + printable(str(path))), soft_wrap=True)


def told(settings: Settings) -> AbstractContextManager[None]:
    """Tell on standard error what is done inside, if that was asked for with ``--verbose``."""
    if settings["quiet"] or not settings["verbose"]:
        return nullcontext()
    from cleanai_onnx.commands.telling import phases_told

    return phases_told()


@contextmanager
def progress_bar(
    settings: Settings, *titles: str
) -> Iterator[Callable[[int], Callable[[int], None]] | None]:
    """Show a progress bar for each title on standard error, if that is a terminal and it may.

    With ``--verbose`` the phases of the work are told there too.
    """
    with told(settings), _bar(settings, titles) as start:
        yield start


@contextmanager
def _bar(
    settings: Settings, titles: Iterable[str]
) -> Iterator[Callable[[int], Callable[[int], None]] | None]:
    silent = settings["quiet"] or settings["no-progress"]
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
