"""Parts of a suite that were measured apart become one, as if they had been measured together.

Whatever is counted is equal, integer for integer, to what one run over all images counts. What
depends on the images that came before (`nbc`, whose bounds are those of the first images, and what
each image adds to those before it, where it was not recorded what it covers) cannot be known of
parts, and is left out; notes say so.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleanai_onnx import coverage, runtime
from cleanai_onnx.coverage import PROFILED
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs import Manifest
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.measuring.featured_relevance import INCOMPLETE, incomplete
from cleanai_onnx.measuring.findings import find
from cleanai_onnx.measuring.individuals import FEATURED
from cleanai_onnx.measuring.subset import SubsetRecorder
from cleanai_onnx.provenance import configuration_sha256
from cleanai_onnx.result import FeaturedImage, ImageFacts, Note, Result, RunFacts, SkippedImage
from cleanai_onnx.selection.text import TextRecord
from cleanai_onnx.states.images import Images, Rows, Shape
from cleanai_onnx.states.part import CoverFacts, PairImage, Part, StateFacts

__all__ = ["merge", "pair_evidence"]

SEVERAL = "images-in-several-parts"
"""The slug of a note: images of one part are also in another."""
_OF_ALL = frozenset(
    {"not-a-number", "pair-not-used", "parts-without-bounds", "no-image-after-bounds", INCOMPLETE}
)
"""The slugs of notes that are found anew for all parts together."""
_SOURCES = 3
"""So many sources are named."""


def merge(
    parts: Sequence[Part],
    names: Sequence[str] | None = None,
    starts: Sequence[int] | None = None,
) -> Part:
    """Return all parts together, in the order in which they are given.

    Parameters
    ----------
    parts
        At least one.
    names
        What to call them where they do not fit together; by default they are counted.
    starts
        Of parts of one suite: the position of the first image of each, and how many images there
        are in all. By default the parts are suites of their own, and one follows the other.

    Raises
    ------
    UsageError
        If they are of different models, settings, preprocessing or profiles; the sentence names the
        difference.
    """
    names = names or [f"part {number}" for number in range(1, len(parts) + 1)]
    for part, name in zip(parts[1:], names[1:], strict=True):
        _require_same(parts[0], part, names[0], name)
    if len(parts) == 1:
        return parts[0]
    runtime.use_compilation_cache()
    first = parts[0]
    root, prefixes = _shared_root([part.facts.root for part in parts])
    places = starts or [0, *accumulate(part.facts.positions for part in parts)]
    placed = [
        _placed(part, start, prefix)
        for part, start, prefix in zip(parts, places, prefixes, strict=False)
    ]
    with runtime.on_device(runtime.host()):
        state = reduce(coverage.merge, (part.state for part in parts))
        against = tuple(
            reduce(family.merge, states)
            for family, states in zip(
                PROFILED, zip(*(part.against for part in parts), strict=True), strict=False
            )
        )
        pair = _pair([image for part in placed for image in part.pair])
        covers = _covers(placed, places[-1])
        facts = replace(
            first.facts,
            positions=places[-1],
            root=root,
            scores=_common(placed, state, lambda facts: facts.scores, covers.added),
            layer_scores=_common(placed, state, lambda facts: facts.layer_scores),
            covers=covers.facts,
        )
        images = _Joined(placed, facts.scores, facts.layer_scores, covers.added)
        merged = Part(
            facts, first.result, first.profile, state, against, pair, images, covers.recorder
        )
        one_suite = starts is not None
        return replace(merged, result=_result(merged, placed, covers, one_suite=one_suite))


def pair_evidence(part: Part) -> coverage.PairEvidence | None:
    """Return how the images of the pair differ; None if they are not both there."""
    if len(part.pair) < 2:
        return None
    one, other = part.pair
    return coverage.count_pairs(
        part.state, (one.name, other.name), one.activations, other.activations
    )


class _Covers(NamedTuple):
    """What all images cover, if it was recorded, and what each adds to those before it, by score.

    The second is ``(images,)`` float64 each: that of all parts, not of its own.
    """

    recorder: SubsetRecorder | None
    added: Mapping[str, npt.NDArray[np.float64]]

    @property
    def facts(self) -> CoverFacts | None:
        if self.recorder is None:
            return None
        return CoverFacts(self.recorder.criteria, self.recorder.items.most)

    def of(self, index: int) -> dict[str, float]:
        """Return what the image at this position of the suite adds."""
        if self.recorder is None:
            return {}
        row = np.searchsorted(self.recorder.indexes, index)
        return {name: float(values[row]) for name, values in self.added.items()}


def _covers(parts: Sequence[Part], positions: int) -> _Covers:
    known = parts[0].facts.covers
    if known is None:
        return _Covers(None, {})
    recorder = SubsetRecorder(known.criteria, positions)
    each = [recorder.extend(one.covers, one.images) for one in parts if one.covers is not None]
    added = np.concatenate(each)
    scores = [one.score for one in known.criteria]
    return _Covers(recorder, {name: added[:, i] for i, name in enumerate(scores) if name})


def _common(
    parts: Sequence[Part],
    state: coverage.State,
    names: Callable[[StateFacts], Sequence[str]],
    anew: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the scores that all parts have, of those that are known of all as of one run."""
    return tuple(
        name
        for name in names(parts[0].facts)
        if (name in anew or coverage.order_free(name, bounded=state.one_sequence))
        and all(name in names(part.facts) for part in parts)
    )


