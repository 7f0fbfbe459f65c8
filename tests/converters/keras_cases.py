"""Small Keras models, one for each thing that a route can get wrong.

Keras is imported when a model is built: the backend is chosen before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CASES: dict[str, tuple[str, Callable[[Any], Any]]] = {}
"""By file name: the words of the table, and what builds the model from ``keras``."""


def case(name: str, words: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    def register(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
        CASES[name] = words, build
        return build

    return register


def head(keras: Any, x: Any, units: int = 5) -> Any:
    return keras.layers.Dense(units, name="classes")(keras.layers.GlobalAveragePooling2D()(x))


@case("batch_norm", "Conv2D, BatchNormalization, ReLU, softmax")
def batch_norm(keras: Any) -> Any:
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(6, 3, padding="same", use_bias=False)(pixels)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(pixels, keras.layers.Softmax()(head(keras, x)))


@case("separable", "depthwise and separable convolutions, strides")
def separable(keras: Any) -> Any:
    pixels = keras.Input((17, 16, 3), name="pixels")
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(pixels)
    x = keras.layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(pixels, head(keras, x))


@case("prelu", "PReLU, LeakyReLU, ELU")
def prelu(keras: Any) -> Any:
    pixels = keras.Input((12, 12, 3), name="pixels")
    x = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.Conv2D(6, 3)(pixels))
    x = keras.layers.LeakyReLU(negative_slope=0.1)(keras.layers.Conv2D(6, 3)(x))
    x = keras.layers.ELU()(keras.layers.Conv2D(6, 3)(x))
    return keras.Model(pixels, head(keras, x))


@case("same_pooling", "same-padded pooling of odd sizes")
def same_pooling(keras: Any) -> Any:
    pixels = keras.Input((17, 15, 3), name="pixels")
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(pixels)
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.AveragePooling2D(3, strides=2, padding="same")(x)
    return keras.Model(pixels, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


@case("gelu", "GELU with LayerNormalization")
def gelu(keras: Any) -> Any:
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.LayerNormalization()(keras.layers.Conv2D(6, 3)(pixels))
    return keras.Model(pixels, head(keras, keras.layers.Activation("gelu")(x)))


@case("attention", "transformer block (MultiHeadAttention, GELU)")
def attention(keras: Any) -> Any:
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(8, 4, strides=4)(pixels)
    x = keras.layers.Reshape((16, 8))(x)
    y = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(2, 4)(y, y)])
    y = keras.layers.Dense(16, activation="gelu")(keras.layers.LayerNormalization()(x))
    x = keras.layers.Add()([x, keras.layers.Dense(8)(y)])
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(pixels, keras.layers.Dense(5, name="classes")(x))


@case("upsampling", "bilinear upsampling, Conv2DTranspose, Concatenate")
def upsampling(keras: Any) -> Any:
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(pixels)
    small = keras.layers.MaxPooling2D(2)(x)
    one = keras.layers.UpSampling2D(2, interpolation="bilinear")(small)
    two = keras.layers.Conv2DTranspose(6, 3, strides=2, padding="same")(small)
    x = keras.layers.Concatenate()([x, one, two])
    return keras.Model(pixels, keras.layers.Conv2D(2, 1, name="mask")(x))


@case("outputs", "two outputs by name")
def outputs(keras: Any) -> Any:
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(6, 3, activation="relu")(pixels)
    x = keras.layers.GlobalMaxPooling2D()(x)
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(x)
    return keras.Model(pixels, {"kind": kind, "age": keras.layers.Dense(1, name="age")(x)})


@case("swish", "SiLU, hard-swish, squeeze and excite")
def swish(keras: Any) -> Any:
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(8, 3, activation="silu")(pixels)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = keras.layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    x = keras.layers.Multiply()([x, gate])
    x = keras.layers.Activation("hard_swish")(keras.layers.Conv2D(8, 3)(x))
    return keras.Model(pixels, head(keras, x))


@case("rescaling", "Rescaling and Normalization inside the model")
def rescaling(keras: Any) -> Any:
    pixels = keras.Input((16, 20, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    statistics = {"mean": [0.485, 0.456, 0.406], "variance": [0.0524, 0.0502, 0.0506]}
    x = keras.layers.Normalization(**statistics)(x)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    return keras.Model(pixels, head(keras, x))


@case("any_size", "any image size (None x None)")
def any_size(keras: Any) -> Any:
    pixels = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(pixels)
    return keras.Model(pixels, head(keras, keras.layers.Conv2D(6, 3, strides=2)(x)))


def trained(model: Any, seed: int = 0) -> Any:
    """Give every weight of a model a value that a trained one could have; return the model."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        scale = 1 / np.sqrt(max(1, np.prod(weight.shape[:-1])))
        values = generator.normal(0, max(scale, 0.1), weight.shape)
        if weight.path.endswith(("variance", "gamma")):
            values = 1 + 0.3 * np.abs(values)
        if "normalization" in weight.path and weight.path.endswith(("/mean", "/count")):
            continue  # of Normalization: the layer keeps its own copy of them
        if weight.dtype.startswith("float"):
            weight.assign(values.astype("float32"))
    return model


def save_all(folder: Path) -> None:
    """Write each case as ``<name>.keras``."""
    import keras

    for number, (name, (_, build)) in enumerate(CASES.items()):
        trained(build(keras), number).save(folder / f"{name}.keras")
