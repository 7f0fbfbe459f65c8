"""The pytest plugin: coverage of models as tests, with the settings of the project.

It is loaded whenever pytest starts, in projects that never use it too: so it imports nothing of
this package until a test asks for the fixture.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cleanai_onnx.config import Settings
    from cleanai_onnx.result import Result

__all__ = ["CleanAI", "cleanai", "pytest_addoption", "pytest_configure"]

CONFIG, CACHE, REPORTS = (f"cleanai_onnx_{name}" for name in ("config", "cache_results", "reports"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings of the plugin to pytest's own configuration file."""
    parser.addini(
        CONFIG,
        "configuration file of cleanai-onnx for the fixture cleanai (default: cleanai-onnx.toml or "
        "[tool.cleanai-onnx] of pyproject.toml, in the root folder)",
        default="",
    )
    parser.addini(
        CACHE,
        "analyze the same model, images and settings once in each process",
        type="bool",
        default=True,
    )
    parser.addini(
        REPORTS,
        "folder for a JSON file of each result that the fixture cleanai judged, from which "
        "`cleanai-onnx report` makes the others",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Switch the cache off where the project says so."""
    if not config.getini(CACHE):
        from cleanai_onnx.jobs.asserting import RESULTS

        RESULTS.most = 0


@pytest.fixture
def cleanai(request: pytest.FixtureRequest, record_property: Any) -> CleanAI:
    """Coverage of ONNX models, measured with the settings of this project."""
    return CleanAI(request.config, request.node.nodeid, record_property)


class CleanAI:
    """The fixture: analyzes with the settings of the project, and judges by its gates."""

    def __init__(self, pytest_config: pytest.Config, test: str, record_property: Any) -> None:
        self._config, self._test, self._record = pytest_config, test, record_property
        self._written = 0

    @property
    def settings(self) -> Settings:
        """Every option of the command line, from the environment and the configuration file."""
        from cleanai_onnx import config

        file = self._config.getini(CONFIG)
        root = self._config.rootpath
        return config.gather({}, file=root / file if file else None, folder=root)

    def analyze(self, model: Any, images: Any, **options: Any) -> Result:
        """Measure; `options` are those of `cleanai_onnx.analyze` and come before the settings.

        The same files with the same options are analyzed once in each process.
        """
        from cleanai_onnx.commands.analyze import analysis_options
        from cleanai_onnx.jobs.asserting import RESULTS

        given = {**analysis_options(self.settings), "relevance": False, **options}
        return RESULTS.analyze(model, images, given)

    def assert_coverage(
        self, model: Any, images: Any, *, gates: Any = (), baseline: Any = None, **limits: Any
    ) -> Result:
        """Fail unless images exercise a model as demanded; see `cleanai_onnx.assert_coverage`.

        Without a limit here, the gates of the project's configuration are those that count.
        """
        __tracebackhide__ = True
        from cleanai_onnx.commands.gating import Gates
        from cleanai_onnx.errors import UsageError
        from cleanai_onnx.jobs.asserting import demands, require, split

        demanded, options = split(limits)
        if demanded or gates:
            wanted = demands(demanded, gates)
            result = self.analyze(model, images, **options).judged(wanted, baseline)
        else:
            configured = Gates.of(self.settings)
            if not configured.gates:
                raise UsageError(
                    "assert_coverage needs a limit: give nc=0.3, or a table gates in the "
                    "configuration file.",
                    slug="gates",
                )
            result = configured.judged(self.analyze(model, images, **options))
        for outcome in result.gates:
            # What pytest's own JUnit file then has.
            self._record(f"cleanai {outcome.gate}", outcome.value)
        self._keep(result)
        return require(result)

    def _keep(self, result: Result) -> None:
        folder = self._config.getini(REPORTS)
        if not folder:
            return
        from cleanai_onnx import report
        from cleanai_onnx.report.names import file_stem

        self._written += 1
        plain = self._test.replace("::", "-")
        name = file_stem(plain)
        if name != plain:  # two tests may differ in nothing but what a file's name cannot have
            name += f"-{zlib.crc32(plain.encode('utf-8', 'surrogatepass')):08x}"
        if self._written > 1:
            name += f"_{self._written}"
        report.write(result, "json", Path(self._config.rootpath, folder, f"{name}.json"))
