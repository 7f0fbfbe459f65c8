"""The explainer: ways back that were compiled before are found again, and only the right ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import pytest

from cleanai_onnx.relevance import Explainer, attribute, explainer
from cleanai_onnx.relevance.composites import Composite, any_layer
from cleanai_onnx.relevance.rules import epsilon
from tests.cli.material import build, node

CACHE = "jax_compilation_cache_dir"
DIGITS = np.random.default_rng(3).random((2, 1, 8, 8), np.float32)


def model(scale: float = 1.0) -> onnx.ModelProto:
    """Return a net of 8 x 8 gray images with three classes."""
    random = np.random.default_rng(0)
    nodes = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "v"], ["s"]),
             node("Relu", ["s"], ["r"]), node("Gemm", ["r", "w", "b"], ["y"])]  # fmt: skip
    v, w = random.standard_normal((64, 5)) * scale, random.standard_normal((5, 3))
    weights = {"v": v.astype(np.float32), "w": w.astype(np.float32), "b": np.ones(3, np.float32)}
    return build(nodes, weights)


MODEL = model()


@pytest.fixture
def walks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Count how often a walk is traced, with a cache that is new."""
    before = jax.config.values[CACHE]
    jax.config.update(CACHE, str(tmp_path))
    traced: list[None] = []
    walk = explainer.walk

    def counted(*given: Any, **options: Any) -> Any:
        traced.append(None)
        return walk(*given, **options)

    monkeypatch.setattr(explainer, "walk", counted)
    yield traced
    jax.config.update(CACHE, before)


def made(**options: Any) -> np.ndarray:
    options = {"composite": "epsilon-plus", **options}
    return Explainer(MODEL, batch_size=2, **options).explain(DIGITS).relevance


def test_a_walk_that_was_kept_is_not_traced_again(walks: list[None]) -> None:
    first = made()
    assert (count := len(walks)) > 0
    np.testing.assert_array_equal(made(), first)
    assert len(walks) == count


def test_another_question_is_not_answered_by_it(walks: list[None]) -> None:
    made()
    own = Composite("epsilon-plus", ((any_layer, epsilon(0.5)),))
    others: list[dict[str, Any]] = [
        {"epsilon": 0.5},
        {"zero_bias": True},
        {"composite": "epsilon"},
        {"composite": own},
        {"composite": own},  # rules of one's own have no name, and are traced each time
        {"precision": "float64"},
        {"forward": "jax"},
        {"account_stabilisers": True},
        {"layers": ("r",)},
    ]
    for options in others:
        count = len(walks)
        made(**options)
        assert len(walks) > count, options
    count = len(walks)
    for options in others:
        if "composite" not in options:
            made(**options)
    assert len(walks) == count


def test_another_model_of_the_same_form_is_explained_by_its_own_weights(walks: list[None]) -> None:
    other = model(2.0)
    one = Explainer(other, batch_size=2).explain(DIGITS)
    made()
    np.testing.assert_array_equal(
        Explainer(other, batch_size=2).explain(DIGITS).relevance, one.relevance
    )
    assert np.abs(one.relevance - made()).max() > 0.1


def test_the_target_of_the_whole_output_is_another_walk(walks: list[None]) -> None:
    one = Explainer(MODEL, batch_size=2)
    classes = one.explain(DIGITS)
    whole = one.explain(DIGITS, target="output")
    again = Explainer(MODEL, batch_size=2)
    assert again.is_kept((1, 8, 8)) and not again.is_kept((1, 9, 9))
    np.testing.assert_array_equal(again.explain(DIGITS, target="output").values, whole.values)
    np.testing.assert_array_equal(again.explain(DIGITS).values, classes.values)
    assert (whole.values != classes.values).all()


def test_prepared_before_the_first_batch(walks: list[None]) -> None:
    one = Explainer(MODEL, batch_size=2)
    one.prepare((1, 8, 8))
    count = len(walks)
    found = one.explain(DIGITS).relevance
    assert len(walks) == count
    np.testing.assert_array_equal(found, attribute(MODEL, DIGITS, batch_size=2).relevance)
