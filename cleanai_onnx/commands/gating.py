"""The gates of a command: read before the long part, judged after it, and the exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cleanai_onnx import config
from cleanai_onnx.commands.parsing import settings_of
from cleanai_onnx.commands.showing import point_at_nothing, say, show
from cleanai_onnx.config import Settings
from cleanai_onnx.errors import UsageError, harmless

if TYPE_CHECKING:
    from rich.console import Console

    from cleanai_onnx.result import GateOutcome, Result
    from cleanai_onnx.validation import Gate

__all__ = ["Gates", "concluded", "ended", "gates_of_settings", "gates_said"]

FAILED = 1
"""The exit code where a gate failed."""


@dataclass(frozen=True)
class Gates:
    """The gates that settings ask for, and the baseline of those that limit a change."""

    gates: tuple[Gate, ...]
    baseline: Result | None

    @staticmethod
    def of(settings: Settings) -> Gates:
        """Read the gates and the baseline.

        Raises
        ------
        UsageError
            If a gate is not written as one, a baseline is missing, or it cannot be read.
        """
        gates = gates_of_settings(settings)
        relative = next((gate for gate in gates if gate.is_relative), None)
        if relative is None:
            _refuse_lone_baseline(settings)
            return Gates(gates, None)
        path = settings["baseline"]
        if path is None:
            raise UsageError(
                f"the gate {harmless(relative.text)} compares with a baseline: give --baseline, "
                "the JSON of an earlier analysis."
            )
        from cleanai_onnx.report import read

        return Gates(gates, read(path))

    def judged(self, result: Result) -> Result:
        """Return the result with the outcomes of the gates; without gates as it is."""
        if not self.gates:
            return result
        from cleanai_onnx.validation import judge

        return replace(result, gates=judge(result, self.gates, self.baseline))


def gates_said(arguments: argparse.Namespace) -> Gates:
    """Return the gates to judge by; none where nothing was said of them on the command line."""
    said = ("config", "fail-under", "baseline")
    if all(getattr(arguments, name) is None for name in said):
        return Gates((), None)
    return Gates.of(settings_of(arguments, config.OPTIONS))


def gates_of_settings(settings: Settings) -> tuple[Gate, ...]:
    """Read the gates of a file and of the command line.

    A gate of the command line for the whole model takes the place of the file's limit of the same
    metric and view.

    Raises
    ------
    UsageError
        If a gate is not written as one.
    """
    given, table = settings["fail-under"], settings["gates"]
    gates: tuple[Gate, ...] = ()
    if not given and not table:
        return gates

    from cleanai_onnx.validation import gates_of_table, gates_of_text

    if given:
        gates = gates_of_text(given, *_place(settings.origin("fail-under"), "fail-under"))
    if table:
        replaced = {(gate.metric, gate.view, gate.kind, gate.bound) for gate in gates}
        kept = (
            gate
            for gate in gates_of_table(table, *_place(settings.origin("gates"), "gates"))
            if gate.layers is not None
            or (gate.metric, gate.view, gate.kind, gate.bound) not in replaced
        )
        gates = (*kept, *gates)
    return gates


def _place(origin: str, name: str) -> tuple[str, str]:
    """Return what to call the place of a setting in an error, and in an outcome."""
    if origin.startswith("file "):
        file = origin.removeprefix("file ")
        return f"{file}: {name}", file
    if origin.startswith("environment "):
        return origin.removeprefix("environment "), origin
    return f"--{name}", "command line"


def _refuse_lone_baseline(settings: Settings) -> None:
    if settings.origin("baseline").startswith("--"):
        raise UsageError(
            "--baseline is for gates that limit a change, and there is none: give one in the table "
            "gates of a configuration file, such as nc = { max-drop = 0.02 }."
        )


def concluded(result: Result, written: Iterable[Path], *, quiet: bool) -> int:
    """Show the summary of a result, or only the gates that failed, and return the exit code."""
    from cleanai_onnx.report.terminal import summary

    return ended(result.gates, lambda console: summary(result, console), written, quiet=quiet)


def ended(
    gates: Sequence[GateOutcome],
    summary: Callable[[Console], None],
    written: Iterable[Path],
    *,
    quiet: bool,
) -> int:
    """Show a summary, or only the gates that failed, and return the exit code."""
    failed = [outcome for outcome in gates if not outcome.passed]
    code = FAILED if failed else 0
    if quiet:
        for outcome in failed:
            say(f"cleanai-onnx: gate failed: {harmless(outcome.text)}")
        return code
    try:
        show(summary, written)
    except BrokenPipeError:
        if not code:
            raise
        point_at_nothing(sys.stdout)  # the reader is gone, but whoever started us is not
    return code
