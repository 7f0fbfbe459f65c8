"""Combining in one call: states of the parts of a suite in, the `Result` of the whole out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cleanai_onnx.errors import UsageError
from cleanai_onnx.jobs.subset_list import check_subset_file, list_subset, listed_path
from cleanai_onnx.measuring.image_tables import ImageTables
from cleanai_onnx.measuring.subset import SubsetRecorder
from cleanai_onnx.result import Result
from cleanai_onnx.states import storage
from cleanai_onnx.states.merging import merge
from cleanai_onnx.states.part import Part, StateFacts

__all__ = ["combine", "with_subset", "write_image_tables"]


def combine(
    states: Sequence[str | Path],
    *,
    per_image: str | Path | None = None,
    per_layer: str | Path | None = None,
    state: str | Path | None = None,
    subset_file: str | Path | None = None,
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
    subset_file : path, optional
        A .txt file to write: the paths of the images of the subset, as of `cleanai_onnx.analyze`;
        for states that were measured with ``subset``.

    Returns
    -------
    Result
        Equal to that of one run over all images, but for what depends on their order; its notes
        say what that is.

    Raises
    ------
    UsageError
        If a file is no state, or the states do not fit together; the sentence names the difference.
        Or if there is a `subset_file`, and no state has what its images cover, or what the images
        are called is not their path.
    """
    if subset_file is not None:
        check_subset_file(subset_file)
    if not states:
        raise UsageError("there is no state to combine: give at least one.")
    parts = [storage.load(path) for path in states]
    merged = merge(parts, [str(path) for path in states])
    if subset_file is not None and merged.covers is None:
        raise UsageError(
            "these states do not have what each image covers, which --subset needs: measure the "
            "parts with --subset too.",
            slug="subset",
        )
    name = None if subset_file is None else Path(subset_file).name
    merged, columns = with_subset(merged, name)
    table = None if per_image is None else Path(per_image).name
    result = merged.result
    result = replace(result, images=replace(result.images, per_image_table=table))
    lines = list[str]()
    if subset_file is not None and result.subset is not None:
        # Before anything is written: perhaps they are not known.
        lines = _paths(merged.facts, [one.path for one in result.subset.images])
    write_image_tables(merged, per_image, per_layer, columns)
    if subset_file is not None:
        list_subset(subset_file, lines)
    if state is not None:
        storage.save(replace(merged, result=result), state)
    return result


def with_subset(
    part: Part, subset_file: str | None = None
) -> tuple[Part, Mapping[str, np.ndarray]]:
    """Find the smallest subset of a part, where it has what each of its images covers.

    Parameters
    ----------
    part
    subset_file
        The name of the file that will list the subset.

    Returns
    -------
    part, columns
        With the subset in its result, and what the table of images then says of each.
    """
    if part.covers is None or part.facts.covers is None:
        return part, {}
    recorder = part.covers
    if not isinstance(recorder, SubsetRecorder):
        recorder = SubsetRecorder(part.facts.covers.criteria, part.facts.covers.most)
        recorder.extend(part.covers, part.images)
    result = replace(part.result, subset=recorder.facts(subset_file))
    return replace(part, result=result, covers=recorder), recorder.columns()


def _paths(facts: StateFacts, names: Sequence[str]) -> list[str]:
    """Return the paths of images; a state has their names in a form that can be printed."""
    unknown = next((one for one in names if "\\" in one or "…" in one), None)
    if unknown is not None or not facts.root:
        example = names[0] if unknown is None and names else unknown
        raise UsageError(
            f"--subset cannot list the images: a state does not have the path of {example}, only "
            "its name; find the subset in one run over all images.",
            slug="subset",
        )
    return [listed_path(os.path.join(facts.root, *name.split("/"))) for name in names]


def write_image_tables(
    part: Part,
    per_image: str | Path | None,
    per_layer: str | Path | None,
    columns: Mapping[str, np.ndarray],
) -> None:
    """Write the tables of the images of a part, where they are wanted and the figures are kept.

    `columns` are further figures of the images, in their order.
    """
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
        tables.finish(columns)
    finally:
        tables.discard()
