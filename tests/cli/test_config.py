"""Options from four places: which wins, what is refused, and how the refusal names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx import config
from cleanai_onnx.commands import analyze
from cleanai_onnx.errors import UsageError
from tests.cli.material import Command, images, relu, save, strict_json

# For each option: what the flag takes, the same in a file, and values that must be refused.
Case = tuple[str, Any, tuple[Any, ...]]
TABLE = {"a": 1}
NO_SWITCH = ("maybe", 5, [True], TABLE)
NO_COUNT = ("", "x", "1.5", "-1", "1e3", "9" * 400, True, 1.0, [1], TABLE)
NO_NUMBER = ("", "x", "nan", "inf", "1e400", True, [1], TABLE)
NO_TEXT = (True, ["x"], TABLE)
CASES: dict[str, Case] = {
    "output": ("out", "out", NO_TEXT),
    "report": ("html", ["html"], ("", ",", "htlm", "html:", [], [3], 3, True, TABLE)),
    "attest": ("a.json", "a.json", ("a.onnx", "images", 5, ["x"], TABLE)),
    "mlflow": ("yes", True, NO_SWITCH),
    "per-image": ("yes", True, NO_SWITCH),
    "subset": ("keep.txt", "keep.txt", NO_TEXT),
    "state": ("part1.state", "part1.state", NO_TEXT),
    "checkpoint": ("kept", "kept", NO_TEXT),
    "checkpoint-every": ("500", 500, ("", "s", "0", "0s", "-1s", "x", [], TABLE)),
    "workers": ("2", 2, ("0", *NO_COUNT)),
    "engine": ("ray", "ray", ("dask", "", TABLE)),
    "ray-address": ("auto", "auto", NO_TEXT),
    "allow-partial": ("yes", True, NO_SWITCH),
    "no-relevance": ("yes", True, NO_SWITCH),
    "quiet": ("1", True, NO_SWITCH),
    "verbose": ("yes", True, NO_SWITCH),
    "no-progress": ("on", True, NO_SWITCH),
    "taps": ("Relu,*/conv2/*", ["Relu", "*/conv2/*"], ("", ",", [], [3], 3, TABLE)),
    "input": ("x", "x", NO_TEXT),
    "input-value": ("k=[1,2]", {"k": "[1,2]"}, ("", "x", "=1", 5, [5], True)),
    "limit": ("7", 7, ("0", 0, *NO_COUNT)),
    "seed": ("7", 7, NO_COUNT),
    "strict": ("true", True, NO_SWITCH),
    "preset": ("unit", "unit", NO_TEXT),
    "preprocessing": ("p.json", "p.json", NO_TEXT),
    "size": ("8", 8, (True, [0, 8], ["8", "x"], [8.5], TABLE)),
    "resize": ("stretch", "stretch", NO_TEXT),
    "interpolation": ("box", "box", NO_TEXT),
    "crop": ("8x8", "8x8", (True, [-1, 8], TABLE)),
    "channel-order": ("BGR", "BGR", NO_TEXT),
    "scale": ("0.5", 0.5, NO_TEXT),
    "mean": ("0.5", 0.5, (True, [], [True], [TABLE])),
    "std": ("0.5", 0.5, (True, [], [True], [TABLE])),
    "layout": ("NHWC", "NHWC", NO_TEXT),
    "threshold": ("0.5", 0.5, NO_NUMBER),
    "value-threshold": ("0.5", 0.5, NO_NUMBER),
    "top-k": ("5", 5, ("0", *NO_COUNT)),
    "intervals": (
        "0:1,2:3",
        [[0, 1], [2, 3]],
        ("", "x", "0", "0:1:2", "1:0", "nan:1", "0:nan", "a:b", 5, [[0, True]], [[0, 1, 2]],
         ",".join(["0:1"] * 101), TABLE),
    ),
    "bounds-from": ("3", 3, ("0", *NO_COUNT)),
    "pair": ("a.png,b.png", ["a.png", "b.png"], ("", "a", "a,b,c", ["a"], 5, TABLE)),
    "adjacency": ("dataflow", "dataflow", ("x", "", 5, [], True)),
    "cleanai-compat": ("true", True, NO_SWITCH),
    "profile": ("x.profile", "x.profile", NO_TEXT),
    "train": ("train", "train", NO_TEXT),
    "sections": ("10", 10, ("0", *NO_COUNT)),
    "margin": ("0.5", 0.5, ("-1", *NO_NUMBER)),
    "important": ("6,8", [6, 8], ("", "0", "6,", "x", "1.5", [], [True], TABLE)),
    "clusters": ("3:5", [3, 5], ("", "4:2", "2", "2:3:4", "0:2", "x:y", 5, [2], TABLE)),
    "subset-metrics": ("kmnc,nc-suite/unit", ["kmnc", "nc-suite/unit"], ("", ",", [], [3], TABLE)),
    "surprise-buckets": ("100", 100, ("0", *NO_COUNT)),
    "surprise-bounds": (
        "50,1.5",
        [50, 1.5],
        ("", "2", "0,2", "2,-1", "x,y", "nan,1", "inf,1", [1], [True, 2], 5, TABLE),
    ),
    "compat": (
        "deepimportance-2020",
        "deepimportance-2020",
        ("", "deepimportance", "2020", 1, [], TABLE),
    ),
    "fail-under": ("nc=30%,kmnc=0.4", ["nc=30%", "kmnc=0.4"], ("", ",", [], [3], 3, TABLE)),
    "baseline": ("old.json", "old.json", NO_TEXT),
    "device": ("cpu", "cpu", ("gpu", "CPU", "", 5, [], TABLE)),
    "batch-size": ("4", 4, ("0", *NO_COUNT)),
    "threads": ("2", 2, ("0", *NO_COUNT)),
}  # fmt: skip
NAMES = [option.name for option in config.OPTIONS]
REFUSED = [(name, value) for name in NAMES for value in CASES[name][2]]
OWN = Path("cleanai-onnx.toml")
SHARED = Path("pyproject.toml")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def variable(name: str) -> str:
    return "CLEANAI_ONNX_" + name.upper().replace("-", "_")


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def gather(environment: dict[str, str] | None = None, **arguments: Any) -> config.Settings:
    return config.gather(arguments, environment or {})


def test_every_option_is_tried_here() -> None:
    assert list(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
class TestSources:
    def test_default(self, name: str) -> None:
        assert gather().origin(name) == "default"

    def test_variable(self, name: str) -> None:
        settings = gather({variable(name): CASES[name][0]})
        assert settings.origin(name) == f"environment {variable(name)}"
        assert [n for n in NAMES if settings.origin(n) != "default"] == [name]

    def test_all_say_the_same(self, name: str) -> None:
        text, typed, _ = CASES[name]
        OWN.write_text(f"{name} = {toml(typed)}\n")
        from_file = gather()
        assert from_file.origin(name) == "file cleanai-onnx.toml"
        OWN.unlink()
        from_variable = gather({variable(name): text})
        expected = from_file[name]
        assert expected != next(o.default for o in config.OPTIONS if o.name == name)
        if name in ("size", "scale", "mean", "std"):  # read by the room of the images
            expected = str(expected)
        assert from_variable[name] == expected

    def test_precedence(self, name: str) -> None:
        text, typed, _ = CASES[name]
        SHARED.write_text(f"[tool.cleanai-onnx]\n{name} = {toml(typed)}\n")
        environment = {variable(name): text}
        assert gather().origin(name) == "file pyproject.toml"
        assert gather(environment).origin(name) == f"environment {variable(name)}"
        flag = config.gather({name: CASES[name][1]}, environment)
        assert flag.origin(name) == f"--{name}"
        assert config.gather({name: None}, environment).origin(name).startswith("environment")

    def test_the_flag_reaches_the_table(self, name: str) -> None:
        text = CASES[name][0]
        option = next(option for option in config.OPTIONS if option.name == name)
        given = text.split(",") if option.many > 1 else [text]
        flag = [f"--{name}"] if option.metavar is None else [f"--{name}", *given]
        parsed = vars(analyze.parser().parse_args(["m.onnx", "im", *flag]))
        set_here = {key for key in NAMES if parsed[key] is not None}
        assert set_here == {name}
        settings = config.gather({name: parsed[name]}, {})
        assert settings[name] == gather({variable(name): text})[name]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_wrong_value_in_a_file(name: str, value: Any) -> None:
    OWN.write_text(f"{name} = {toml(value)}\n")
    with pytest.raises(UsageError) as caught:
        gather()
    text = str(caught.value)
    assert text.startswith(f"cleanai-onnx.toml: {name} must ")
    assert text.isprintable()
    assert len(text) < 300


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v in REFUSED if isinstance(v, str)])
def test_a_wrong_value_in_a_variable_or_a_flag(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^{variable(name)} must "):
        gather({variable(name): value})
    with pytest.raises(UsageError, match=f"^--{name} must "):
        config.gather({name: [value] if name == "input-value" else value}, {})


def test_an_empty_switch_is_off() -> None:
    assert gather({"CLEANAI_ONNX_QUIET": ""})["quiet"] is False


def test_the_own_file_wins_over_pyproject() -> None:
    OWN.write_text("limit = 1\n")
    SHARED.write_text("[tool.cleanai-onnx]\nlimit = 2\n")
    assert gather()["limit"] == 1


def test_a_named_file_wins_over_both() -> None:
    OWN.write_text("limit = 1\n")
    Path("mine.toml").write_text("limit = 3\n")
    assert config.gather({}, {}, "mine.toml")["limit"] == 3


def test_a_named_file_may_have_the_table_of_pyproject() -> None:
    Path("mine.toml").write_text("[tool.cleanai-onnx]\nlimit = 3\n")
    assert config.gather({}, {}, "mine.toml")["limit"] == 3


@pytest.mark.parametrize(
    "content", ["", "[project]\nname = 'x'\n", "tool = 'x'\n", "[tool.ruff]\n"]
)
def test_a_pyproject_of_others_says_nothing(content: str) -> None:
    SHARED.write_text(content)
    assert gather().origin("limit") == "default"


def test_a_folder_called_like_a_file_says_nothing() -> None:
    OWN.mkdir()
    assert gather().origin("limit") == "default"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"limit = three\n", "not valid TOML: Invalid value"),
        (b"limit = 3\n[[[", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML: 'utf-8'"),
        (b"limit = 3\0", "not valid TOML"),
        (b"limit = " + b"[" * 100_000, "nested too deeply"),
        (b"limit = " + b"9" * 5000, "not valid TOML: Exceeds"),
        (b"limt = 3\n", "limt is not an option; did you mean limit?"),
        (b"top_k = 3\n", "top_k is not an option; did you mean top-k?"),
        (b"[limit]\nx = 1\n", "limit must be a whole number"),
        (b'"a\\nb\\u001b[31m" = 1\n', "a?b?[31m is not an option."),
        (b"k" * 5000 + b" = 1\n", "kkk… is not an option."),
    ],
)
def test_a_file_that_cannot_be_used(content: bytes, what: str) -> None:
    OWN.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        gather()
    text = str(caught.value)
    assert text.startswith("cleanai-onnx.toml")
    assert what in text
    assert text.isprintable()
    assert len(text) < 300


@pytest.mark.parametrize("content", ["tool.cleanai-onnx = 'x'\n", "[[tool.cleanai-onnx]]\nx = 1\n"])
def test_a_pyproject_whose_entry_is_no_table(content: str) -> None:
    SHARED.write_text(content)
    with pytest.raises(UsageError, match="must be a table"):
        gather()


@pytest.mark.parametrize("path", ["", "missing.toml", ".", "a\0b", "a/b/c", "\x1b[31m", "n" * 5000])
def test_a_named_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(UsageError, match="--config") as caught:
        config.gather({}, {}, path)
    assert str(caught.value).isprintable()


def test_an_unknown_variable_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean CLEANAI_ONNX_TOP_K\?"):
        gather({"CLEANAI_ONNX_TOPK": "1"})
    with pytest.raises(UsageError, match=r"CLEANAI_ONNX_QQQ is not an option\."):
        gather({"CLEANAI_ONNX_QQQ": "1"})


def test_other_variables_are_nobodys_business() -> None:
    found = gather({"CLEANAI_ONNX_CACHE": "/x", "CLEANAI": "x", "cleanai_onnx_limit": "x"})
    assert all(found.origin(name) == "default" for name in NAMES)


def test_settings_reach_the_report(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    save("m.onnx", relu())
    images("im", 4)
    OWN.write_text("scale = '1/255'\nmean = [0.5]\nstd = 0.5\nsize = [8, 8]\nquiet = true\n")
    monkeypatch.setenv("CLEANAI_ONNX_TOP_K", "2")
    monkeypatch.setenv("CLEANAI_ONNX_LIMIT", "3")
    command.done("m.onnx", "im", "--limit", "4")
    result = strict_json(Path("Analysis_m.json"))
    assert result["run"]["options"]["top_k"] == 2
    assert result["images"]["used"] == 4
    origins = {field["name"]: field["origin"] for field in result["preprocessing"]}
    assert "configuration file" in origins["mean"]
    assert "configuration file" in origins["std"]
