"""A profile as a file: a zip of ``.npy`` arrays (numpy reads it as an .npz) and its facts as JSON.

Nothing in it is code: arrays are read without pickle, each is checked against what the facts say of
it, nothing is compressed (so that no file needs more memory than it is long), and a file that does
not fit is refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.profiles.moments import Moments
from cleanai_onnx.profiles.profile import Profile, Relevance
from cleanai_onnx.profiles.sample import Sample
from cleanai_onnx.report.destination import replace_file
from cleanai_onnx.report.json import record_from, text_of
from cleanai_onnx.result import PROFILE_FORMAT_VERSION, ProfileFacts

__all__ = ["load", "save"]

FACTS = "profile.json"
LONGEST_FACTS = 2**26
"""Bytes; the facts of a model with many thousands of layers are far shorter."""


def save(profile: Profile, path: str | Path) -> Path:
    """Write a profile (atomically) and return the path.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, FACTS, text_of(profile.facts).encode("utf-8"))
        for name, array in _arrays(profile):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            _add(archive, f"{name}.npy", content.getvalue())
    return replace_file(path, file.getvalue(), "--out")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A date of its own, so that the same profile gives the same bytes.
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def _arrays(profile: Profile) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for name in ("count", "low", "high", "mean", "squares"):
        yield name, getattr(profile.moments, name)
    for name in ("keys", "classes", "labels"):
        yield name, getattr(profile.sample, name)
    for number, layer in enumerate(profile.facts.traced):
        yield f"traces_{number}", profile.sample.traces[layer]
    if profile.relevance is not None:
        yield "relevance_images", profile.relevance.images
        for number, layer in enumerate(profile.facts.traced):
            yield f"relevance_{number}", profile.relevance.sums[layer]


def load(path: str | Path) -> Profile:
    """Read a profile.

    Raises
    ------
    UsageError
        If the file is missing, broken, no profile, or of a newer version than this program knows.
    """
    name = shown(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except _UnfitError as unfit:
        raise UsageError(f"{name} is no usable profile: {unfit}.") from None
    except OSError as error:
        raise UsageError(f"cannot read the profile {name}: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError) as error:
        raise UsageError(
            f"{name} is no profile, or a broken one ({shown(str(error), 120)}): make one with "
            "`cleanai-onnx profile`."
        ) from error


class _UnfitError(Exception):
    """What does not fit; the text is a part of a sentence."""


def _read(archive: zipfile.ZipFile) -> Profile:
    if FACTS not in archive.namelist():
        raise _UnfitError(f"it has no {FACTS}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise _UnfitError("its members are compressed")
    if archive.getinfo(FACTS).file_size > LONGEST_FACTS:
        raise _UnfitError(f"its {FACTS} is too long")
    try:
        facts = record_from(
            ProfileFacts, archive.read(FACTS).decode("utf-8"), PROFILE_FORMAT_VERSION
        )
    except UsageError as error:
        raise _UnfitError(str(error)) from None
    sizes = {layer.name: layer.channels for layer in facts.layers}
    if any(layer not in sizes for layer in facts.traced) or facts.classes in (0, 1):
        raise _UnfitError("its facts contradict each other")
    neurons = sum(layer.size(facts.view) for layer in facts.layers)
    rows = min(facts.images, facts.traces)

    def array(name: str, dtype: Any, *shape: int) -> npt.NDArray[Any]:
        with archive.open(f"{name}.npy") as member:
            return _array(member, name, np.dtype(dtype), shape)

    moments = Moments(
        array("count", np.int64, neurons),
        array("low", np.float32, neurons),
        array("high", np.float32, neurons),
        array("mean", np.float64, neurons),
        array("squares", np.float64, neurons),
    )
    traces: Mapping[str, Any] = {
        layer: array(f"traces_{number}", np.float32, rows, sizes[layer])
        for number, layer in enumerate(facts.traced)
    }
    if not facts.traced:
        rows = 0
    sample = Sample(
        facts.traces,
        array("keys", np.uint64, rows),
        array("classes", np.int64, rows),
        array("labels", np.int64, rows),
        traces,
    )
    relevance = None
    if facts.composite:
        kinds = facts.classes or 1
        relevance = Relevance(
            array("relevance_images", np.int64, kinds),
            {
                layer: array(f"relevance_{number}", np.float64, kinds, sizes[layer])
                for number, layer in enumerate(facts.traced)
            },
        )
    return Profile(facts, moments, sample, relevance)


def _array(
    member: IO[bytes], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    version = np.lib.format.read_magic(member)
    if version != (1, 0):
        raise _UnfitError(f"its array {name} has an unknown format")
    found, fortran, kind = np.lib.format.read_array_header_1_0(member)
    if found != shape or kind != dtype or fortran:
        raise _UnfitError(
            f"its array {name} is {kind} {list(found)} where {dtype} {list(shape)} is wanted"
        )
    data = member.read()
    if len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise _UnfitError(f"its array {name} is cut short")
    return np.frombuffer(data, dtype).reshape(shape)
