"""The report of an inspection: what it shows, and names that would act."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from cleanai_onnx import inspect_models
from cleanai_onnx.inspection import Column, Inspection
from cleanai_onnx.inspection.result import distinct
from cleanai_onnx.report.affinities import rounded, write_table
from cleanai_onnx.report.pdf_inspection import render
from tests.cli.material import DIGITS, LENET


def text_of(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


@pytest.fixture(scope="module")
def found() -> Inspection:
    return inspect_models(
        [LENET, LENET.with_name("lenet1.onnx")], DIGITS, ["folders", "brightness"],
        ["pearson", "auc", "probe"], limit=60, pictures=True,
    )  # fmt: skip


def test_what_it_shows(found: Inspection) -> None:
    content = render(found)
    text = text_of(content)
    for words in (
        "What the neurons encode", "Hypotheses by layer: lenet5", "From model to model",
        "Best channels of each hypothesis: lenet1", "folder=7 (binary)", "brightness (numeric)",
        "How the scores are defined", "lenet5, lenet1",
    ):  # fmt: skip
        assert words in text, words
    assert "no preview" not in text
    assert render(found) == content


def test_the_neurons_shown_are_the_best(found: Inspection) -> None:
    for one in found.models:
        for neuron in one.featured:
            table = one.ranking(neuron.claim)
            assert table is not None
            sizes = table.sizes(neuron.claim)
            assert (sizes > sizes[neuron.row]).sum() < 3
            assert len(neuron.images) == 6
            values = [image.value for image in neuron.images]
            assert values == sorted(values, reverse=True)
            assert all(image.thumbnail for image in neuron.images)


def test_batches_have_no_pictures() -> None:
    x = np.random.default_rng(0).random((40, 1, 28, 28)).astype(np.float32)
    known = {str(n): float(n % 2) for n in range(40)}
    found = inspect_models(LENET, x, Column("odd", "binary", known), pictures=True)
    text = text_of(render(found))
    assert "there are no images" in text
    assert "odd (binary)" in text


def test_hostile_names(found: Inspection, tmp_path: Path) -> None:
    name = "\x1b[31m\u202edc\n" * 40
    (one, _) = found.models
    claims = tuple(replace(claim, name=name + str(n)) for n, claim in enumerate(one.claims))
    layers = tuple(replace(layer, name=name + layer.name, label=name) for layer in one.layers)
    hostile = Inspection(
        (replace(one, claims=claims, layers=layers, model=name),), (name,), name, 60
    )
    assert "\x1b" not in text_of(render(hostile))
    path = write_table(hostile.frame(), tmp_path / "a.csv")
    content = path.read_bytes().decode()
    assert "\x1b" not in content
    assert "\u202e" not in content


def test_names_are_made_different() -> None:
    assert distinct(["a", "a", "b", "a", "a (2)"]) == ("a", "a (2)", "b", "a (3)", "a (2) (2)")


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.12345, "0.123"), (-0.5, "-0.500"), (0.0, "0.000"), (np.nan, "—"), (12345.6, "12,300"),
     (1e-5, "1e-05")],
)  # fmt: skip
def test_scores_in_words(score: float, text: str) -> None:
    assert rounded(score) == text