# What has to be the same.


def _require_same(one: Part, other: Part, name: str, other_name: str) -> None:
    values, others = _settings(one), _settings(other)
    for what in {**values, **others}:
        value, another = values.get(what, "not set"), others.get(what, "not set")
        if value != another:
            raise UsageError(
                f"{shown(other_name)[-100:]} cannot be combined with {shown(name)[-100:]}: {what} "
                f"is {shown(str(another), 80)} there and {shown(str(value), 80)} here."
            )


def _settings(part: Part) -> dict[str, str]:
    """Return everything that figures depend on, by what a user calls it."""
    facts, result = part.facts, part.result
    found: dict[str, Any] = {
        "the model (SHA-256)": result.model.sha256,
        "the number of layers (--taps)": len(result.layers),
    }
    for number, layer in enumerate(result.layers):
        found[f"layer {number} (--taps)"] = f"{layer.name} {list(layer.shape)}"
    found |= {f"preprocessing: {one.name}": one.value for one in result.preprocessing}
    options = result.run.options
    found |= {f"--{name}": options.get(name) for name in ("input", "input values")}
    found["--profile"] = facts.profile_digest or "none"
    for parameters in (facts.parameters, facts.profile_parameters):
        if parameters is not None:
            found |= {
                f"--{name.replace('_', '-')}": value for name, value in asdict(parameters).items()
            }
    found["--adjacency"] = "rows" if facts.adjacency is None else "dataflow"
    found["--pair"] = " ".join(facts.pair) or "the first two images"
    found["--per-image"] = bool(facts.layer_scores)
    criteria = () if facts.covers is None else facts.covers.criteria
    found["--subset (what it keeps)"] = ", ".join(one.name for one in criteria) or "not set"
    return {what: str(value) for what, value in found.items()}


# Where each part lies among all.


def _shared_root(roots: Sequence[str]) -> tuple[str, list[str]]:
    """Return the folder that all parts share, and what leads from it to the folder of each."""
    try:
        shared = os.path.commonpath([root for root in roots if root])
    except ValueError:  # none has one, or they are on different drives
        return "", [""] * len(roots)
    paths = [os.path.relpath(root, shared) if root else os.curdir for root in roots]
    return shared, [
        "" if path == os.curdir else shown(path.replace(os.sep, "/")) + "/" for path in paths
    ]


def _placed(part: Part, start: int, prefix: str) -> Part:
    """Return a part whose images have the names and positions that they have among all."""
    result = part.result
    return replace(
        part,
        result=replace(
            result,
            images=replace(
                result.images,
                skipped=tuple(
                    SkippedImage(prefix + one.path, one.reason) for one in result.images.skipped
                ),
            ),
            featured=tuple(
                replace(one, path=prefix + one.path, index=start + one.index)
                for one in result.featured
            ),
        ),
        pair=tuple(
            replace(one, name=prefix + one.name, index=start + one.index) for one in part.pair
        ),
        images=_Placed(part.images, start, prefix),
    )


@dataclass(frozen=True)
class _Placed:
    images: Images
    start: int
    prefix: str

    @property
    def shape(self) -> Shape:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def rows(self) -> Iterator[Rows]:
        for rows in self.images.rows():
            yield rows._replace(
                names=[self.prefix + name for name in rows.names], indexes=self.start + rows.indexes
            )


