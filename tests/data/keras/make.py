"""How the files beside this script were made: by Keras 2, which Keras 3 cannot be asked to do.

    pip install 'tensorflow-cpu==2.15.1'        # brings Keras 2.15.0; Python 3.9 to 3.11
    python tests/data/keras/make.py

`keras2.h5` is a functional network, whole; `keras2.json` and `keras2_weights.h5` are a sequential
one, architecture and weights apart; `keras22.json` is that architecture as Keras 2.2.2 wrote it:
the layers as a bare list, no input layer. `outputs.npz` holds what Keras 2 itself computes.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import layers

HERE = Path(__file__).parent


def randomise(model: keras.Model, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        value = generator.normal(0, 0.3, weight.shape).astype("float32")
        values.append(1 + np.abs(value) if "variance" in weight.name else value)
    model.set_weights(values)


pixels = keras.Input((17, 17, 1), name="pixels")
x = layers.Conv2D(6, 3, padding="same", use_bias=False)(pixels)
x = layers.Activation("relu")(layers.BatchNormalization()(x))
y = layers.DepthwiseConv2D(3, padding="same")(x)
y = layers.LeakyReLU(0.2)(layers.SeparableConv2D(6, 3, padding="same")(y))
x = layers.MaxPooling2D(2, padding="same")(layers.Add()([x, y]))
x = layers.Dense(5, activation="softmax", name="classes")(layers.GlobalAveragePooling2D()(x))
functional = keras.Model(pixels, x)
randomise(functional, 1)
functional.save(HERE / "keras2.h5", include_optimizer=False)

sequential = keras.Sequential(
    [
        layers.Conv2D(4, 3, activation="relu", input_shape=(12, 12, 3)),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
)
randomise(sequential, 2)
(HERE / "keras2.json").write_text(sequential.to_json(indent=1), encoding="utf-8")
sequential.save_weights(HERE / "keras2_weights.h5")


def as_keras_22(number: int, layer: layers.Layer) -> dict:
    """The configuration of a layer, in the keys that the models of 2017 and 2018 have."""
    config = {k: v for k, v in layer.get_config().items() if k != "groups"}
    if number == 0:
        config["batch_input_shape"] = [None, 12, 12, 3]
    if "kernel_initializer" in config:
        scaling = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
        config["kernel_initializer"] = {"class_name": "VarianceScaling", "config": scaling}
        config["bias_initializer"] = {"class_name": "Zeros", "config": {}}
    return {"class_name": type(layer).__name__, "config": config}


old = [as_keras_22(number, layer) for number, layer in enumerate(sequential.layers)]
tree = {
    "class_name": "Sequential",
    "config": old,
    "keras_version": "2.2.2",
    "backend": "tensorflow",
}
(HERE / "keras22.json").write_text(json.dumps(tree, indent=1), encoding="utf-8")

generator = np.random.default_rng(0)
inputs = {
    "functional": generator.random((4, 17, 17, 1), np.float32),
    "sequential": generator.random((4, 12, 12, 3), np.float32),
}
np.savez_compressed(
    HERE / "outputs.npz",
    **{f"{name}_in": array for name, array in inputs.items()},
    functional_out=functional(inputs["functional"]).numpy(),
    sequential_out=sequential(inputs["sequential"]).numpy(),
)
