"""A part as a file: facts and the part's result as JSON, arrays beside them.

See `cleanai_onnx.container` for what such a file may hold.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx import container, coverage, runtime
from cleanai_onnx.container import UnfitError
from cleanai_onnx.coverage import PROFILED, ProfileParameters
from cleanai_onnx.errors import UsageError
from cleanai_onnx.measuring.cover_items import CoverItems
from cleanai_onnx.measuring.criteria import find_criteria
from cleanai_onnx.profiles import Profile, learnt_from, require_same
from cleanai_onnx.profiles import storage as profile_storage
from cleanai_onnx.report import json as result_json
from cleanai_onnx.report.destination import replace_by
from cleanai_onnx.result import LayerFacts, ModelFacts, Result
from cleanai_onnx.states.covers import StoredCovers, add_covers
from cleanai_onnx.states.images import REMEDY, Shape, StoredImages, add_images, refused
from cleanai_onnx.states.part import STATE_FORMAT_VERSION, CoverFacts, PairImage, Part, StateFacts

__all__ = [
    "FACTS",
    "described",
    "load",
    "restored_against",
    "restored_pair",
    "save",
    "stored_against",
    "stored_pair",
]

FACTS = "state.json"
RESULT = "result.json"
METRICS = "metrics"
PROFILE = "profile"


def save(part: Part, path: str | Path) -> Path:
    """Write a part (atomically) and return the path.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    return replace_by(path, lambda stream: _write(part, stream), "--state")


def _write(part: Part, stream: Any) -> None:
    size = sum(
        len(name.encode("utf-8", "surrogatepass"))
        for rows in part.images.rows()
        for name in rows.names
    )
    facts = replace(part.facts, name_bytes=size)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        container.add(archive, FACTS, result_json.text_of(facts).encode("utf-8"))
        container.add(archive, RESULT, result_json.render(part.result))
        tree = {
            "measured": coverage.stored(part.state),
            "against": stored_against(part.against),
            "pair": stored_pair(part.pair),
            "combinations": [] if part.covers is None else part.covers.items.combinations,
        }
        container.add_tree(archive, METRICS, tree)
        if part.profile is not None:
            container.add(archive, PROFILE, profile_storage.content(part.profile))
        add_images(archive, part.images)
        if part.covers is not None:
            add_covers(archive, part.covers, len(part.images))


