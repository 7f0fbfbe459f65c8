"""Whole networks against zennit, and gradients of the lowered function against torch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

COMPOSITES = ("epsilon_plus", "epsilon_gamma_box", "epsilon_alpha2_beta1")
LOW, HIGH = -3.0, 3.0


def images() -> np.ndarray:
    from tests.relevance.torch_nets import IMAGE

    random = np.random.default_rng(1)
    return np.clip(random.standard_normal((2, 3, IMAGE, IMAGE)), LOW, HIGH).astype(np.float32)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11"])
def test_zennit(name: str, composite: str) -> None:
    _zennit()
    from cleanai_onnx.relevance import attribute
    from tests.relevance.torch_nets import exported, seeded
    from tests.relevance.zennit_oracle import relevance

    net = seeded(name)
    model = exported(net)
    box = {"low": LOW, "high": HIGH} if composite.endswith("box") else {}
    tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in box.items()}
    wanted = relevance(net.double(), torch.tensor(images()).double(), composite, **tensors)
    explained = attribute(model, images(), composite=composite.replace("_", "-"), **box)
    assert np.abs(explained.relevance - wanted).max() < 5e-5 * np.abs(wanted).max()
    assert not explained.without_rule


def _zennit() -> None:
    from importlib.util import find_spec

    if find_spec("zennit") is None:
        pytest.skip("zennit is not installed (pip install --no-deps zennit)")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vgg11"])
def test_gradients(name: str) -> None:
    import jax
    import onnx

    from cleanai_onnx.lowering import lower
    from tests.relevance.torch_nets import exported, seeded

    net = seeded(name)
    lowered = lower(onnx.ModelProto.FromString(exported(net)))
    x = torch.tensor(images(), requires_grad=True)
    net(x).max(dim=1).values.sum().backward()

    def predicted(inputs: jax.Array) -> jax.Array:
        return lowered(lowered.parameters, inputs)["logits"].max(axis=1).sum()

    gradient = np.asarray(jax.jit(jax.grad(predicted))(images()))
    wanted = x.grad.numpy()
    assert np.abs(gradient - wanted).max() < 1e-4 * np.abs(wanted).max()
