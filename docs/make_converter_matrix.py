"""Fill the table of routes and cases in docs/converters.md from real conversions.

    python docs/make_converter_matrix.py            write the table
    python docs/make_converter_matrix.py --print    show it

Needs the extras ``keras``, ``keras-jax`` and ``torch``, and this checkout. Each backend of Keras
gets a process of its own, which loads, exports and compares every model of
tests/converters/keras_cases.py by every route of that backend, as a conversion does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "converters.md"
BEGIN = "<!-- keras matrix: begin (docs/make_converter_matrix.py) -->"
END = "<!-- keras matrix: end -->"

BACKENDS = ("tensorflow", "torch", "jax")


@dataclass(frozen=True)
class Outcome:
    """What became of one case by one route: the reason it failed, or the difference."""

    reason: str
    maximum: float
    magnitude: float
    repaired: bool


Matrix = dict[str, dict[str, Outcome]]
"""Route, case: outcome."""


def measure(folder: Path) -> Matrix:
    """Convert every case by every route, in `folder`."""
    _child(folder, "save", BACKENDS[0])
    matrix: Matrix = {}
    for backend in BACKENDS:
        _child(folder, "convert", backend)
        found = json.loads((folder / f"{backend}.json").read_text(encoding="utf-8"))
        for route, cases in found.items():
            matrix[route] = {case: Outcome(**outcome) for case, outcome in cases.items()}
    return matrix


def _child(folder: Path, step: str, backend: str) -> None:
    from cleanai_onnx.converters.keras_routes import routes_of

    variables = routes_of(backend)[0].environment
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    subprocess.run(
        [sys.executable, "-P", str(Path(__file__).resolve()), f"--{step}", backend, str(folder)],
        env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=None if "--verbose" in sys.argv else subprocess.DEVNULL,
    )


def _convert(backend: str, folder: Path) -> None:
    from cleanai_onnx.converters.conversion import FailedAttemptError
    from cleanai_onnx.converters.isolation import one_line
    from cleanai_onnx.converters.keras_routes import routes_of
    from cleanai_onnx.converters.parity import ATOL, RTOL
    from cleanai_onnx.converters.trial import Terms, load_source, try_source
    from tests.converters.keras_cases import CASES

    found: dict[str, dict[str, object]] = {}
    for route in routes_of(backend):
        found[route.name] = {}
        for name in CASES:
            place = folder / f"{backend}_{route.options.get('exporter', '')}_{name}"
            place.mkdir()
            request = {"path": str(folder / f"{name}.keras"), "format": "keras"}
            try:
                trial = try_source(
                    load_source(route, request), place, route.batch, Terms(RTOL, ATOL)
                )
            except FailedAttemptError as error:
                outcome = Outcome(one_line(str(error)), 0.0, 0.0, False)
            else:
                parity = trial.parity
                repaired = any("includes" in remark for remark in trial.remarks)
                outcome = Outcome("", parity.maximum, parity.magnitude, repaired)
            found[route.name][name] = asdict(outcome)
    (folder / f"{backend}.json").write_text(json.dumps(found), encoding="utf-8")


def table(matrix: Matrix, versions: Mapping[str, str]) -> str:
    """Return the table in Markdown, with the reason of each failure below it."""
    from tests.converters.keras_cases import CASES

    routes = list(matrix)
    lines = [f"| model | {' | '.join(routes)} |", f"|---|{'---|' * len(routes)}"]
    reasons: list[str] = []
    for name, (words, _) in CASES.items():
        cells = []
        for route in routes:
            outcome = matrix[route][name]
            if outcome.reason:
                if outcome.reason not in reasons:
                    reasons.append(outcome.reason)
                cells.append(f"fails ({reasons.index(outcome.reason) + 1})")
            else:
                # Rounded up to a power of ten, because the last digits differ between machines.
                digits = f"{outcome.maximum:.0e}".split("e") if outcome.maximum else ["0", "0"]
                bound = f"< 1e{int(digits[1]) + 1}" if outcome.maximum else "0"
                cells.append(f"{bound}{', repaired' if outcome.repaired else ''}")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    lines += [
        "",
        "A figure bounds the largest absolute difference of any output from the source's; "
        "*repaired* means that the exporter's file was corrected before it was compared. "
        "What fails:",
        "",
    ]
    lines += [f"{n}. {_plain(reason)}" for n, reason in enumerate(reasons, 1)]
    known = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join([*lines, "", f"Measured with {known}.", ""])


def _plain(reason: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in reason)


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part."""
    from cleanai_onnx.converters.keras_source import versions_of

    return versions_of("keras", "tensorflow", "tensorflow-cpu", "tf2onnx", "torch", "onnxscript",
                       "jax", "jax2onnx", "onnx", "onnxruntime")  # fmt: skip


def filled(page: str, content: str) -> str:
    """Return the page with the text between its markers replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} lacks the markers {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{content}{END}{after}"


def main() -> None:
    """Measure, and write or show the table; or do one step in a child process."""
    if "--save" in sys.argv:
        from tests.converters.keras_cases import save_all

        save_all(Path(sys.argv[-1]))
        return
    if "--convert" in sys.argv:
        _convert(sys.argv[-2], Path(sys.argv[-1]))
        return
    sys.path.append(str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        content = table(measure(Path(folder)), versions())
    if "--print" in sys.argv:
        print(content)
    else:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