def stored_against(against: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the states of `PROFILED` as trees."""
    return [family.stored(state) for family, state in zip(PROFILED, against, strict=False)]


def stored_pair(pair: Sequence[PairImage]) -> list[dict[str, Any]]:
    """Return the images of a pair as trees."""
    return [
        {
            "index": image.index,
            "name": image.name,
            "place": image.place,
            "layers": [np.asarray(layer, np.float32).reshape(-1) for layer in image.activations],
        }
        for image in pair
    ]


def described(path: str | Path) -> tuple[StateFacts, ModelFacts]:
    """Return what a state says of its run, and of its model, without reading the rest.

    Raises
    ------
    UsageError
        As `load`.
    """
    with container.opened(path, "state", REMEDY, refused) as archive:
        facts, result = _facts(archive)
    return facts, result.model


def load(path: str | Path) -> Part:
    """Read a part. The figures of its images are left in the file until they are asked for.

    Raises
    ------
    UsageError
        If the file is missing, broken, no state, or of a newer version than this program knows.
    """
    with container.opened(path, "state", REMEDY, refused) as archive:
        facts, result = _facts(archive)
        profile = None
        if facts.profile_parameters is not None:
            profile = profile_storage.loaded(archive.read(PROFILE))
            try:
                require_same(profile, result.model.sha256, result.layers)
            except UsageError as error:
                raise UnfitError(str(error).rstrip(".")) from None
        _require_scores(facts, profile)
        tree = container.read_tree(archive, METRICS)
        state = coverage.restored(
            _member(tree, "measured"), result.layers, facts.parameters, runtime.host()
        )
        if state.inputs != result.images.used or not state.inputs:
            raise UnfitError("its parts are of different numbers of images")
        against = restored_against(tree, initial_against(profile, facts.profile_parameters))
        pair = restored_pair(tree, result.layers)
        covers = None
        if facts.covers is not None:
            items = _items(facts.covers, state, against, profile)
            items.restore(container.list_in(tree, "combinations"))
            covers = StoredCovers(path, state.inputs, items)
    images = StoredImages(
        path, state.inputs, facts.name_bytes, shape_of(facts, result), facts.positions
    )
    return Part(facts, result, profile, state, against, pair, images, covers)


def _items(
    facts: CoverFacts, state: coverage.State, against: Sequence[Any], profile: Profile | None
) -> CoverItems:
    """Return how what the images cover is numbered; the criteria must be those that there are."""
    try:
        learnt = None if profile is None else learnt_from(profile)
        known = find_criteria([one.name for one in facts.criteria], state, against, learnt)
        if not known or known != facts.criteria or facts.most < 1:
            raise UnfitError("its images cover something else than there is")
        return CoverItems(known, facts.most)
    except UsageError as error:
        raise UnfitError(str(error).rstrip(".")) from None


def _facts(archive: zipfile.ZipFile) -> tuple[StateFacts, Result]:
    try:
        facts = result_json.record_from(
            StateFacts, container.read_text(archive, FACTS), STATE_FORMAT_VERSION
        )
        result = result_json.loads(container.read_text(archive, RESULT))
    except UsageError as error:
        raise UnfitError(str(error).rstrip(".")) from None
    for layer in result.layers:
        _require_sound(layer)
    layers = range(len(result.layers))
    if any(len(edge) != 2 or not set(edge) <= set(layers) for edge in facts.adjacency or ()) or len(
        facts.pair
    ) not in (0, 2):
        raise UnfitError("its facts contradict each other")
    if facts.positions < result.images.used:
        raise UnfitError("its facts contradict each other")
    return facts, result


def _require_scores(facts: StateFacts, profile: Profile | None) -> None:
    """Refuse scores that no run has."""
    own = coverage.score_names(facts.parameters)
    criteria = () if facts.covers is None else facts.covers.criteria
    known = [*own, *(f"{coverage.ADDS}{one.name}" for one in criteria if one.family is None)]
    if profile is not None:
        learnt = learnt_from(profile)
        known += [name for family in PROFILED for name in family.scores(learnt)]
    for names, possible in ((facts.scores, known), (facts.layer_scores, own)):
        if len(set(names)) < len(names) or not set(names) <= set(possible):
            raise UnfitError("its images have unknown scores")


def shape_of(facts: StateFacts, result: Result) -> Shape:
    """Return how much there is of each image."""
    layers = (len(result.layers), len(facts.layer_scores)) if facts.layer_scores else None
    return Shape(len(facts.scores), layers)


def _require_sound(layer: LayerFacts) -> None:
    """Refuse a layer whose numbers of neurons are not those of its shape."""
    axis = layer.channel_axis
    if (
        not all(length > 0 for length in layer.shape)
        or not 0 <= axis < len(layer.shape)
        or layer.units != math.prod(layer.shape)
        or layer.channels != layer.shape[axis]
    ):
        raise UnfitError("the shape of a layer contradicts its size")


def initial_against(
    profile: Profile | None, parameters: ProfileParameters | None
) -> tuple[Any, ...]:
    """Return the states of `PROFILED` before the first image; none without a profile."""
    if profile is None or parameters is None:
        return ()
    learnt = learnt_from(profile)
    return tuple(family.init(learnt, parameters) for family in PROFILED)


def restored_against(tree: Mapping[str, Any], initial: Sequence[Any]) -> tuple[Any, ...]:
    """Return the states of `PROFILED` that are stored in a tree."""
    trees = container.list_in(tree, "against", len(initial))
    if not all(isinstance(one, dict) for one in trees):
        raise UnfitError("the state of a metric is missing")
    return tuple(
        family.restored(state, one)
        for family, state, one in zip(PROFILED, initial, trees, strict=False)
    )


def restored_pair(tree: Mapping[str, Any], layers: Sequence[LayerFacts]) -> tuple[PairImage, ...]:
    """Return the images of a pair that are stored in a tree."""
    found = []
    for one in container.list_in(tree, "pair"):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise UnfitError("an image of the pair has no name")
        place = one.get("place")
        if place not in (None, 0, 1) or isinstance(place, bool):
            raise UnfitError("an image of the pair has no place")
        arrays = container.list_in(one, "layers", len(layers))
        activations = [
            container.array_in({"pair": array}, "pair", np.float32, layer.units)
            for layer, array in zip(layers, arrays, strict=True)
        ]
        found.append(PairImage(container.whole_in(one, "index"), one["name"], place, activations))
    if len(found) > 2:
        raise UnfitError("a pair has more than two images")
    return tuple(found)


def _member(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    if not isinstance(found, dict):
        raise UnfitError(f"it has no {name}")
    return found