class _Joined:
    """The images of all parts, with the scores that are named; a merged part has no others.

    `anew` are scores that are other ones than in the parts, ``(images,)`` each.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        scores: Sequence[str],
        layer_scores: Sequence[str],
        anew: Mapping[str, npt.NDArray[np.float64]],
    ) -> None:
        self._parts, self._scores, self._layer_scores = parts, scores, layer_scores
        self._anew = {scores.index(name): of for name, of in anew.items() if name in scores}
        layers = parts[0].images.shape.layers
        self.shape = Shape(len(scores), None if layers is None else (layers[0], len(layer_scores)))

    def __len__(self) -> int:
        return sum(len(part.images) for part in self._parts)

    def rows(self) -> Iterator[Rows]:
        start = 0
        for part in self._parts:
            columns = [part.facts.scores.index(name) for name in self._scores]
            of_layers = [part.facts.layer_scores.index(name) for name in self._layer_scores]
            for rows in part.images.rows():
                layers, model = rows.layers, rows.model[:, columns]
                for column, values in self._anew.items():
                    model[:, column] = values[start : start + len(model)]
                start += len(model)
                yield rows._replace(
                    model=model,
                    layers=None if layers is None else layers[:, :, of_layers],
                )


def _pair(found: Sequence[PairImage]) -> tuple[PairImage, ...]:
    """Return the two images that a run over all would have compared, or those of them there are.

    Raises
    ------
    UsageError
        If two images are called what one of --pair is called.
    """
    if not any(image.place is not None for image in found):
        return tuple(sorted(found, key=lambda image: image.index)[:2])
    for place in (0, 1):
        same = [image.name for image in found if image.place == place]
        if len(same) > 1:
            raise UsageError(
                f"--pair names one image in several parts, {shown(same[0])} and {shown(same[1])}: "
                "measure the parts again with more of its path."
            )
    return tuple(sorted(found, key=lambda image: image.place or 0))


# The result.


def _result(merged: Part, parts: Sequence[Part], covers: _Covers, *, one_suite: bool) -> Result:
    results = [part.result for part in parts]
    first, facts = results[0], merged.facts
    missing = bool(facts.pair) and len(merged.pair) < 2
    adjacency = facts.adjacency
    findings = find(
        merged.state,
        merged.against,
        pair_evidence(merged),
        None if adjacency is None else tuple((i, j) for i, j in adjacency),
        pair_is_missing=missing,
    )
    featured = _featured(results, facts.scores, covers)
    notes = [note for result in results for note in result.notes if note.slug not in _OF_ALL]
    notes += [*findings.notes, *_dropped(parts, facts), *_different(results)]
    if not one_suite:
        notes += _several(parts)
    relevance = next((one.relevance for one in results if one.relevance is not None), None)
    if relevance is not None:
        notes += incomplete(featured)
    return replace(
        first,
        run=_run(results),
        images=_images(results, _manifest(parts)),
        tables=findings.tables,
        firing=findings.firing,
        featured=featured,
        notes=tuple(dict.fromkeys(notes)),
        importance=findings.importance,
        relevance=relevance,
        subset=None,
    )


def _run(results: Sequence[Result]) -> RunFacts:
    runs = [result.run for result in results]
    seconds: dict[str, float] = {}
    for run in runs:
        for phase, spent in run.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + spent
    missing = object()
    options = {
        **{
            name: value
            for name, value in runs[0].options.items()
            if all(run.options.get(name, missing) == value for run in runs)
        },
        "parts": sum(run.options.get("parts", 1) for run in runs),
    }
    return replace(
        runs[0],
        id=uuid.uuid4().hex,
        started=min(run.started for run in runs),
        device="; ".join(dict.fromkeys(run.device for run in runs)),
        provider="; ".join(dict.fromkeys(run.provider for run in runs)),
        platform="; ".join(dict.fromkeys(run.platform for run in runs)),
        seconds=seconds,
        options=options,
        configuration_sha256=configuration_sha256(options, results[0].preprocessing),
    )


def _images(results: Sequence[Result], manifest: str | None) -> ImageFacts:
    images = [result.images for result in results]
    sources = list(dict.fromkeys(one.source for one in images))
    source = ", ".join(sources[:_SOURCES])
    if len(sources) > _SOURCES:
        source += f" and {len(sources) - _SOURCES} more"
    return ImageFacts(
        source=source,
        found=sum(one.found for one in images),
        used=sum(one.used for one in images),
        skipped=tuple(skipped for one in images for skipped in one.skipped),
        manifest_sha256=manifest,
    )


def _manifest(parts: Sequence[Part]) -> str | None:
    """Return the hash of the manifest of all images; None where it cannot be known.

    Parts keep the names of images as they are printed, and a manifest has them as they are; only
    where those of each part give the manifest of the part, they give that of all.
    """
    whole, names = Manifest(), TextRecord()
    for part in parts:
        own, prefix = Manifest(), _prefix(part)
        for rows in part.images.rows():
            numbers = range(len(names), len(names) + len(rows.names))
            if "" in rows.hashes:
                return None
            names.extend(rows.names)
            whole.add(numbers, rows.hashes)
            own.add(numbers, rows.hashes)
        known = part.result.images.manifest_sha256
        # What is printed of a folder with other characters in its name is not its name.
        escaped = "\\" in prefix or "…" in prefix
        if escaped or known != own.sha256(partial(_without, prefix, names)):
            return None
    return whole.sha256(names.__getitem__)


def _without(prefix: str, names: TextRecord, number: int) -> str:
    return names[number].removeprefix(prefix)


def _prefix(part: Part) -> str:
    return part.images.prefix if isinstance(part.images, _Placed) else ""


def _featured(
    results: Sequence[Result], scores: Sequence[str], covers: _Covers
) -> tuple[FeaturedImage, ...]:
    """Return the images with the lowest and the highest scores; each part has featured its own."""
    extremes = coverage.Extremes(scores, FEATURED)
    images = {image.index: image for result in results for image in result.featured}
    nothing = np.empty(0)
    for image in images.values():
        score = image.scores.get(coverage.RANKED_BY)
        if score is not None:
            extremes.offer(coverage.Ranked(score, image.index, image.path, nothing, nothing))
    return tuple(
        replace(
            images[ranked.index],
            role=role,
            scores=_kept({**images[ranked.index].scores, **covers.of(ranked.index)}, scores),
            layers=_kept(images[ranked.index].layers, scores),
        )
        for role, ranked in extremes.ranked()
    )


def _kept(figures: Mapping[str, Any], scores: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name in scores}


# Notes.


def _dropped(parts: Sequence[Part], facts: StateFacts) -> Iterator[Note]:
    scores = dict.fromkeys(name for part in parts for name in part.facts.scores)
    names = [name for name in scores if name not in facts.scores]
    if names:
        yield Note(
            "parts-without-order",
            "The table of images does not have the scores that depend on the images before: "
            f"{', '.join(names)}.",
        )


def _several(parts: Sequence[Part]) -> Iterator[Note]:
    """Say that images are in several parts, by what they hold."""
    # Eight bytes of a SHA-256 tell a billion images apart.
    starts = [
        np.concatenate(
            [np.empty(0, np.uint64), *(_starts(rows.digests) for rows in part.images.rows())]
        )
        for part in parts
    ]
    of_part = np.repeat(np.arange(len(parts)), [len(one) for one in starts])
    every = np.concatenate(starts)
    order = np.lexsort((of_part, every))
    again = np.flatnonzero(
        (every[order][1:] == every[order][:-1])
        & (of_part[order][1:] > of_part[order][:-1])
        & (every[order][1:] != 0)
    )
    if not len(again):
        return
    pairs = order[again], order[again + 1]
    first = int(np.argmin(pairs[1]))
    names = [_name(parts, int(one[first])) for one in pairs]
    yield Note(
        SEVERAL,
        f"{len(again):,} images of one part have the content of an image of another "
        f"(first {names[1]}, as {names[0]}); they count each time, as in one run over all images.",
    )


def _starts(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


def _name(parts: Sequence[Part], number: int) -> str:
    """Return the name of the image with this number among those that were used."""
    for part in parts:
        for rows in part.images.rows():
            if number < len(rows.names):
                return rows.names[number]
            number -= len(rows.names)
    raise IndexError(number)


_COMPARED: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("versions of the program", lambda result: result.run.tool_version),
    ("versions of packages", lambda result: _versions(result)),
    ("devices", lambda result: result.run.device),
    ("batch sizes", lambda result: str(result.run.batch_size)),
)


def _versions(result: Result) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(result.run.versions.items()))


def _different(results: Sequence[Result]) -> Iterator[Note]:
    for what, value in _COMPARED:
        values = list(dict.fromkeys(map(value, results)))
        if len(values) > 1:
            yield Note(
                "parts-differ",
                f"The parts were measured with different {what} ({values[0]}; {values[1]}): the "
                "last bits of activations may differ from those of one run.",
            )
