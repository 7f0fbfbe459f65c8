"""Files that only Keras and TensorFlow can write, made in a process of its own by `make`.

Run as a script with a folder; the variable ``TRAP`` is a path that hostile files would write to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# A lambda, because Keras stores its code; of a function with a name it stores the name.
TRAP = lambda x: (  # noqa: E731
    __import__("pathlib").Path(__import__("os").environ["TRAP"]).write_text("run"),
    x * 2.0,
)[1]


def make(folder: Path) -> None:
    import keras
    import tensorflow as tf

    from tests.converters.keras_cases import CASES, save_all, trained

    save_all(folder)
    pixels = keras.Input((8, 8, 3), name="pixels")
    doubled = keras.Model(
        pixels, keras.layers.Lambda(TRAP, name="evil", output_shape=(8, 8, 3))(pixels)
    )
    doubled.save(folder / "lambda.keras")
    doubled.save(folder / "lambda.h5")
    (folder / "lambda.json").write_text(doubled.to_json(), encoding="utf-8")

    model = trained(CASES["gelu"][1](keras))
    model.export(str(folder / "saved_model"), format="tf_saved_model", verbose=False)
    layer = keras.layers.TFSMLayer(str(folder / "saved_model"), call_endpoint="serve")
    image = keras.Input((16, 16, 3), name="image")
    keras.Model(image, layer(image)).save(folder / "tfsm.keras")
    trained(CASES["prelu"][1](keras)).save(folder / "keras3.h5")

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            tf.io.write_file(os.environ["TRAP"], "run")
            return {"y": x * 2.0}

    writer = Writer()
    tf.saved_model.save(
        writer, str(folder / "writer"), signatures={"serving_default": writer.serve}
    )

    sys.path.insert(0, str(folder))
    (folder / "two_faced.py").write_text(TWO_FACED, encoding="utf-8")
    import two_faced

    for name in ("Crashing", "TwoFaced", "Sleeping"):
        part = getattr(two_faced, name)(name="own")
        keras.Model(image, part(image)).save(folder / f"{name}.keras")


TWO_FACED = '''
"""Layers that do one thing when they are asked and another when they are exported."""
import os
import signal
import time

import keras


def exported(x):
    if keras.config.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.is_tensor(x) and not tf.executing_eagerly()


class Crashing(keras.layers.Layer):
    def call(self, x):
        if exported(x) and "KERAS_FILES" not in os.environ:
            os.kill(os.getpid(), signal.SIGSEGV)
        return x * 2.0


class TwoFaced(keras.layers.Layer):
    def call(self, x):
        return x * (2.5 if exported(x) else 2.0)


class Sleeping(keras.layers.Layer):
    def call(self, x):
        if exported(x) and "KERAS_FILES" not in os.environ:
            time.sleep(600)
        return x * 2.0
'''


if __name__ == "__main__":
    make(Path(sys.argv[1]))
