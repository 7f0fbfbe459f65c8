"""Whole networks against zennit, and gradients of the lowered function against torch's."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch]

COMPOSITES = ("epsilon_plus", "epsilon_gamma_box", "epsilon_alpha2_beta1")
OURS = {name: name.replace("_", "-") for name in COMPOSITES} | {"epsilon_all": "epsilon"}
LOW, HIGH = -3.0, 3.0


def images(name: str) -> np.ndarray:
    from tests.relevance.torch_nets import image_size

    shape = (2, 3, image_size(name), image_size(name))
    return np.clip(np.random.default_rng(1).standard_normal(shape), LOW, HIGH).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11"])
def test_zennit(name: str, composite: str) -> None:
    assert apart(name, composite) < 5e-5


@pytest.mark.parametrize(
    ("name", "composite"),
    [
        *itertools.product(["small resnet", "small mobilenet", "small vgg"], COMPOSITES),
        # The plain rule is ill-conditioned behind many layers.
        ("small resnet", "epsilon_all"),
        ("small vgg", "epsilon_all"),
    ],
)
def test_zennit_in_float64(name: str, composite: str) -> None:
    """The rules are the same: what is left is the rounding of sums in another order."""
    assert apart(name, composite, precision="float64") < 1e-10


def apart(name: str, composite: str, **options: str) -> float:
    """Return how far ours and zennit's relevance, in float64, are apart, over max|R|."""
    _zennit()
    from cleanai_onnx.relevance import attribute
    from tests.relevance.torch_nets import exported, image_size, seeded
    from tests.relevance.zennit_oracle import relevance

    net, batch = seeded(name), images(name)
    model = exported(net, image_size(name))
    box = {"low": LOW, "high": HIGH} if composite.endswith("box") else {}
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in box.items()}
    wanted = relevance(net.double(), torch.tensor(batch).double(), composite, **tensors)
    explained = attribute(model, batch, composite=OURS[composite], **box, **options)
    assert not explained.without_rule
    return float(np.abs(explained.relevance - wanted).max() / np.abs(wanted).max())


def _zennit() -> None:
    from importlib.util import find_spec

    if find_spec("zennit") is None:
        pytest.skip("zennit is not installed (pip install --no-deps zennit)")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11"])
def test_gradients(name: str) -> None:
    import jax
    import onnx

    from cleanai_onnx.lowering import lower
    from tests.relevance.torch_nets import exported, seeded

    net = seeded(name)
    lowered = lower(onnx.ModelProto.FromString(exported(net)))
    x = torch.tensor(images(name), requires_grad=True)
    net(x).max(dim=1).values.sum().backward()

    def predicted(inputs: jax.Array) -> jax.Array:
        return lowered(lowered.parameters, inputs)["logits"].max(axis=1).sum()

    gradient = np.asarray(jax.jit(jax.grad(predicted))(images(name)))
    wanted = x.grad.numpy()
    assert np.abs(gradient - wanted).max() < 1e-4 * np.abs(wanted).max()
