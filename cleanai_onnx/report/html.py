"""HTML: one file that needs nothing else, to be read, searched and sorted in any browser.

The page is safe to open whatever the model and the files are called: every text that is put into
it is made printable and escaped on its way, and its Content-Security-Policy allows no request, no
script but ours, and no style but ours, each named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from cleanai_onnx.report import figures, html_charts, html_view
from cleanai_onnx.report.names import named, printable, ranges
from cleanai_onnx.result import Result

if TYPE_CHECKING:
    import jinja2

__all__ = ["render"]

_MOST_CHARACTERS = 1500
"""Of a text; what is longer is shortened in the middle."""
_PNG = b"\x89PNG\r\n\x1a\n"


def render(result: Result) -> bytes:
    """Return `result` as the bytes of an HTML file."""
    style, script = _part("report.css"), _part("report.js")
    page = _environment().get_template("report.html.jinja")
    text = page.render(
        view=html_view.view_of(result),
        result=result,
        style=style,
        script=script,
        policy=(
            f"default-src 'none'; img-src data:; style-src {_source(style)}; "
            f"script-src {_source(script)}; base-uri 'none'; form-action 'none'"
        ),
    )
    return text.encode("utf-8")


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {
        "count": figures.count,
        "duration": figures.duration,
        "named": named,
        "parameter": figures.parameter,
        "percent": figures.percent,
        "png": _png,
        "ranges": lambda numbers: ranges(numbers, 400, "\N{EN DASH}"),
        "short": lambda text: printable(named(text), 90),
        "value": figures.value,
        "width": html_charts.width,
    }
    return made


@cache
def _part(name: str) -> str:
    return files("cleanai_onnx.report").joinpath("templates", name).read_text(encoding="utf-8")


def _finalized(value: Any) -> Any:
    """Make text from outside printable; markup of the templates is not from outside."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return printable(value, _MOST_CHARACTERS)


def _source(text: str) -> str:
    """Return what a Content-Security-Policy calls a script or a style."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _png(content: bytes | None) -> str | None:
    """Return a picture as a data URL; None where there is none. Browsers decode no other type."""
    if content is None or not content.startswith(_PNG):
        return None
    from markupsafe import Markup

    return Markup("data:image/png;base64,") + base64.b64encode(content).decode("ascii")
