from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, defs, helper

from cleanai_onnx.graph.activations import ACTIVATIONS

node = helper.make_node
ATTRIBUTES = {"PRelu": ["x", "slope"]}
STANDARD = sorted(op for domain, op in ACTIVATIONS if not domain)
NEWEST = min(defs.onnx_opset_version(), 24)


@pytest.mark.parametrize("op", STANDARD)
@pytest.mark.parametrize("opset", [7, 11, 13, 17, 20, NEWEST])
def test_single_operators_across_opsets(build, taps_of, op, opset):
    if defs.get_schema(op, NEWEST, "").since_version > NEWEST:
        pytest.skip("newer than the installed onnx")
    try:
        defs.get_schema(op, opset, "")
    except defs.SchemaError:
        pytest.skip(f"opset {opset} has no {op}")
    inputs = ATTRIBUTES.get(op, ["x"])
    weights = {"slope": np.full((3, 1, 1), 0.1, np.float32)} if op == "PRelu" else {}
    proto = build(
        [node(op, inputs, ["a"]), node("Softmax", ["a"], ["y"], axis=1)],
        weights, opset=opset, ir_version=3 if opset < 9 else 8, weights_as_inputs=opset < 9,
    )  # fmt: skip
    _, taps = taps_of(proto)
    assert [(layer.name, layer.op) for layer in taps.layers] == [("a", ACTIVATIONS["", op])]
    assert taps.layers[0].shape == (3, 8, 8)


def clip(opset, low, high, how="weights"):
    if opset < 11:
        bounds = {k: float(v) for k, v in (("min", low), ("max", high)) if v is not None}
        return [node("Clip", ["x"], ["y"], **bounds)], {}
    names = ["" if low is None else "low", "" if high is None else "high"]
    if how == "weights":
        values = {"low": low, "high": high}
        return [node("Clip", ["x", *names], ["y"])], {
            k: np.float32(v) for k, v in values.items() if v is not None
        }
    nodes = [
        node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.float32(value)))
        for name, value in (("low", low), ("high", high))
        if value is not None
    ]
    return [*nodes, node("Clip", ["x", *names], ["y"])], {}


@pytest.mark.parametrize("opset", [7, 10, 11, 13, 17])
@pytest.mark.parametrize("how", ["weights", "constants"])
@pytest.mark.parametrize("bounds", [(0, 6), (-1, 1), (0.25, 0.5)])
def test_clip_with_two_constant_bounds(build, taps_of, opset, how, bounds):
    nodes, weights = clip(opset, *bounds, how)
    _, taps = taps_of(build(nodes, weights, opset=opset))
    assert [layer.op for layer in taps.layers] == ["Clip"]


@pytest.mark.parametrize("opset", [7, 13])
@pytest.mark.parametrize("bounds", [(0, None), (None, 6), (None, None)])
def test_clip_with_one_bound_does_not_count(build, taps_of, opset, bounds):
    nodes, weights = clip(opset, *bounds)
    nodes[-1].output[0] = "a"
    _, taps = taps_of(build([*nodes, node("Tanh", ["a"], ["y"])], weights, opset=opset))
    assert [layer.op for layer in taps.layers] == ["Tanh"]


def test_clip_with_a_computed_bound_does_not_count(build, taps_of):
    nodes = [
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Clip", ["x", "low", "top"], ["a"]),
        node("Tanh", ["a"], ["y"]),
    ]
    _, taps = taps_of(build(nodes, {"low": np.float32(0)}))
    assert [layer.op for layer in taps.layers] == ["Tanh"]


# Composites --------------------------------------------------------------------------------

CONSTANTS = {
    "half": 0.5, "one": 1.0, "root": math.sqrt(2), "inv_root": math.sqrt(0.5), "three": 3.0,
    "six": 6.0, "zero": 0.0, "sixth": 1 / 6, "k": math.sqrt(2 / math.pi), "cube": 0.044715,
    "q": 1.702, "neg": -1.0, "tenth": 0.1,
}  # fmt: skip

