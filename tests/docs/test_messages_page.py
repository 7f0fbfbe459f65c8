"""docs/messages.md explains every message that the code can give, and no other."""

from __future__ import annotations

import ast
import os
import pickle
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cleanai_onnx import errors, slugs
from cleanai_onnx.errors import CleanAIError, OutputError, UsageError
from tests.cli.material import ROOT

PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "cleanai_onnx"
SECTIONS = dict(re.findall(r"^### `(\S+)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
GENERAL = {"internal-error", "usage", "model", "images"}
"""What is said where neither the class nor the module knows more."""


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(_modules())


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for path in (Path(folder, file) for file in files if file.endswith(".py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


def error_classes() -> dict[str, tuple[str | None, str]]:
    """Return the own slug and the kind of every class of error, by name."""
    found = {
        name: (one.own_slug, one.kind)
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, CleanAIError)
    }
    trees = [tree for _, tree in modules()]
    while True:
        known = len(found)
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name not in found:
                    bases = [one.id for one in node.bases if isinstance(one, ast.Name)]
                    inherited = [found[base] for base in bases if base in found]
                    if inherited:
                        own = assigned(node.body, "own_slug") or inherited[0][0]
                        found[node.name] = own, inherited[0][1]
        if len(found) == known:
            return found


def assigned(body: list[ast.stmt], name: str) -> str | None:
    for one in body:
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name:
            return str(ast.literal_eval(one.value))
    return None


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the texts that a module has under names, tuples of them unpacked."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            found |= {
                ast.unparse(name): str(text.value)
                for name, text in pairs
                if isinstance(text, ast.Constant)
            }
    return found


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node


@cache
def of_errors() -> set[str]:
    classes = error_classes()
    found = set()
    for module, tree in modules():
        for name, call in calls(tree):
            if name in classes:
                given = [one.value for one in call.keywords if one.arg == "slug"]
                if not given:
                    own, kind = classes[name]
                    found.add(own or slugs.slug_of_module(module) or kind)
                elif isinstance(given[0], ast.Constant):
                    found.add(str(given[0].value))
                else:  # handed on from the error that this one is made of
                    assert ast.unparse(given[0]) == "error.slug"
    return found


@cache
def of_notes() -> set[str]:
    found = set()
    for module, tree in modules():
        known = constants(tree)
        for name, call in calls(tree):
            if name == "Note" and module != "cleanai_onnx.report.json":
                slug = call.args[0] if call.args else call.keywords[0].value
                if isinstance(slug, ast.Constant):
                    found.add(str(slug.value))
                else:
                    assert isinstance(slug, ast.Name)
                    found.add(known[slug.id])
    return found


def test_every_slug_has_a_section_and_every_section_a_slug() -> None:
    assert set(SECTIONS) == of_errors() | of_notes() | GENERAL


def test_errors_and_notes_stand_under_their_headings() -> None:
    notes, rest = PAGE.split("\n## Errors\n")
    assert of_notes() == set(re.findall(r"^### `(.+)`", notes, re.M))
    assert of_errors() | GENERAL == set(re.findall(r"^### `(.+)`", rest, re.M))


def test_each_module_of_the_table_raises_its_slug() -> None:
    names = {name for name, _ in modules()}
    for module in slugs.MODULES:
        assert f"cleanai_onnx.{module}" in names


@pytest.mark.parametrize("slug", sorted(SECTIONS))
def test_a_section_says_what_why_and_what_to_do(slug: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", slug)
    happened, why, do = (SECTIONS[slug].find(f"**{lead}**") for lead in ("What", "Why", "Do"))
    assert 0 <= happened < why < do


def test_the_sections_are_in_alphabetical_order() -> None:
    for part in PAGE.split("\n## Errors\n"):
        found = re.findall(r"^### `(.+)`", part, re.M)
        assert found == sorted(found)


class TestSlugs:
    def test_of_the_keyword_the_class_the_module_and_the_kind(self) -> None:
        assert UsageError("x", slug="y").slug == "y"
        assert OutputError("x").slug == "output"
        assert raised_in("cleanai_onnx.graph.loading").slug == "model-file"
        assert raised_in("cleanai_onnx.lowering.operators.pooling").slug == "lowering"
        assert raised_in("cleanai_onnx.jobs.analysis").slug == "usage"
        assert UsageError("x").slug == "usage"

    def test_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(UsageError("x", slug="y")))
        assert (error.slug, str(error)) == ("y", "x")


def raised_in(module: str) -> CleanAIError:
    """Return an error as code of that module makes it."""
    scope = {"__name__": module, "UsageError": UsageError}
    exec("error = UsageError('x')", scope)
    error = scope["error"]
    assert isinstance(error, CleanAIError)
    return error
