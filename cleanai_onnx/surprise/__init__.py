"""How surprising an input is: its activation trace against those of the training images.

Kim, Feldt, Yoo: Guiding Deep Learning System Testing Using Surprise Adequacy (ICSE 2019).
"""

from __future__ import annotations

from cleanai_onnx.surprise.density import RIDGE, ClassDensity, varying_columns
from cleanai_onnx.surprise.nearest import NearestTraces

__all__ = ["RIDGE", "ClassDensity", "NearestTraces", "varying_columns"]
