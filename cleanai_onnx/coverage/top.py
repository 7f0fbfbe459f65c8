"""Top-k neuron coverage: the k most active neurons of each layer.

`tknc` (CleanAI): the sum of the k largest activations of each layer; selected = sum over layers of
min(k, size); mean = sum / selected; all summed over the inputs.

`tknc-suite` (DeepGauge, section 3.2): neurons that were among the k largest of their layer for some
input, over all neurons. Exactly min(k, size) neurons are selected for each input; of equal ones
those with the lower index.
"""

from __future__ import annotations

import numpy as np

from cleanai_onnx.coverage.metric import Card, Evidence, Metric, TableBody, UnitState
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.tabulation import suite_coverage
from cleanai_onnx.result import Column

__all__ = ["METRICS"]


def _tabulate(evidence: Evidence, parameters: Parameters) -> TableBody:
    rows = []
    for layer in evidence.layers:
        each = parameters.top_k if parameters.cleanai_compat else min(parameters.top_k, layer.size)
        selected = each * evidence.inputs
        mean = layer.top_sum / selected if selected else None
        rows.append((layer.name, layer.top_sum, selected, mean))
    total = sum(row[1] for row in rows)
    selected = sum(row[2] for row in rows)
    return TableBody(
        (
            Column("layer", "text"),
            Column("sum", "value"),
            Column("selected", "count"),
            Column("mean", "value"),
        ),
        tuple(rows),
        ("all layers", total, selected, total / selected if selected else None),
    )


def _ever_selected(state: UnitState, _: Parameters) -> np.ndarray:
    return state.selected


def _k(parameters: Parameters) -> dict[str, int]:
    return {"k": parameters.top_k}


METRICS = (
    Metric(
        id="tknc",
        title="Top-k neuron coverage",
        definition=(
            "Per input: the sum of the k largest activations of each layer; selected = sum over "
            "layers of min(k, size); mean = sum / selected. Summed over the suite."
        ),
        card=Card("input", False, True, True, "CleanAI (ESOGU-SRLAB), top-k neuron coverage"),
        tabulate=_tabulate,
        parameters=lambda parameters: {
            **_k(parameters),
            "selected": "k for each layer" if parameters.cleanai_compat else "min(k, size)",
        },
    ),
    Metric(
        id="tknc-suite",
        title="Top-k neuron coverage of the suite",
        definition=(
            "Neurons that were among the k largest of their layer for at least one input, over all "
            "neurons; of equal activations those with the lower index are selected."
        ),
        card=Card("suite", True, True, True, "Ma et al., DeepGauge (ASE 2018), section 3.2, TKNC"),
        tabulate=suite_coverage,
        parameters=_k,
        covers=_ever_selected,
        union=True,
    ),
)
