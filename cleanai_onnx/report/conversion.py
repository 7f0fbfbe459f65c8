"""The record of a conversion in words: for the verdict of ``convert`` and for the reports."""

from __future__ import annotations

from cleanai_onnx.converters.conversion import Conversion
from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named

__all__ = ["CLAIM", "described", "origin"]

CLAIM = (
    "What the model file says of its own making. Whoever can write the file can write this: trust "
    "it as far as you trust where the file came from."
)


def origin(record: Conversion) -> str:
    """Return in one phrase what the model was made from and how close it is to that."""
    return (
        f"converted from {named(record.source)} ({record.format}) by the {record.route}, "
        f"largest difference {record.parity.maximum:.2g} on {record.parity.inputs:,} inputs"
    )


def described(record: Conversion) -> list[tuple[str, str]]:
    """Return the facts as labels and texts, in the order in which one reads them.

    What was tried comes last, a label and a text for each attempt.
    """
    parity = record.parity
    compared = f"{parity.inputs:,} inputs"
    if parity.images:
        compared += f" ({parity.images:,} from images)"
    rows = [
        ("Source", f"{named(record.source)}, {record.format}"),
        ("Route", f"{record.route}, opset {record.opset}"),
        ("Parameters", figures.count(record.parameters)),
        (
            "Difference",
            f"at most {parity.maximum:.2g}, on average {parity.mean:.2g}, on {compared}; the "
            f"outputs reach {parity.magnitude:.3g}",
        ),
        ("Tolerance", f"{parity.atol:g} + {parity.rtol:g} x the largest output"),
    ]
    if parity.ranked:
        rows.append(("Arg max", f"the same for {parity.agreeing:,} of {parity.ranked:,} inputs"))
    sizes = " and ".join(map(str, parity.batch_sizes))
    free = "any size" if record.batch == "dynamic" else "fixed: the source allows no other"
    rows.append(("Batch", f"{free} (compared with batches of {sizes})"))
    rows += [("Input", f"{name}: {_shape(shape)}") for name, shape in record.inputs.items()]
    rows += [("Output", f"{name}: {_shape(shape)}") for name, shape in record.outputs.items()]
    rows += [("Note", remark) for remark in record.remarks]
    for attempt in record.attempts:
        text = f"{attempt.route}: {attempt.outcome}"
        if attempt.seconds:
            text += f", {figures.duration(attempt.seconds)}"
        rows.append(("Tried", f"{text}; {attempt.reason}" if attempt.reason else text))
    return rows


def _shape(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
