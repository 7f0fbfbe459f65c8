"""Attribution: from images to the relevance of every pixel and of every unit of any layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.graph import ModelProto
from cleanai_onnx.relevance.composites import Composite
from cleanai_onnx.relevance.explainer import Explainer, Forward, Precision
from cleanai_onnx.relevance.plan import Fallback
from cleanai_onnx.relevance.result import Attribution
from cleanai_onnx.relevance.targets import Target
from cleanai_onnx.runtime import Device

__all__ = ["attribute"]


def attribute(
    model: str | Path | bytes | ModelProto,
    images: npt.ArrayLike,
    *,
    composite: str | Composite = "epsilon-plus",
    target: Target = None,
    layers: Sequence[str] | str | None = None,
    output: str | None = None,
    input_name: str | None = None,
    input_values: Mapping[str, str] | None = None,
    fallback: Fallback = "refuse",
    forward: Forward = "auto",
    precision: Precision = "float32",
    device: Device = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    account_stabilisers: bool = False,
    **parameters: Any,
) -> Attribution:
    """Explain a model's decisions on images by layer-wise relevance propagation.

    Parameters
    ----------
    model
        The path of an ONNX file, the bytes of one, or a model in memory.
    images
        ``(N, ...)``, preprocessed as the model takes them.
    composite
        Which rule goes to which layer: ``"epsilon"``, ``"epsilon-plus"``, ``"epsilon-gamma-box"``,
        ``"epsilon-alpha2-beta1"``, or one of your own
        (`cleanai_onnx.relevance.composites.Composite`).
    target
        What is explained: None for the class that is predicted, a class, or one for each image;
        ``"output"`` for all elements of the output together. Relevance starts from the value
        before the final softmax. A model with one output value is explained by that.
    layers
        Tensors to give the relevance of, or ``"activations"`` for all that the coverage analysis
        measures.
    output, input_name, input_values
        Which output is explained (the first by default), which input takes the images, and values
        for others, as for `cleanai_onnx.Analyzer`.
    fallback
        What to do at operators that have no rule: ``"refuse"``, or pass them by ``"gradient"``
        x input. The result names them.
    forward
        Who computes the activations: ``"onnxruntime"``, ``"jax"``, or ``"auto"`` (onnxruntime).
    precision
        ``"float64"`` computes everything in double precision, with JAX.
    device, batch_size, threads
        As for `cleanai_onnx.Analyzer`.
    account_stabilisers
        Whether to compute what the ε in the denominators took (`Conservation.stabilisers`); it
        costs some time.
    **parameters
        Of a composite that is named: ``epsilon``, ``gamma``, ``low``, ``high``, ``zero_bias`` (see
        `cleanai_onnx.relevance.composites.composite`).

    Returns
    -------
    Attribution

    Raises
    ------
    ModelError
        If the model cannot be used; `NotSupportedError` names an operator that has no rule.
    ImageError
        If the images do not have the shape that the model takes.
    UsageError
        If an option cannot be used.

    Examples
    --------
    >>> explained = attribute("model.onnx", images, target=3)
    >>> explained.relevance.shape == images.shape
    True
    """
    batch = np.asarray(images)
    explainer = Explainer(
        model,
        composite=composite,
        layers=layers,
        output=output,
        input_name=input_name,
        input_values=input_values,
        fallback=fallback,
        forward=forward,
        precision=precision,
        device=device,
        batch_size=batch_size or (min(len(batch), 8) if batch.ndim and len(batch) else None),
        threads=threads,
        account_stabilisers=account_stabilisers,
        **parameters,
    )
    return explainer.explain(batch, target=target)
