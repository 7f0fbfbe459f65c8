"""From PyTorch or Keras to an ONNX model that is proved to be the same network.

`cleanai_onnx.converters.pytorch.to_onnx` and `cleanai_onnx.converters.keras.to_onnx` try the routes
that are installed, one after the other. Each result is checked (`verification`), compared with the
source on the same inputs (`parity`), and only then put in its place (`publication`), with a record
of all that was done (`conversion`). Nothing is imported here: torch and Keras are heavy.
"""
