"""Combining in one call: states of the parts of a suite in, the `Result` of the whole out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cleanai_onnx.errors import UsageError
from cleanai_onnx.measuring.image_tables import ImageTables
from cleanai_onnx.result import Result
from cleanai_onnx.states import storage
from cleanai_onnx.states.merging import merge
from cleanai_onnx.states.part import Part

__all__ = ["combine", "write_image_tables"]


def combine(
    states: Sequence[str | Path],
    *,
    per_image: str | Path | None = None,
    per_layer: str | Path | None = None,
    state: str | Path | None = None,
) -> Result:
    """Merge the states of parts of a suite, in the order in which they are given.

    Parameters
    ----------
    states : sequence of path
        What ``--state`` wrote, or this function.
    per_image, per_layer : path, optional
        Where to write a CSV file with a row for each image, and one with a row for each image and
        layer; the second only if the parts kept these figures.
    state : path, optional
        Where to write the merged state, which can be merged again.

    Returns
    -------
    Result
        Equal to that of one run over all images, but for what depends on their order; its notes
        say what that is.

    Raises
    ------
    UsageError
        If a file is no state, or the states do not fit together; the sentence names the difference.
    """
    if not states:
        raise UsageError("there is no state to combine: give at least one.")
    parts = [storage.load(path) for path in states]
    merged = merge(parts, [str(path) for path in states])
    result = merged.result
    table = None if per_image is None else Path(per_image).name
    result = replace(result, images=replace(result.images, per_image_table=table))
    write_image_tables(merged, per_image, per_layer)
    if state is not None:
        storage.save(replace(merged, result=result), state)
    return result


def write_image_tables(
    part: Part, per_image: str | Path | None, per_layer: str | Path | None
) -> None:
    """Write the tables of the images of a part, where they are wanted and the figures are kept."""
    facts = part.facts
    tables = ImageTables.opened(
        per_image,
        per_layer if facts.layer_scores else None,
        facts.scores,
        facts.layer_scores,
        [layer.name for layer in part.result.layers],
    )
    try:
        tables.add_all(part.images)
        tables.finish({})
    finally:
        tables.discard()
