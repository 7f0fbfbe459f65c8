from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.graph import constant_inputs, find_image_input, load_model

node = helper.make_node


def single(build, shape, **options):
    return load_model(build([node("Relu", ["x"], ["y"])], inputs={"x": shape}, **options))


@pytest.mark.parametrize(
    ("shape", "batch", "layout", "sizes"),
    [
        (("N", 3, 32, 48), None, "NCHW", (3, 32, 48)),
        ((-1, 1, 28, 28), None, "NCHW", (1, 28, 28)),
        ((0, 4, 28, 28), None, "NCHW", (4, 28, 28)),
        ((5, 28, 30, 3), 5, "NHWC", (3, 28, 30)),
        ((None, "h", "w", 1), None, "NHWC", (1, None, None)),
        (("N", 3, "h", "w"), None, "NCHW", (3, None, None)),
        (("N", 13, 64, 64), None, "NCHW", (13, 64, 64)),
        (("N", 64, 64, 13), None, "NHWC", (13, 64, 64)),
        (("N", 3, 3, 3), None, "NCHW", (3, 3, 3)),
        (("N", 784), None, None, (None, None, None)),
        (("N", 28, 28), None, None, (None, None, None)),
        (("N", 3, 8, 16, 16), None, None, (None, None, None)),
    ],
)
def test_shapes(build, shape, batch, layout, sizes):
    image = find_image_input(single(build, shape))
    assert (image.batch, image.layout) == (batch, layout)
    assert (image.channels, image.height, image.width) == sizes
    assert all(size is None or size > 0 for size in image.shape)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.FLOAT, "float32"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.INT8, "int8"),
    ],
)
def test_element_types(build, kind, name):
    proto = build([node("Identity", ["x"], ["y"])], dtype=kind)
    image = find_image_input(load_model(proto))
    assert image.dtype == np.dtype(name).name


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.BOOL, TensorProto.COMPLEX64])
def test_types_that_images_cannot_have(build, kind):
    with pytest.raises(ModelError, match="element type"):
        find_image_input(load_model(build([node("Identity", ["x"], ["y"])], dtype=kind)))


def test_the_graph_tells_the_layout_where_the_shape_does_not(build, conv):
    nodes, weights = conv()
    for shape in (("N", "c", "h", "w"), None):
        image = find_image_input(load_model(build(nodes, weights, inputs={"x": shape})))
        assert (image.layout, image.channels, image.height) == ("NCHW", 3, None)
    nodes[0].input[0] = "t"
    nodes = [
        node("Mul", ["x", "scale"], ["m"]),
        node("Transpose", ["m"], ["t"], perm=[0, 3, 1, 2]),
        *nodes,
    ]
    weights["scale"] = np.float32(2)
    model = load_model(build(nodes, weights, inputs={"x": ("N", "h", "w", "c")}))
    image = find_image_input(model)
    assert (image.layout, image.channels, image.width) == ("NHWC", 3, None)


def test_no_shape_and_no_evidence(build):
    with pytest.raises(ModelError, match="no shape"):
        find_image_input(single(build, None))
    with pytest.raises(ModelError, match="at least a batch"):
        find_image_input(single(build, (3,)))


def several(build, **inputs):
    names = list(inputs)
    nodes = [node("Relu", [name], [f"{name}_out"]) for name in names]
    outputs = tuple(f"{name}_out" for name in names)
    return load_model(build(nodes, inputs=inputs, outputs=outputs))


def test_several_inputs(build):
    model = several(build, scale=("N", 1), image=("N", 3, 8, 8), extra=(2, 5, 7, 9))
    assert find_image_input(model).name == "image"
    assert find_image_input(model, "scale").name == "scale"
    with pytest.raises(ModelError, match=r"no input 'nope'.*'scale' \(float32, Nx1\)"):
        find_image_input(model, "nope")


@pytest.mark.parametrize("b", [("N", 8, 8, 3), ("N", 1, 9, 9)])
def test_ambiguous_inputs(build, b):
    with pytest.raises(ModelError, match=r"--input NAME.*'a'.*'b'"):
        find_image_input(several(build, a=("N", 3, 8, 8), b=b))
    with pytest.raises(ModelError, match="no input shaped like images"):
        find_image_input(several(build, a=("N", 784), b=("N", 9)))


def test_constant_inputs(build):
    model = several(build, image=("N", 3, 8, 8), s=(), v=(4,), m=("N", 2, "q"), n=None)
    image = find_image_input(model)
    given = {"s": "0.5", "v": "[1, 2, 3, 4]", "m": "1e-3", "n": "[[7]]"}
    values = constant_inputs(model, image, given, batch=6)
    assert {name: value.shape for name, value in values.items()} == {
        "s": (), "v": (4,), "m": (6, 2, 1), "n": (1, 1),
    }  # fmt: skip
    assert all(value.dtype == np.float32 for value in values.values())
    np.testing.assert_array_equal(values["v"], [1, 2, 3, 4])
    assert values["m"].max() == np.float32(1e-3)


def test_missing_and_wrong_values(build):
    model = several(build, image=("N", 3, 8, 8), s=(2,))
    image = find_image_input(model)
    with pytest.raises(ModelError, match=r"'s'.*--input-value s=VALUE"):
        constant_inputs(model, image, {})
    for text in ("half", "[1, [2]]", '"1"', "null", "[1,2,3]", "[" * 100_000, "{}"):
        with pytest.raises(UsageError, match="'s'"):
            constant_inputs(model, image, {"s": text})
    for name in ("image", "t"):
        with pytest.raises(UsageError, match=f"'{name}'"):
            constant_inputs(model, image, {"s": "1", name: "1"})


@pytest.mark.parametrize("text", ["0.5", "256", "-1", "[1, 1e300]"])
def test_integers_that_do_not_fit(build, text):
    model = load_model(
        build(
            [node("Identity", ["x"], ["y"]), node("Identity", ["k"], ["l"])],
            inputs={"x": ("N", 3, 8, 8), "k": (2,)},
            outputs=("y", "l"),
            dtype=TensorProto.UINT8,
        )
    )
    with pytest.raises(UsageError, match="uint8"):
        constant_inputs(model, find_image_input(model), {"k": text})


def test_an_input_that_asks_for_everything(build):
    model = several(build, image=("N", 3, 8, 8), s=(10**6, 10**6))
    with pytest.raises(ModelError, match="GiB"):
        constant_inputs(model, find_image_input(model), {"s": "1"})
