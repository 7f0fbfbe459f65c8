"""``python -m cleanai_onnx``."""

import sys

from cleanai_onnx.cli import run

sys.exit(run())
