"""Heat maps of relevance for the images that a report features, once the suite was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.errors import CleanAIError
from cleanai_onnx.result import FeaturedImage, ImageRelevance, Note, RelevanceFacts, Result

if TYPE_CHECKING:
    from cleanai_onnx import graph
    from cleanai_onnx.relevance import Attribution, Explainer

__all__ = [
    "FAILED",
    "INCOMPLETE",
    "OF_BATCHES",
    "REFUSED",
    "WIDENED",
    "Ready",
    "incomplete",
    "made_ready",
    "with_relevance",
]

COMPOSITE = "epsilon-plus"
MOST_AT_ONCE = 5
REFUSED, FAILED, INCOMPLETE = "no-relevance", "relevance-failed", "relevance-incomplete"
"""Slugs of notes: why no image has a heat map, a bug, why some images have none."""
OF_BATCHES = Note(
    REFUSED,
    "No heat maps of relevance: batches of your own are not kept, so that the images featured "
    "cannot be shown; cleanai_onnx.attribute explains arrays.",
)
WIDENED = Note(
    "relevance-widened",
    "Parts of the model are in half precision; its relevance was computed with them in float32, so "
    "that values may differ from the model's own by its rounding.",
)
_SIDE = 160
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
"""How XLA's errors begin when there is no memory left."""


@dataclass(frozen=True)
class Ready:
    """An explainer that is made in a thread, and how many images it was asked to take at once."""

    batch_size: int
    explainer: Future[Explainer]


def made_ready(
    model: graph.Model,
    item: tuple[int, ...],
    images: int,
    batch_size: int,
    **options: Any,
) -> Ready:
    """Begin to make, in a thread, what `with_relevance` will ask for after the suite was measured.

    All of it is made only where the way back was compiled before. Otherwise that is left for
    later: a run that fails would have to wait for its end.

    Parameters
    ----------
    model, batch_size, **options
        As for `with_relevance`.
    item
        The shape of one image as the model takes it.
    images
        How many there are in the suite.
    """
    from cleanai_onnx.relevance import Explainer

    runtime.use_compilation_cache()
    at_once = min(batch_size, MOST_AT_ONCE, images)

    def make() -> Explainer:
        explainer = Explainer(model, composite=COMPOSITE, batch_size=at_once, **options)
        if explainer.is_kept(item):
            explainer.prepare(item)
        return explainer

    thread = ThreadPoolExecutor(1)
    future = thread.submit(make)
    thread.shutdown(wait=False)
    return Ready(at_once, future)


def with_relevance(
    result: Result,
    model: graph.Model,
    suite: inputs.Suite,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
    *,
    batch_size: int = MOST_AT_ONCE,
    ready: Ready | None = None,
    **options: Any,
) -> Result:
    """Return the result with the relevance of its featured images.

    Where that cannot be computed, whatever the reason, the result is the same with a note: what
    was measured is worth more than its pictures.

    Parameters
    ----------
    result, model, suite, preprocessing
        What was found, on which model, and from which images.
    batch_size
        Images explained at once, at most.
    ready
        From `made_ready`, with the same model and options.
    **options
        As for the analysis: ``input_name``, ``input_values``, ``device``, ``threads``.
    """
    if not result.featured:
        return result
    images = tuple(image.index for image in result.featured)
    try:
        explained = _explained(
            model,
            suite.subset(images),
            preprocessing,
            min(batch_size, MOST_AT_ONCE, len(images)),
            ready,
            options,
        )
    except Exception as error:
        return replace(result, notes=(*result.notes, _note(error)))
    featured = tuple(
        replace(image, relevance=explained.images.get(position))
        for position, image in enumerate(result.featured)
    )
    notes = (*result.notes, *explained.notes, *incomplete(featured))
    return replace(result, featured=featured, relevance=explained.facts, notes=notes)


@dataclass
class _Explained:
    """What was found: by position among the featured images, and for all of them."""

    images: dict[int, ImageRelevance] = field(default_factory=dict)
    facts: RelevanceFacts | None = None
    notes: tuple[Note, ...] = ()


def _explained(
    model: graph.Model,
    suite: inputs.Suite,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
    batch_size: int,
    ready: Ready | None,
    options: Mapping[str, Any],
) -> _Explained:
    from cleanai_onnx.relevance import Explainer

    if ready is not None and ready.batch_size == batch_size:
        explainer = ready.explainer.result()
    else:
        explainer = Explainer(model, composite=COMPOSITE, batch_size=batch_size, **options)
    made = _Explained(notes=(WIDENED,) if explainer.widened else ())
    with inputs.stream(suite, preprocessing, explainer.batch_size) as batches:
        for batch in batches:
            found = explainer.explain(batch.data[: batch.valid])
            made.facts = _facts(found, explainer.composite.stabiliser)
            for row, position in enumerate(batch.indexes):
                made.images[position] = _image(found, row, batch.data[row], preprocessing)
    return made


def _image(
    found: Attribution,
    row: int,
    data: np.ndarray,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
) -> ImageRelevance:
    from cleanai_onnx.report.heat_maps import heat_map, small_png

    plane = inputs.as_plane(found.relevance[row], preprocessing)
    map_ = None
    if np.isfinite(plane).all():
        map_ = heat_map(plane, inputs.picture(data, preprocessing))
    return ImageRelevance(
        target=found.target_of(row),
        value=float(found.values[row]),
        **found.conservation.of(row),
        scale=None if map_ is None else map_.scale,
        heat_map=None if map_ is None else small_png(map_, _SIDE),
    )


def _facts(found: Attribution, epsilon: float) -> RelevanceFacts:
    if found.targets is None:
        target = "the whole output"
    elif found.targets.ndim == 1:
        target = "the predicted class"
    else:
        target = "the predicted class at each position"
    return RelevanceFacts(
        composite=found.composite,
        parameters={"epsilon": epsilon},
        target=target,
        start=found.start,
        rules=dict(Counter(rule for _, rule in found.rules)),
    )


def _note(error: Exception) -> Note:
    lead = "No heat maps of relevance: "
    if isinstance(error, CleanAIError):
        options = " (Options of the command cleanai-onnx explain.)" if "--" in str(error) else ""
        return Note(REFUSED, f"{lead}{error}{options}")
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY in str(error):
        return Note(REFUSED, f"{lead}there was not enough memory left for them.")
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if isinstance(error, OSError):
        return Note(REFUSED, f"{lead}{text}.")
    return Note(
        FAILED,
        f"{lead}{text}. This is a bug: please report it. The figures of this report do not depend "
        "on it.",
    )


def incomplete(featured: tuple[FeaturedImage, ...]) -> tuple[Note, ...]:
    """Say which of the images that are featured have no heat map."""
    lost = [image.path for image in featured if image.relevance is None]
    wild = [
        image.path
        for image in featured
        if image.relevance is not None and image.relevance.heat_map is None
    ]
    reasons = [
        f"{len(paths)} featured image{'s have' if len(paths) > 1 else ' has'} no heat map (first "
        f"{paths[0]}), because {why}"
        for paths, why in (
            (lost, "it cannot be read any more"),
            (wild, "its relevance is not finite"),
        )
        if paths
    ]
    return (Note(INCOMPLETE, "; ".join(reasons) + "."),) if reasons else ()
