"""A profile as a file: its arrays, and its facts as JSON; see `cleanai_onnx.container`."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx import container
from cleanai_onnx.container import UnfitError
from cleanai_onnx.errors import UsageError
from cleanai_onnx.profiles.moments import Moments
from cleanai_onnx.profiles.profile import Profile, Relevance
from cleanai_onnx.profiles.sample import Sample
from cleanai_onnx.report.destination import replace_file
from cleanai_onnx.report.json import record_from, text_of
from cleanai_onnx.result import PROFILE_FORMAT_VERSION, ProfileFacts

__all__ = ["FACTS", "content", "digest", "load", "loaded", "save"]

FACTS = "profile.json"
REMEDY = "make one with `cleanai-onnx profile`"


def save(profile: Profile, path: str | Path) -> Path:
    """Write a profile (atomically) and return the path.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    return replace_file(path, content(profile), "--out")


def content(profile: Profile) -> bytes:
    """Return a profile as the bytes of its file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        container.add(archive, FACTS, text_of(profile.facts).encode("utf-8"))
        for name, array in _arrays(profile):
            container.add_array(archive, name, array)
    return file.getvalue()


def digest(profile: Profile) -> str:
    """Return a SHA-256 of what was learnt, whenever and with whatever versions that was done."""
    timeless = replace(profile, facts=replace(profile.facts, started="", versions={}))
    return hashlib.sha256(content(timeless)).hexdigest()


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
    with container.opened(path, "profile", REMEDY, _refused) as archive:
        return _read(archive)


def _refused(sentence: str) -> UsageError:
    return UsageError(sentence)


def loaded(content: bytes) -> Profile:
    """Read a profile that is part of another file, inside `container.opened`."""
    with container.inside(content) as archive:
        return _read(archive)


def _read(archive: zipfile.ZipFile) -> Profile:
    text = container.read_text(archive, FACTS)
    try:
        facts = record_from(ProfileFacts, text, PROFILE_FORMAT_VERSION)
    except UsageError as error:
        raise UnfitError(str(error)) from None
    sizes = {layer.name: layer.channels for layer in facts.layers}
    if any(layer not in sizes for layer in facts.traced) or facts.classes in (0, 1):
        raise UnfitError("its facts contradict each other")
    neurons = sum(layer.size(facts.view) for layer in facts.layers)
    rows = min(facts.images, facts.traces)

    def array(name: str, dtype: Any, *shape: int) -> npt.NDArray[Any]:
        return container.read_array(archive, name, dtype, shape)

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