# Each: name, then (operator, inputs, output, attributes...) ending in y.
FORMS = [
    ("SiLU", "Sigmoid x s; Mul x s y"),
    ("SiLU", "Sigmoid x s; Mul s x y"),
    ("SiLU", "Neg x n; Exp n e; Add e one d; Div x d y"),
    ("SiLU", "Cast:1 x f; Sigmoid f s; Mul f s y"),
    ("QuickGelu", "Mul x q m; Sigmoid m s; Mul x s y"),
    ("Gelu", "Div x root d; Erf d e; Add e one a; Mul x a m; Mul m half y"),
    ("Gelu", "Mul x half h; Div x root d; Erf d e; Add one e a; Mul h a y"),
    ("Gelu", "Mul x inv_root d; Erf d e; Add e one a; Mul a half h; Mul x h y"),
    ("Gelu", "Mul x inv_root d; Erf d e; Mul e half g; Add g half a; Mul a x y"),
    (
        "Gelu",
        "Pow x three p; Mul p cube m; Add x m i; Mul i k j; Tanh j t; Add t one u; Mul x half h; "
        "Mul h u y",
    ),
    (
        "Gelu",
        "Mul x x s; Mul s x p; Mul cube p m; Add x m i; Mul k i j; Tanh j t; Add one t u; "
        "Mul x u v; Mul half v y",
    ),
    (
        "Gelu",
        "Mul x x s; Mul s cube m; Add m one i; Mul x k r; Mul r i j; Tanh j t; Mul t half u; "
        "Add u half v; Mul x v y",
    ),
    ("HardSwish", "Add x three a; Clip a zero six b; Mul x b m; Div m six y"),
    ("HardSwish", "Add x three a; Clip a zero six b; Div b six d; Mul x d y"),
    ("HardSwish", "Add x three a; Clip a zero six b; Mul b sixth d; Mul d x y"),
    ("HardSwish", "Add x three a; Relu a r; Min r six b; Mul x sixth d; Mul d b y"),
    ("HardSwish", "HardSigmoid:sixth x h; Mul x h y"),
    ("HardSigmoid", "Add x three a; Clip a zero six b; Div b six y"),
    ("Mish", "Softplus x s; Tanh s t; Mul x t y"),
    ("Mish", "Exp x e; Add e one o; Log o s; Tanh s t; Mul t x y"),
    ("Softplus", "Exp x e; Add one e o; Log o y"),
    ("Softsign", "Abs x a; Add a one d; Div x d y"),
    ("Relu6", "Relu x r; Min r six y"),
    ("Relu6", "Max x zero r; Min r six y"),
    ("Relu", "Max x zero y"),
    ("Relu", "Greater x zero g; Where g x zero y"),
    ("LeakyRelu", "Mul x tenth m; Max x m y"),
    ("Sigmoid", "Neg x n; Exp n e; Add one e d; Reciprocal d y"),
    ("Tanh", "Identity x i; Tanh i y"),
]


def parse(text):
    nodes = []
    for step in text.split(";"):
        head, *names = step.split()
        op, _, option = head.partition(":")
        options = {}
        if op == "Cast":
            options = {"to": int(option)}
        elif option:
            options = {"alpha": CONSTANTS[option], "beta": 0.5}
        nodes.append(node(op, names[:-1], names[-1:], **options))
    return nodes


@pytest.mark.parametrize(("name", "text"), FORMS)
@pytest.mark.parametrize("stored", ["float32 initializer", "float16 accuracy", "Constant node"])
def test_composites_are_one_activation_at_their_last_tensor(
    build, conv, taps_of, run_both, name, text, stored
):
    (first,), weights = conv()
    first.input[:], first.output[:] = ["x", "conv_w", "conv_b"], ["conv_out"]
    weights = {f"conv_{n}": v for n, v in weights.items()}
    steps = parse(text)
    for step in steps:
        step.input[:] = ["conv_out" if name == "x" else name for name in step.input]
    used = {name for step in steps for name in step.input} & CONSTANTS.keys()
    made = {name for step in steps for name in step.output}
    assert not used & made
    values = {
        n: np.float32(np.float16(CONSTANTS[n]) if "16" in stored else CONSTANTS[n]) for n in used
    }
    nodes = [first]
    if stored == "Constant node":
        nodes += [node("Constant", [], [n], value_float=float(v)) for n, v in values.items()]
    else:
        weights |= values
    nodes += steps
    nodes.append(node("GlobalAveragePool", ["y"], ["z"]))
    model, taps = taps_of(build(nodes, weights))
    found = [(layer.name, layer.op) for layer in taps.layers]
    # Copies around a single operator do not make a composite of it.
    assert found == [("y", name)]
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    run_both(model, taps, {"x": x})


def test_an_inner_sigmoid_that_others_read_counts_too(build, taps_of):
    nodes = [
        node("Sigmoid", ["x"], ["s"]),
        node("Mul", ["x", "s"], ["m"]),
        node("Add", ["m", "s"], ["y"]),
    ]
    _, taps = taps_of(build(nodes))
    assert [(layer.name, layer.op) for layer in taps.layers] == [("s", "Sigmoid"), ("m", "SiLU")]
    _, taps = taps_of(build(nodes[:2], outputs=("m", "s")))
    assert [layer.op for layer in taps.layers] == ["Sigmoid", "SiLU"]


