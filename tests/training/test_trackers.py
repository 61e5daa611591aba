"""Trackers: a real MLflow file store and a real offline run of W&B get figures, report and export of a whole run."""

from __future__ import annotations

import importlib.util
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from small_runs import metrics, tiny, trained
from told import Told
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.errors import TrainingError
from mibias_cli.recipe.schema import Recipe
from mibias_cli.training.run_log import RunLog
from mibias_cli.training.trackers import opened
from mibias_cli.training.trackers.mlflow_run import MlflowRun
from mibias_cli.training.trackers.tracker import Tracked, lacking_trackers
from mibias_cli.training.trackers.wandb_run import WandbRun

VARIABLES = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"),
    *("WANDB_MODE", "WANDB_PROJECT", "WANDB_ERROR_REPORTING"),
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tester's own environment says of trackers, and what the code sets there, ends with the test."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def tracked(folder: Path) -> Tracked:
    return Tracked(folder=folder, name="small", settings={"seed": 3, "training": {"epochs": 2}})


def finished(run: Path, tmp: Path, tracker: type[MlflowRun | WandbRun]) -> None:
    """A run that is begun, killed, resumed, and ends with a report and an export."""
    (tmp / "report").mkdir()
    (tmp / "report" / "leakage.json").write_text("{}")
    (tmp / "export" / "report").mkdir(parents=True)
    (tmp / "export" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(KeyboardInterrupt), RunLog(run, trackers=[tracker(tracked(run))]) as log:
        log.record("train", step=1, stage="original", task_loss=0.75)
        log.record("train", step=1, stage="debias", task_loss=0.5, text="no number")
        known = log.n_bytes()
        raise KeyboardInterrupt
    with RunLog(run, keep_bytes=known, trackers=[tracker(tracked(run))]) as log:
        log.record("train", step=2, stage="debias", task_loss=0.25)
        log.attach("report", tmp / "report")
        log.attach("export", tmp / "export")


# --- MLflow ---


def test_mlflow_has_figures_settings_report_and_export(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    run = tmp_path / "run"
    run.mkdir()
    finished(run, tmp_path, MlflowRun)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(run / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("small")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params == {"seed": "3", "training.epochs": "2"}
    history = client.get_metric_history(found.info.run_id, "train/task_loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.25)]
    (original,) = client.get_metric_history(found.info.run_id, "original/train/task_loss")
    assert original.value == 0.75
    files = {each.path for name in ("report", "export") for each in client.list_artifacts(found.info.run_id, name)}
    assert {"report/leakage.json", "export/model.safetensors"} <= files


def test_mlflow_takes_what_users_name(tmp_path: Path) -> None:
    """Cells that differ only in signs, one that is the beginning of another, and a name that reads as a path."""
    pytest.importorskip("mlflow")
    cells = {"<5": "low", ">5": "high", "N": "no", "N/A": "missing", "": "none"}
    settings = {"data": {"values": {"grade": cells}}, "debias": {"weight": {"skin type": 2.0}}}
    run = MlflowRun(Tracked(folder=tmp_path, name="small", settings=settings))
    run.write(1, {"train/a//../b (c)/mi_bits": 0.5})
    run.close(failed=False)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert found.data.params == {"data.values.grade": str(cells), "debias.weight": "{'skin type': 2.0}"}
    assert found.data.metrics == {"train/a/_/_/b _c_/mi_bits": 0.5}


def test_mlflow_goes_where_its_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "elsewhere").as_uri())
    (tmp_path / "run").mkdir()
    MlflowRun(tracked(tmp_path / "run")).close(failed=False)
    assert (tmp_path / "elsewhere").is_dir()
    assert not (tmp_path / "run" / "mlruns").exists()
    # a server that is not there is said before training, at once
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(
        TrainingError, match=r"logging: mlflow cannot begin a run: MLFLOW_TRACKING_URI.*leave mlflow out"
    ):
        opened.open_trackers(["mlflow"], tracked(tmp_path / "run"), pytest.fail)


# --- Weights & Biases ---


def wandb_records(run: Path) -> Iterator[Any]:
    """Records of the offline files below a run: a log in blocks, as LevelDB has it, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        raw, at, whole = path.read_bytes(), 7, b""
        while at + 7 <= len(raw):
            # too short for a header: the rest of a block is empty
            if (room := 32768 - at % 32768) < 7:
                at += room
                continue
            _, length, kind = struct.unpack("<IHB", raw[at : at + 7])
            whole += raw[at + 7 : at + 7 + length]
            at += 7 + length
            # 1: a whole record, 4: the last part of one
            if kind in (1, 4):
                yield Record.FromString(whole)
                whole = b""


def test_wandb_has_figures_settings_report_and_export_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    run.mkdir()
    finished(run, tmp_path, WandbRun)
    records = list(wandb_records(run))
    # one run, begun and resumed
    begun = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert len({each.run_id for each in begun}) == 1
    assert {each.project for each in begun} == {"mibias"}
    assert {item.key for each in begun for item in each.config.update} >= {"seed", "training"}
    history = [
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    figures = [{key: float(value) for key, value in row.items() if not key.startswith("_")} for row in history]
    assert figures == [
        {"step": 1, "original/train/task_loss": 0.75},
        {"step": 1, "train/task_loss": 0.5},
        {"step": 2, "train/task_loss": 0.25},
    ]
    stored = {
        each.name: {entry.path for entry in each.manifest.contents}
        for record in records
        if record.WhichOneof("record_type") in ("artifact", "request")
        for each in [record.artifact if record.HasField("artifact") else record.request.log_artifact.artifact]
    }
    assert stored["small-report"] == {"leakage.json"}
    assert stored["small-export"] == {"model.safetensors"}


# --- all of them ---


class Noting:
    """A tracker that notes what it is told, and fails when it is told to."""

    def __init__(self, _: Tracked | None = None) -> None:
        self.told: list[str] = []
        self.fails = False

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        if self.fails:
            raise ConnectionError("gone")
        self.told += [f"{step} {name}" for name in numbers]

    def attach(self, name: str, folder: Path) -> None:
        self.told += [f"{name} {path.name}" for path in sorted(folder.iterdir())]

    def close(self, *, failed: bool) -> None:
        self.told.append("failed" if failed else "ended")


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> Noting:
    tracker = Noting()
    monkeypatch.setattr(opened, "_OPENED", {"wandb": lambda _: tracker})
    monkeypatch.setattr(opened, "require_trackers", lambda _: None)
    return tracker


def test_a_tracker_that_fails_costs_no_run(noting: Noting, tmp_path: Path) -> None:
    progress = Told()
    with RunLog(tmp_path, trackers=opened.open_trackers(["wandb"], tracked(tmp_path), progress.warn)) as log:
        log.record("train", step=1, loss=1.0)
        noting.fails = True
        log.record("train", step=2, loss=0.5)
        log.record("train", step=3, loss=0.25)
    assert len(metrics(tmp_path)) == 3
    assert noting.told == ["1 train/loss"]
    assert progress.warnings == ["wandb takes no more of this run (ConnectionError: gone); metrics.jsonl has it all"]


def test_a_whole_run_tells_its_trackers(noting: Noting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mibias_cli.run.before.checks.require_trackers", lambda _: None)
    trained(tiny("logging=[wandb]", "training.epochs=1"), tmp_path / "run")
    names = {line.split()[1] for line in noting.told[:-1]}
    assert {"original/train/task_loss", "train/task_loss", "train/colour/mi_bits"} <= names
    assert {"report leakage.json", "export model.safetensors"} <= set(noting.told)
    assert noting.told[-1] == "ended"
    # of jsonl nobody can do without; TensorBoard was left out
    assert metrics(tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_the_default_is_what_it_was() -> None:
    assert tiny().logging == ["jsonl", "tensorboard"]
    assert Recipe.model_fields["logging"].default_factory is not None


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
@pytest.mark.parametrize("command", [["validate"], ["train", "--dry-run"], ["train"]], ids=" ".join)
def test_a_missing_package_is_refused_with_the_line_for_pip(
    name: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked, *rest: None if asked == name else real(asked, *rest))
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"version: 1\nlogging: [jsonl, {name}]\ndata: {{source: digits}}\nbackbone: {{name: mlp}}\n")
    result = CliRunner().invoke(app, [*command, str(recipe)])
    assert result.exit_code == 2
    assert f"r.yaml:2:18 logging.1: {name} is not installed; pip install 'mibias[{name}]'" in result.stderr
    assert list(tmp_path.iterdir()) == [recipe]
    assert list(lacking_trackers(["jsonl", "tensorboard"])) == []


def test_a_folder_of_runs_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`wandb/` is where W&B keeps runs; Python takes a folder on its path for a package without code."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    assert importlib.util.find_spec("wandb") is not None
    ((place, text),) = lacking_trackers(["jsonl", "wandb"])
    assert (place, text.partition(";")[0]) == (1, "wandb is not installed")
