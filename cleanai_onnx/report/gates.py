"""The outcomes of gates in words: what every format says of them."""

from __future__ import annotations

from collections.abc import Sequence

from cleanai_onnx.result import GateOutcome

__all__ = ["headline", "verdict", "worst_first"]


def headline(outcomes: Sequence[GateOutcome]) -> str:
    """Say in one line how many gates passed; empty without any."""
    if not outcomes:
        return ""
    count = len(outcomes)
    failed = sum(not outcome.passed for outcome in outcomes)
    gates = "gate" if count == 1 else "gates"
    if not failed:
        return "The gate passed" if count == 1 else f"All {count:,} gates passed"
    return f"{failed:,} of {count:,} {gates} failed"


def worst_first(outcomes: Sequence[GateOutcome]) -> tuple[GateOutcome, ...]:
    """Return the outcomes with those that failed before those that passed."""
    return tuple(sorted(outcomes, key=lambda outcome: outcome.passed))


def verdict(outcome: GateOutcome) -> str:
    """Return the word for an outcome."""
    return "passed" if outcome.passed else "failed"
