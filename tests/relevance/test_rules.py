"""Each rule against a slow twin written from the paper, on dense layers and convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.lowering import Node
from cleanai_onnx.relevance import rules
from cleanai_onnx.relevance.linear_maps import Dense, LinearMap
from cleanai_onnx.relevance.plan import LinearStep
from cleanai_onnx.relevance.walk import linear_relevance
from tests.relevance import twins
from tests.relevance.layers import convolution, matrix_of

E = 1e-6
LOW, HIGH = -1.5, 2.0

RULES = {
    "epsilon": (rules.epsilon(E), lambda a, w, b, r: twins.epsilon(a, w, b, r, E)),
    "large epsilon": (rules.epsilon(0.3), lambda a, w, b, r: twins.epsilon(a, w, b, r, 0.3)),
    "no bias": (
        rules.epsilon(E, zero_bias=True),
        lambda a, w, b, r: twins.epsilon(a, w, 0 * b, r, E),
    ),
    "z-plus": (rules.z_plus(), lambda a, w, b, r: twins.alpha_beta(a, w, b, r, 1, 0, E)),
    "z-plus, no bias": (
        rules.z_plus(zero_bias=True),
        lambda a, w, b, r: twins.alpha_beta(a, w, 0 * b, r, 1, 0, E),
    ),
    "alpha1-beta0": (
        rules.alpha_beta(1.0, 0.0),
        lambda a, w, b, r: twins.alpha_beta(a, w, b, r, 1, 0, E),
    ),
    "alpha2-beta1": (
        rules.alpha_beta(2.0, 1.0),
        lambda a, w, b, r: twins.alpha_beta(a, w, b, r, 2, 1, E),
    ),
    "gamma": (rules.gamma(0.25), lambda a, w, b, r: twins.gamma(a, w, b, r, 0.25, E)),
    "w-square": (rules.w_square(), lambda a, w, b, r: twins.w_square(w, r, E)),
    "z-box": (rules.z_box(LOW, HIGH), lambda a, w, b, r: twins.z_box(a, w, r, LOW, HIGH, E)),
}

numbers = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def step(map_: LinearMap, w: np.ndarray, b: np.ndarray | None, rule: rules.Rule, sign: bool):
    node = Node("Gemm", ("x", "w", "b"), ("z",))
    return LinearStep(node, 0, map_, w, b, rule, sign)


def applied(layer: LinearStep, x: np.ndarray, relevance: np.ndarray) -> list[np.ndarray]:
    with jax.enable_x64(True):
        arrived = jnp.asarray(relevance)
        made = linear_relevance(layer, layer.prepared(), jnp.asarray(x), None, arrived)
        biases = np.zeros(len(x)) if made.biases is None else made.biases
        return [np.asarray(part) for part in (made.relevance, biases, made.stabilisers(arrived))]


def check_identity(given: list[np.ndarray], relevance: np.ndarray) -> None:
    """What arrives, what biases take and what the stabiliser takes is what there was."""
    there, biases, stabilisers = given
    rows = relevance.reshape(len(relevance), -1).sum(axis=1)
    scale = np.abs(relevance).sum() + np.abs(there).sum()
    arrived = there.reshape(len(there), -1).sum(axis=1)
    np.testing.assert_allclose(arrived + biases + stabilisers, rows, atol=1e-12 * scale)


@pytest.mark.parametrize("name", RULES)
@settings(deadline=None, max_examples=25)
@given(random=numbers, sign=st.booleans(), bias=st.booleans(), zeros=st.booleans())
def test_dense(name, random, sign, bias, zeros) -> None:
    rule, twin = RULES[name]
    inputs, outputs = random.integers(1, 6, 2)
    a = random.standard_normal((2, inputs))
    if sign:
        a = np.abs(a)
    if zeros:
        a[random.random(a.shape) < 0.4] = 0.0
    w = random.standard_normal((outputs, inputs))
    b = random.standard_normal(outputs) if bias else np.zeros(outputs)
    relevance = random.standard_normal((2, outputs))
    layer = step(Dense(transposed_weight=True), w, b if bias else None, rule, sign)
    given = applied(layer, a, relevance)
    for row in range(2):
        wanted = twin(a[row], w.T, b, relevance[row])
        np.testing.assert_allclose(
            given[0][row], wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max()
        )
    check_identity(given, relevance)


CONVOLUTIONS = {
    "plain": ("Conv", (2, 5, 4), (3, 2, 3, 3), {}),
    "padded": ("Conv", (2, 4, 4), (3, 2, 3, 3), {"pads": [1, 1, 1, 1]}),
    "strided": ("Conv", (2, 7, 6), (3, 2, 3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    "stride 2, wide": ("Conv", (1, 8, 8), (2, 1, 5, 5), {"strides": [2, 2], "pads": [2, 2, 2, 2]}),
    "dilated": ("Conv", (2, 6, 6), (2, 2, 2, 2), {"dilations": [2, 3]}),
    "dilated, strided": ("Conv", (1, 7, 7), (2, 1, 2, 2), {"dilations": [2, 2], "strides": [2, 2]}),
    "pointwise": ("Conv", (3, 3, 4), (4, 3, 1, 1), {}),
    "pointwise, strided": ("Conv", (3, 5, 4), (4, 3, 1, 1), {"strides": [2, 2]}),
    "groups": ("Conv", (4, 4, 4), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "groups, strided": ("Conv", (4, 5, 5), (6, 2, 3, 3), {"group": 2, "strides": [2, 2]}),
    "depthwise": ("Conv", (3, 5, 5), (3, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "depthwise, strided": ("Conv", (3, 6, 5), (3, 1, 3, 3), {"group": 3, "strides": [2, 2]}),
    "depthwise, twice": ("Conv", (2, 4, 4), (4, 1, 2, 2), {"group": 2}),
    "same upper": ("Conv", (2, 5, 5), (2, 2, 2, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": ("Conv", (2, 5, 5), (2, 2, 2, 3), {"auto_pad": "SAME_LOWER"}),
    "one axis": ("Conv", (2, 7), (3, 2, 3), {"strides": [2]}),
    "three axes": ("Conv", (2, 3, 4, 3), (2, 2, 2, 2, 2), {"pads": [1, 0, 0, 0, 1, 0]}),
    "transposed": ("ConvTranspose", (2, 3, 3), (2, 3, 3, 3), {}),
    "transposed, strided": (
        "ConvTranspose",
        (2, 3, 4),
        (2, 3, 3, 3),
        {"strides": [2, 2], "pads": [1, 1, 0, 1], "output_padding": [1, 0]},
    ),
    "transposed, groups": ("ConvTranspose", (4, 3, 3), (4, 2, 2, 2), {"group": 2}),
    "transposed, depthwise": (
        "ConvTranspose",
        (3, 3, 3),
        (3, 1, 2, 2),
        {"group": 3, "strides": [2, 2]},
    ),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("name", ["epsilon", "z-plus", "alpha2-beta1", "gamma", "z-box"])
def test_convolution(name, kind) -> None:
    rule, twin = RULES[name]
    op, shape, kernel, attributes = CONVOLUTIONS[kind]
    random = np.random.default_rng(sum(map(ord, kind + name)))
    x = random.standard_normal((2, *shape))
    w = random.standard_normal(kernel)
    map_, out = convolution(op, x, w, **attributes)
    b = random.standard_normal(out[1])
    relevance = random.standard_normal(out)
    layer = step(map_, w, b, rule, False)
    last = [np.moveaxis(array, 1, -1) for array in (x, relevance)]
    there, biases, stabilisers = applied(layer, *last)
    matrix = matrix_of(op, x, w, **attributes)
    each = np.broadcast_to(b.reshape(-1, *(1,) * (len(out) - 2)), out[1:]).reshape(-1)
    for row in range(2):
        wanted = twin(x[row].reshape(-1), matrix, each, relevance[row].reshape(-1))
        given = np.moveaxis(there[row], -1, 0).reshape(-1)
        np.testing.assert_allclose(given, wanted, rtol=1e-8, atol=1e-9 * np.abs(wanted).max())
    check_identity([there, biases, stabilisers], relevance)


@pytest.mark.parametrize("name", ["w-square", "flat"])
def test_rules_that_do_not_look_at_the_input(name) -> None:
    random = np.random.default_rng(3)
    w, relevance = random.standard_normal((4, 3)), random.standard_normal((2, 3))
    rule = rules.w_square() if name == "w-square" else rules.flat()
    twin = twins.w_square if name == "w-square" else twins.flat
    a = random.standard_normal((2, 4))
    given = applied(step(Dense(), w, np.ones(3), rule, False), a, relevance)
    for row in range(2):
        np.testing.assert_allclose(given[0][row], twin(w, relevance[row], E), rtol=1e-9)


def test_knowing_the_sign_changes_nothing() -> None:
    random = np.random.default_rng(5)
    a, w = np.abs(random.standard_normal((2, 5))), random.standard_normal((5, 4))
    b, relevance = random.standard_normal(4), random.standard_normal((2, 4))
    for rule, _ in RULES.values():
        known, unknown = (
            applied(step(Dense(), w, b, rule, sign), a, relevance)[0] for sign in (True, False)
        )
        np.testing.assert_allclose(known, unknown, rtol=1e-12)


def test_the_sign_saves_terms() -> None:
    w = np.ones((2, 2))
    saving = [
        prepared is None for prepared in step(Dense(), w, w[0], rules.z_plus(), True).prepared()
    ]
    assert saving == [False, True]
    for rule in (rules.alpha_beta(2.0, 1.0), rules.gamma()):
        prepared = step(Dense(), w, w[0], rule, True).prepared()
        assert [part is None for part in prepared][:4] == [False, True, False, True]


def test_a_negative_beta_is_refused() -> None:
    with pytest.raises(ValueError, match="beta"):
        rules.alpha_beta(1.0, -0.5)


def test_stabilised_moves_away_from_zero() -> None:
    z = rules.stabilised(np.array([0.0, 2.0, -2.0], np.float32), 0.5)
    np.testing.assert_array_equal(z, [0.5, 2.5, -2.5])
