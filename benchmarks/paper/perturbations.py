"""The suites of the experiments: noise on relevant and on random pixels, and adversarial images."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from networks import Network

from cleanai_onnx.exploration import perturbations
from cleanai_onnx.exploration.perturbations import BIM_STEPS, noisy, random_pixels
from cleanai_onnx.relevance import Explainer

__all__ = ["BIM_STEPS", "carlini_wagner", "fgsm", "noisy", "random_pixels", "relevant_pixels"]

SHARE = 0.98
"""Pixels whose relevance is above this quantile of their image's are relevant: 16 of 784."""
NOISE = 0.75
"""Standard deviation of the noise on these pixels."""
REACH = 0.3
"""Of Gaussian noise (standard deviation), FGSM and BIM (largest change of a pixel)."""
BATCH = 500


def relevant_pixels(network: Network) -> np.ndarray:
    """Return the masks (N, 1, 28, 28) of the relevant pixels of each test image."""
    explainer = Explainer(network.path, composite="epsilon", batch_size=BATCH)
    masks = []
    for first in range(0, len(network.test), BATCH):
        batch = network.test[first : first + BATCH]
        relevance = np.asarray(explainer.explain(batch).relevance).reshape(len(batch), -1)
        masks.append(perturbations.relevant_pixels(relevance, 1 - SHARE).reshape(batch.shape))
    return np.concatenate(masks)


def fgsm(network: Network, steps: int = 1) -> np.ndarray:
    """Return the test images after the fast gradient sign method, once or in steps (BIM)."""
    gradient = perturbations.loss_gradient(network.logits)
    found = []
    for first in range(0, len(network.test), BATCH):
        labels = jnp.asarray(network.test_labels[first : first + BATCH])
        found.append(
            perturbations.ascend_signs(
                lambda images, labels=labels: gradient(images, labels),
                network.test[first : first + BATCH],
                REACH,
                steps,
            )
        )
    return np.concatenate(found)


def carlini_wagner(network: Network, count: int) -> tuple[np.ndarray, np.ndarray] | str:
    """Return images after C&W's L2 attack of foolbox and which test images they are of, or why not.

    It is tried on the first `count` test images.
    Where the attack finds nothing, foolbox returns a black image, which a network may well
    classify in another way: that is no adversarial image, and is left out.
    """
    try:
        import foolbox
    except ImportError as error:
        return f"not run: foolbox is not installed ({error})"
    model = foolbox.JAXModel(network.logits, bounds=(0, 1))
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=6, steps=300, initial_const=1e-2
    )
    found = []
    for first in range(0, count, 100):
        images = jnp.asarray(network.test[first : first + 100])
        labels = jnp.asarray(network.test_labels[first : first + 100].astype(np.int32))
        _, clipped, _ = attack(model, images, labels, epsilons=None)
        found.append(np.asarray(clipped, np.float32))
    images = np.concatenate(found)
    rows = np.flatnonzero(images.reshape(len(images), -1).any(axis=1))
    return images[rows], rows
