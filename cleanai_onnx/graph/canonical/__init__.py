"""Canonical passes: rewritings of a graph that change its form and not its numbers.

Relevance needs batch normalisation inside its neighbour, biases inside their layers, and an
activation to be one node. Each pass is one file and states what it requires and ensures.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from cleanai_onnx.graph.canonical.activations import RECOGNISE_ACTIVATIONS
from cleanai_onnx.graph.canonical.affine import FOLD_AFFINE
from cleanai_onnx.graph.canonical.batchnorm_after import FOLD_BATCHNORM_AFTER
from cleanai_onnx.graph.canonical.batchnorm_before import FOLD_BATCHNORM_BEFORE
from cleanai_onnx.graph.canonical.constants import FOLD_CONSTANTS
from cleanai_onnx.graph.canonical.exposed import computes_in_double, exposed_bytes
from cleanai_onnx.graph.canonical.functions import DOMAIN
from cleanai_onnx.graph.canonical.gemm import MATMUL_TO_GEMM
from cleanai_onnx.graph.canonical.identities import REMOVE_IDENTITIES
from cleanai_onnx.graph.canonical.layer_norm import RECOGNISE_LAYER_NORM
from cleanai_onnx.graph.canonical.padding import MERGE_PADDING
from cleanai_onnx.graph.canonical.passes import CanonicalPass, run_passes
from cleanai_onnx.graph.canonical.weights import with_weights
from cleanai_onnx.graph.canonical.widening import (
    WIDEN_FLOATS,
    WIDEN_HALVES,
    without_halves,
)

__all__ = [
    "DOMAIN",
    "PASSES",
    "WIDEN_FLOATS",
    "WIDEN_HALVES",
    "CanonicalPass",
    "canonicalise",
    "computes_in_double",
    "exposed_bytes",
    "run_passes",
    "with_weights",
    "without_halves",
]

PASSES: tuple[CanonicalPass, ...] = (
    FOLD_CONSTANTS,
    REMOVE_IDENTITIES,
    RECOGNISE_LAYER_NORM,
    RECOGNISE_ACTIVATIONS,
    MATMUL_TO_GEMM,
    FOLD_AFFINE,
    FOLD_BATCHNORM_AFTER,
    FOLD_BATCHNORM_BEFORE,
    MERGE_PADDING,
)
"""All passes, in the order in which they are tried."""


def canonicalise(
    proto: onnx.ModelProto, before: Sequence[CanonicalPass] = ()
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Return the canonical form of a model, and the names of the passes that changed it.

    Parameters
    ----------
    proto
        A checked model (`cleanai_onnx.graph.load_model`) with its weights loaded; not changed.
    before
        Passes to run before the others.
    """
    return run_passes(proto, (*before, *PASSES))
