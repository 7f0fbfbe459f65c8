"""The files that a command writes: which reports, where, and none twice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cleanai_onnx.errors import UsageError
from cleanai_onnx.formats import FORMATS

__all__ = ["places_of", "refuse_same"]

Report = tuple[str, Path]
"""The name of a format, and the file to write."""


def places_of(
    reports: Sequence[str], attest: str | None, folder: Path, stem: str
) -> tuple[Report, ...]:
    """Return the format and the file of each report that was asked for.

    Parameters
    ----------
    reports
        ``html``, or ``html:PATH``; each once in the same place.
    attest
        The same as a report ``attestation:PATH``; empty for its default place, None for none.
    folder, stem
        Where a report goes that names no file, and how its name begins.
    """
    wanted = list(dict.fromkeys(reports))
    if attest is not None:
        wanted.append(f"attestation:{attest}" if attest else "attestation")
    found = []
    for report in wanted:
        name, _, path = report.partition(":")
        default = stem + FORMATS[name].ending
        if not path:
            place = folder / default
        elif path.endswith(("/", os.sep)) or os.path.isdir(path):
            place = Path(path) / default
        else:
            place = Path(path)
        found.append((name, place))
    return tuple(found)


def refuse_same(written: Iterable[Path], read: Iterable[str | Path] = ()) -> None:
    """Refuse files to write that are the same, or that would replace one that is read.

    Raises
    ------
    UsageError
        With the path that is there twice.
    """
    sources = {_real(path) for path in read}
    seen: set[str] = set()
    for path in written:
        place = _real(path)
        if place in sources:
            raise UsageError(f"{path} is read, and no report may replace it: give another path.")
        if place in seen:
            raise UsageError(f"two files would be written to {path}: give one another path.")
        seen.add(place)


def _real(path: str | Path) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # what is no path at all is refused where it is opened
        return os.fspath(path)
