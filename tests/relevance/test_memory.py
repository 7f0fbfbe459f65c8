"""Memory that does not suffice is refused before it is asked for."""

import numpy as np
import pytest

from cleanai_onnx import graph, runtime
from cleanai_onnx.errors import ModelError
from cleanai_onnx.relevance import Explainer
from tests.cli.material import LENET

IMAGES = np.zeros((2, 1, 28, 28), np.float32)


@pytest.mark.parametrize(
    ("size", "held", "advice"), [(64, 2_000_000, "smaller --batch-size"), (1, 1000, "more memory")]
)
def test_activations_that_do_not_fit(monkeypatch, size, held, advice) -> None:
    explainer = Explainer(LENET, batch_size=size)
    # The model alone would fit: the walk back keeps what a forward pass gives up.
    monkeypatch.setattr(graph, "check_memory", lambda estimate, available: None)
    monkeypatch.setattr(runtime, "available_memory", lambda: held)
    with pytest.raises(ModelError, match=f"relevance of {size} image.*{advice}"):
        explainer.explain(IMAGES)


def test_a_model_that_does_not_fit(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "available_memory", lambda: 1000)
    with pytest.raises(ModelError, match="the machine has"):
        Explainer(LENET).explain(IMAGES)
