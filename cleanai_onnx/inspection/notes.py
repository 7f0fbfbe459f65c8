"""What the reader of the scores must know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inspection.result import ModelInspection
from cleanai_onnx.result import Note

__all__ = ["notes_on"]


def notes_on(inspected: Sequence[ModelInspection], names: Sequence[str]) -> list[Note]:
    """Return the notes on several models, each called as `names` say."""
    notes = []
    for one, name in zip(inspected, names, strict=True):
        lead = f"{name}: " if len(inspected) > 1 else ""
        if one.stopped:
            notes.append(
                Note(
                    "stopped-early",
                    f"{lead}stopped after {one.inputs:,} images, when all scores were within "
                    f"{one.error:g} of those on all images with 95 % probability.",
                )
            )
        if one.kept is not None and one.kept < one.inputs:
            notes.append(
                Note(
                    "sampled",
                    f"{lead}measures of order and fits are from a random sample of {one.kept:,} of "
                    f"the {one.inputs:,} images (--keep).",
                )
            )
        blank = [
            claim.name
            for number, claim in enumerate(one.claims)
            if (table := one.ranking(number)) is not None and not table.top(number, 1)
        ]
        if blank:
            named = ", ".join(shown(name, 40) for name in blank[:5])
            notes.append(
                Note(
                    "nothing-to-score",
                    f"{lead}no {one.view} has a score for {len(blank):,} hypotheses ({named}"
                    f"{', …' if len(blank) > 5 else ''}): their values never change, or are not "
                    "known.",
                )
            )
        tests = sum(int((~np.isnan(table.scores.p)).sum()) for table in one.tables)
        if tests:
            notes.append(
                Note(
                    "multiple-testing",
                    f"{lead}{tests:,} tests were made: take q, not p. q bounds the share of false "
                    "discoveries among the neurons found for a hypothesis (Benjamini-Hochberg).",
                )
            )
    return notes
