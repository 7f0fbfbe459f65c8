"""A result in MLflow: its default store as the test's own SQLite file."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx import cli, load_result, log_to_mlflow
from cleanai_onnx.errors import OutputError, UsageError
from tests.cli.material import images, relu, save
from tests.report.results import small_result

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="the extra mlflow is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the command line with --mlflow, in a folder with the store."""
    folder = tmp_path_factory.mktemp("mlflow")
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/runs.db")
        patch.chdir(folder)
        save("m.onnx", relu())
        images("im", 3)
        arguments = ["m.onnx", "im", "--preset", "unit", "--output", "out", "--mlflow"]
        assert cli.main([*arguments, "--fail-under", "nc=10%,dead-channels=0"]) == 0
    assert Path.cwd() == here
    return folder


@pytest.fixture
def client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/runs.db")
    monkeypatch.chdir(folder)
    return mlflow.MlflowClient()


@needs_mlflow
class TestRun:
    def test_metrics(self, folder: Path, client: Any) -> None:
        (run,) = client.search_runs(["0"])
        result = load_result(folder / "out" / "Analysis_m.json")
        found = run.data.metrics
        for table in result.tables:
            if table.coverage is not None:
                assert found[f"{table.metric}.{table.view}"] == pytest.approx(table.coverage)
        assert (found["images.used"], found["images.skipped"], found["dead-channels"]) == (3, 0, 0)
        assert found["tknc.unit"] == pytest.approx(result.table("tknc").total[-1])
        assert all(map(math.isfinite, found.values()))

    def test_settings_and_hashes(self, folder: Path, client: Any) -> None:
        (run,) = client.search_runs(["0"])
        result = load_result(folder / "out" / "Analysis_m.json")
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "cleanai-onnx m"
        parameters, tags = run.data.params, run.data.tags
        assert (parameters["model"], parameters["images"]) == ("m.onnx", "im")
        assert parameters["preset"] == "unit"
        assert parameters["preprocessing.scale"].startswith("1/255 (")
        assert tags["model.sha256"] == result.model.sha256
        assert tags["images.sha256"] == result.images.manifest_sha256
        assert tags["configuration.sha256"] == result.run.configuration_sha256
        assert tags["cleanai-onnx.run"] == result.run.id
        assert tags["gates"] == "passed"

    def test_the_reports_are_artifacts(self, folder: Path, client: Any) -> None:
        (run,) = client.search_runs(["0"])
        kept = client.list_artifacts(run.info.run_id, "cleanai-onnx")
        written = sorted(path.name for path in (folder / "out").iterdir())
        assert [Path(one.path).name for one in kept] == written
        path = client.download_artifacts(run.info.run_id, "cleanai-onnx/Analysis_m.json")
        assert Path(path).read_bytes() == (folder / "out" / "Analysis_m.json").read_bytes()

    def test_into_the_active_run(self, client: Any) -> None:
        import mlflow

        with mlflow.start_run(run_name="mine") as mine:
            logged = log_to_mlflow(small_result())
            assert logged.run_id == mine.info.run_id
            mlflow.log_param("still", "open")
        assert client.get_run(mine.info.run_id).data.params["still"] == "open"

    def test_a_store_that_refuses(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        with pytest.raises(OutputError, match="MLflow did not take the result") as caught:
            log_to_mlflow(small_result())
        assert caught.value.slug == "mlflow"
        assert str(caught.value).isprintable()

    def test_nothing_is_reported_to_its_makers(self, client: Any) -> None:
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert cli.main(["m.onnx", "im", "--mlflow"]) == 2
    assert "pip install 'cleanai-onnx[mlflow]'" in capsys.readouterr().err
    with pytest.raises(UsageError):
        log_to_mlflow(small_result())
