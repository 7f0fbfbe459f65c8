"""Interaction coverage (`ss`, `sv`, `vs`, `vv`): a change in one layer meets a change in the next.

CleanAI counts pairs of neurons (i, j), i in layer k and j in layer k + 1, for two inputs. With S
the neurons that change sign, V those that change value by more than t (module `pairs`), a neuron i
counts only if no OTHER neuron of its layer changes sign. Then the sums over all pairs have closed
forms, in O(N) in place of CleanAI's loops over i, j and the rest of the layer:

* SS = [abs(S_k) = 1] · abs(S_{k+1})
* SV = [abs(S_k) = 1] · abs(V_{k+1} minus S_{k+1})
* VS = c_k · abs(S_{k+1})
* VV = c_k · abs(V_{k+1} minus S_{k+1})

where c_k, the neurons of layer k that change value while no other one changes sign, is abs(V_k) if
S_k is empty, abs(V_k and S_k) if S_k has one element, and 0 otherwise. The total is N_k · N_{k+1}.
Counts are Python integers: a total passes 10**14 on common networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cleanai_onnx.coverage.change import NO_PAIR, pair_note
from cleanai_onnx.coverage.metric import Card, Evidence, Metric, TableBody, ratio
from cleanai_onnx.coverage.pairs import CLEANAI_VALUE_THRESHOLD, PairCounts
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import Column

__all__ = ["METRICS", "interactions"]

Interaction = Callable[[PairCounts, PairCounts, bool], int]


def lone_sign_changes(layer: PairCounts) -> int:
    """Return how many neurons change sign while no other neuron of the layer does."""
    return 1 if layer.sign == 1 else 0


def lone_value_changes(layer: PairCounts) -> int:
    """Return c_k: how many neurons change value while no other neuron of the layer changes sign."""
    if layer.sign == 0:
        return layer.value
    return layer.value_and_sign if layer.sign == 1 else 0


def _ss(here: PairCounts, there: PairCounts, _: bool) -> int:
    return lone_sign_changes(here) * there.sign


def _sv(here: PairCounts, there: PairCounts, _: bool) -> int:
    return lone_sign_changes(here) * there.value_only


def _vs(here: PairCounts, there: PairCounts, _: bool) -> int:
    return lone_value_changes(here) * there.sign


def _vv(here: PairCounts, there: PairCounts, compat: bool) -> int:
    value_only = there.compat_value_only if compat else there.value_only
    return lone_value_changes(here) * value_only


def interactions(
    layers: tuple[PairCounts, ...],
    interaction: Interaction,
    adjacency: tuple[tuple[int, int], ...],
    compat: bool = False,
) -> list[tuple[int, int, int, int]]:
    """Return (layer k, layer k + 1, covered, total) for each pair of adjacent layers."""
    return [
        (
            here,
            there,
            interaction(layers[here], layers[there], compat),
            layers[here].size * layers[there].size,
        )
        for here, there in adjacency
    ]


def _tabulate(interaction: Interaction) -> Callable[[Evidence, Parameters], TableBody]:
    columns = (
        Column("layer", "text"),
        Column("next layer", "text"),
        Column("covered", "count"),
        Column("total", "count"),
        Column("coverage", "ratio"),
    )

    def tabulate(evidence: Evidence, parameters: Parameters) -> TableBody:
        if evidence.pair is None:
            return TableBody(columns, (), ("all layers", None, None, None, None), (NO_PAIR,))
        found = interactions(
            evidence.pair, interaction, evidence.adjacency, parameters.cleanai_compat
        )
        names = [layer.name for layer in evidence.layers]
        covered, total = sum(row[2] for row in found), sum(row[3] for row in found)
        notes = pair_note(evidence)
        if not found:
            notes += ("Not computed: the model has fewer than two adjacent layers.",)
        return TableBody(
            columns,
            tuple(
                (names[here], names[there], part, whole, ratio(part, whole))
                for here, there, part, whole in found
            ),
            ("all layers", None, covered, total, ratio(covered, total)),
            notes,
        )

    return tabulate


def _no_threshold(_: Parameters) -> dict[str, Any]:
    return {}


def _one_threshold(parameters: Parameters) -> dict[str, Any]:
    return {"t": parameters.value_threshold}


def _vv_thresholds(parameters: Parameters) -> dict[str, Any]:
    there = CLEANAI_VALUE_THRESHOLD if parameters.cleanai_compat else parameters.value_threshold
    return {"t": parameters.value_threshold, "t of the next layer": there}


def _metric(
    id_: str,
    name: str,
    here: str,
    there: str,
    interaction: Interaction,
    parameters: Callable[[Parameters], dict[str, Any]],
) -> Metric:
    return Metric(
        id=id_,
        title=f"{name} coverage",
        definition=(
            f"For a pair of images and adjacent layers: pairs of neurons (i, j) where i {here} and "
            f"no other neuron of its layer changes sign, and j, in the next layer, {there}."
        ),
        card=Card("pair", False, False, False, f"CleanAI (ESOGU-SRLAB), {name.lower()} coverage"),
        tabulate=_tabulate(interaction),
        parameters=parameters,
    )


_SIGN, _VALUE = "changes sign (a·b <= 0)", "changes value (|a - b| > t)"
_VALUE_ONLY = "changes value (|a - b| > t) and keeps its sign"

METRICS = (
    _metric("ss", "Sign-sign", _SIGN, _SIGN, _ss, _no_threshold),
    _metric("sv", "Sign-value", _SIGN, _VALUE_ONLY, _sv, _one_threshold),
    _metric("vs", "Value-sign", _VALUE, _SIGN, _vs, _one_threshold),
    _metric("vv", "Value-value", _VALUE, _VALUE_ONLY, _vv, _vv_thresholds),
)
