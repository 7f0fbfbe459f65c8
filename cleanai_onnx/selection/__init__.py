"""Which images of a suite are worth keeping: what each adds, a ranking, the smallest subset.

Nothing here knows ONNX or JAX: an image is the set of the items that it covers, and an item is a
number, whatever a metric makes of it (a section of a channel's range, a corner case, …).
"""

from cleanai_onnx.selection.greedy import Ranking
from cleanai_onnx.selection.record import Added, CoverRecord, Packed
from cleanai_onnx.selection.subset import Subset, smallest_subset
from cleanai_onnx.selection.text import TextRecord

__all__ = ["Added", "CoverRecord", "Packed", "Ranking", "Subset", "TextRecord", "smallest_subset"]
