"""The words that name messages. Each warning and error has one, and `docs/messages.md` explains it.

Notes of a result carry theirs (`cleanai_onnx.result.Note`). An error has the slug that it is raised
with, else that of its class (`cleanai_onnx.errors`), else that of the module that raises it, which
is said here. Slugs are stable: people look them up, and programs compare with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["MODULES", "slug_of_module"]

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "commands.gating": "gates",
        "commands.reporting": "output",
        "config": "config-file",
        "converters": "conversion",
        "converters.formats": "conversion-source",
        "converters.keras_formats": "conversion-source",
        "converters.keras_loading": "conversion-class",
        "converters.keras_safety": "unsafe-file",
        "converters.keras_saved_model": "conversion-source",
        "converters.pytorch_inspection": "unsafe-file",
        "converters.pytorch_loading": "conversion-class",
        "coverage": "metric-parameters",
        "exploration": "exploration",
        "graph.canonical": "model-invalid",
        "graph.canonical.weights": "external-data",
        "graph.external": "external-data",
        "graph.image_input": "model-input",
        "graph.loading": "model-file",
        "graph.memory": "memory",
        "graph.selection": "taps",
        "graph.shapes": "model-invalid",
        "graph.taps": "taps",
        "graph.tensors": "model-invalid",
        "graph.topology": "model-invalid",
        "graph.validity": "model-invalid",
        "inputs.arrays": "arrays",
        "inputs.discovery": "images-not-found",
        "inputs.masks": "image-unusable",
        "inputs.normalisation": "preprocessing-misfit",
        "inputs.remote": "image-source",
        "inputs.resolution": "preprocessing-misfit",
        "inputs.settings": "preprocessing-setting",
        "inputs.sidecars": "preprocessing-file",
        "inputs.sizing": "preprocessing-misfit",
        "inputs.stored": "image-source",
        "inputs.stores": "image-source",
        "inputs.streaming": "image-unusable",
        "inputs.suite": "image-name",
        "inputs.tables": "image-source",
        "inputs.thumbnails": "image-unusable",
        "inspection": "inspection",
        "jobs.combining": "state-file",
        "jobs.explaining": "relevance-options",
        "jobs.exploration_rounds": "exploration",
        "jobs.exploration_options": "exploration",
        "jobs.exploring": "exploration",
        "jobs.inspecting": "inspection",
        "jobs.perturbing": "exploration",
        "jobs.seeding": "exploration",
        "jobs.subset_list": "subset",
        "jobs.witness": "exploration",
        "lowering": "lowering",
        "measuring.analyzer": "batches",
        "measuring.batches": "batches",
        "measuring.cover_items": "subset",
        "measuring.criteria": "subset",
        "measuring.planning": "batch-size",
        "measuring.runner": "batches",
        "profiles.labels": "labels",
        "profiles.learning": "learning",
        "profiles.profile": "profile-mismatch",
        "profiles.storage": "profile-file",
        "relevance": "relevance-options",
        "relevance.memory": "memory",
        "report": "report-format",
        "report.affinities": "output",
        "report.json": "stored-result",
        "runtime.session": "device",
        "spread.spreading": "workers",
        "states": "state-file",
        "states.checkpoint": "checkpoint",
        "states.merging": "states-differ",
        "validation": "gates",
    }
)
"""What the errors of a module, or of all modules of a room, are about."""


def slug_of_module(module: str) -> str | None:
    """Return the slug of the errors of a module, or of the nearest room around it."""
    name = module.removeprefix("cleanai_onnx.")
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return MODULES.get(name)
