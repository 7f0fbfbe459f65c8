"""Coverage of a model as tests: ``pytest examples/test_model_coverage.py``.

The fixture `cleanai` comes with the package. The model is analyzed once, however many tests ask.
"""

from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[1] / "models"
MODEL, DIGITS = MODELS / "lenet5.onnx", MODELS / "digits"


def test_the_images_exercise_the_model(cleanai):
    """Fail with the layers that fall short, as `cleanai-onnx --fail-under` does."""
    cleanai.assert_coverage(MODEL, DIGITS, nc="12%", nc_suite={"view": "channel", "min": 0.7})


def test_every_image_can_be_read(cleanai):
    """A test suite that silently shrinks is no test suite."""
    cleanai.assert_coverage(MODEL, DIGITS, skipped_images=0)


@pytest.mark.parametrize("layer", ["relu", "relu_1"])
def test_no_channel_of_a_convolution_is_dead(cleanai, layer):
    """Limits can be for layers, by their names or by patterns of them."""
    cleanai.assert_coverage(MODEL, DIGITS, dead_channels={"layers": layer, "max": 0})


def test_anything_else_that_a_result_knows(cleanai):
    """The result is there for assertions of your own."""
    result = cleanai.analyze(MODEL, DIGITS)
    lowest = result.frame("nc").sort_values("coverage").iloc[0]
    assert lowest["coverage"] > 0.1, f"layer {lowest['layer']} is hardly used"