def test_squeeze_and_excitation_is_no_silu(build, conv, taps_of):
    nodes, weights = conv(3)
    nodes += [
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Sigmoid", ["p"], ["s"]),
        node("Mul", ["c", "s"], ["y"]),
    ]
    _, taps = taps_of(build(nodes, weights))
    assert [(layer.name, layer.op) for layer in taps.layers] == [("s", "Sigmoid")]


@pytest.mark.parametrize("factor", [0.9, 1.2, 2.0])
def test_what_is_nearly_a_gelu_is_none(build, taps_of, factor):
    text = "Div x root d; Erf d e; Add e one a; Mul x a m; Mul m half g; Tanh g y"
    weights = {"root": math.sqrt(2) * factor, "one": 1, "half": 0.5}
    _, taps = taps_of(build(parse(text), {n: np.float32(v) for n, v in weights.items()}))
    assert [layer.op for layer in taps.layers] == ["Tanh"]


def test_a_chain_of_silus(build, taps_of):
    nodes, tensor = [], "x"
    for i in range(20):
        nodes += [node("Sigmoid", [tensor], [f"s{i}"]), node("Mul", [tensor, f"s{i}"], [f"m{i}"])]
        tensor = f"m{i}"
    _, taps = taps_of(build(nodes))
    assert [layer.name for layer in taps.layers] == [f"m{i}" for i in range(20)]
    assert {layer.op for layer in taps.layers} == {"SiLU"}


@pytest.mark.parametrize("ops", [("Relu", "Relu"), ("Relu",) * 30, ("Sigmoid", "Relu", "Relu")])
def test_activations_that_follow_one_another_all_count(build, taps_of, ops):
    names = ["x", *(f"t{i}" for i in range(len(ops)))]
    nodes = [node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(ops)]
    _, taps = taps_of(build(nodes))
    assert [(layer.name, layer.op) for layer in taps.layers] == list(
        zip(names[1:], ops, strict=True)
    )


# Where activations stand -------------------------------------------------------------------


def test_activations_in_subgraphs_are_listed(build, taps_of):
    def branch(op):
        out = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)
        return helper.make_graph([node(op, ["x"], [f"{op}_out"])], op, [], [out])

    nodes = [
        node("Tanh", ["x"], ["t"]),
        node("If", ["flag"], ["i"], then_branch=branch("Relu"), else_branch=branch("Sigmoid")),
        node("Add", ["t", "i"], ["y"]),
    ]
    for graph in (a.g for a in nodes[1].attribute):
        graph.output[0].type.tensor_type.shape.SetInParent()
        del graph.output[0].type.tensor_type.shape.dim[:]
        for _ in range(4):
            graph.output[0].type.tensor_type.shape.dim.add()
    _, taps = taps_of(build(nodes, {"flag": np.array(True)}))
    assert [layer.name for layer in taps.layers] == ["t"]
    assert {(u.op, u.reason) for u in taps.untapped} == {
        ("Relu", "it is inside the subgraph of a node If"),
        ("Sigmoid", "it is inside the subgraph of a node If"),
    }


def test_activations_of_constants_and_of_shapes_are_none(build, taps_of):
    nodes = [
        node("Relu", ["w"], ["rw"]),
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["sf"], to=1),
        node("Relu", ["sf"], ["rs"]),
        node("ReduceSum", ["rs"], ["r"], keepdims=0),
        node("Mul", ["x", "rw"], ["m"]),
        node("Mul", ["m", "r"], ["n"]),
        node("Tanh", ["n"], ["y"]),
    ]
    _, taps = taps_of(build(nodes, {"w": np.ones((1, 3, 1, 1), np.float32)}))
    assert [layer.name for layer in taps.layers] == ["y"]


def test_real_exports(exports, taps_of, run_both):
    expected = [
        "SiLU", "Gelu", "Gelu", "HardSwish", "HardSigmoid", "Mish", "Softplus", "Softsign", "Clip",
        "Clip", "PRelu", "Selu", "Celu", "LeakyRelu",
    ]  # fmt: skip
    files = sorted(exports.glob("zoo_*.onnx"))
    assert len(files) == 4
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    for file in files:
        model, taps = taps_of(file)
        assert [layer.op for layer in taps.layers] == expected, file.name
        assert taps.layers[2].label == "gelu_tanh"
        values = run_both(model, taps, {"input": x})
        assert len(values) == 14
    for file in sorted(exports.glob("tokens_*.onnx")):
        model, taps = taps_of(file)
        assert [(layer.op, layer.shape, layer.channel_axis) for layer in taps.layers] == [
            ("Gelu", (4, 12), 1)
        ]
        run_both(model, taps, {"input": x})
