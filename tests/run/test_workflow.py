"""A whole run: train, kill, resume, evaluate, export, on a recipe small enough for a test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from small_runs import TINY, best, metrics, same, stop_at_step, tiny, train_alone, trained
from told import Told

from mibias_cli.compare.runs import load_compared_run
from mibias_cli.errors import ExportError, GateError, MibiasError, RunError, TrainingError
from mibias_cli.gates.rules import GateRules, make_gates
from mibias_cli.progress import Silent
from mibias_cli.report.schema_file import load_schema
from mibias_cli.run import workflow
from mibias_cli.training.control.budget import BudgetKeeper
from mibias_cli.training.loop import StageTrainer

QUICK = ("evaluation.n_permutations=0", "evaluation.random_control=false")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    trained(tiny(), folder, maps=True)
    return folder


def test_a_run_has_all_its_parts(run: Path) -> None:
    for part in (
        "recipe.resolved.yaml",
        "environment.json",
        "metrics.jsonl",
        "train.log",
        "tensorboard",
        "checkpoints/last.pt",
        "checkpoints/best.safetensors",
        "checkpoints/original.safetensors",
        "report/leakage.json",
        "report/leakage.html",
        "report/leakage.md",
        "export/model.safetensors",
        "export/config.json",
        "export/heads.safetensors",
        "export/README.md",
        "export/report/leakage.json",
    ):
        assert (run / part).exists(), part
    assert json.loads((run / "environment.json").read_text())["precision"] == "32-true"


def test_metrics_tell_of_task_information_heads_and_gradients(run: Path) -> None:
    records = metrics(run)
    last = [r for r in records if r["kind"] == "train" and r["stage"] == "debias"][-1]
    for key in ("task_loss", "penalty_nats", "colour/mi_bits", "colour/head_accuracy", "grad_norm/total", "mi_weight"):
        assert isinstance(last[key], float), key
    checked = [r for r in records if r["kind"] == "validation"]
    assert [(r["stage"], r["epoch"]) for r in checked] == [("original", 0), ("debias", 0), ("debias", 1), ("debias", 2)]
    assert {"validation/accuracy", "validation/weighted_accuracy", "validation/colour/leakage_bits"} <= set(checked[-1])
    assert all(0 <= r["validation/gain_over_bias_bits"] < 3.33 for r in checked)  # H(y) is log₂ 10
    compared = load_compared_run(run, "run")
    assert compared.gain_over_bias_bits == checked[-1]["validation/gain_over_bias_bits"]
    assert records[-1]["kind"] == "choice"  # of the weights that are kept, after the last epoch
    assert compared.leakage_given_target_bits == records[-1]["validation/leakage_given_target_bits"]


def test_the_report_is_as_its_schema_says(run: Path) -> None:
    report = json.loads((run / "report" / "leakage.json").read_text())
    jsonschema.validate(report, load_schema())
    colour = report["attributes"]["colour"]
    assert set(colour["channels"]) == {"red", "green", "blue"}
    assert colour["before"]["leakage_bits"]["lower"] <= colour["before"]["leakage_bits"]["upper"]
    assert report["task"]["after"]["groups"]
    assert len(report["provenance"]["recipe_sha256"]) == 64
    # the verdict in words, the paired change of the task, and the headline on fewer rows
    assert "What was asked for: features that tell less of colour." in report["verdict"]["summary"]
    change, task = report["task"]["change"]["accuracy"], report["task"]
    assert change["estimate"] == pytest.approx(task["after"]["accuracy"] - task["before"]["accuracy"])
    for side in ("before", "after"):
        curve = colour["sizes"][side]
        assert curve["points"][-1]["leakage_bits"] == colour[side]["leakage_bits"]
        assert (curve["question"], curve["probe"]) == ("marginal", colour[side]["headline_probe"])


def test_one_seed_one_course(run: Path, tmp_path: Path) -> None:
    train_alone(tiny(), tmp_path / "again")
    assert metrics(tmp_path / "again") == metrics(run)
    assert same(best(tmp_path / "again"), best(run))
    train_alone(tiny("seed=1"), tmp_path / "other")
    assert not same(best(tmp_path / "other"), best(run))


def test_channels_last_is_a_matter_of_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = []
    kept = StageTrainer.fit

    def fit(trainer: StageTrainer, checkpoint: Any = None) -> None:
        weight = trainer.model.get_parameter("extractor.backbone.conv2.weight")
        formats.append(weight.is_contiguous(memory_format=torch.channels_last))
        kept(trainer, checkpoint)

    monkeypatch.setattr(StageTrainer, "fit", fit)
    short = ("training.epochs=1", "original.start_debiasing_from=initial")
    train_alone(tiny(*short), tmp_path / "first")
    train_alone(tiny(*short, "training.channels_last=true"), tmp_path / "last")
    assert formats == [False, False, True, True]
    ours, others = best(tmp_path / "last"), best(tmp_path / "first")
    # sums in another order: equal but for rounding, which every step carries on, so few steps
    for key, value in ours.items():
        torch.testing.assert_close(value, others[key], rtol=0, atol=1e-5)


def test_a_run_is_not_written_over(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"exists already.*--resume.*--overwrite"):
        trained(tiny(), run)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a run"):
        trained(tiny(), tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_evaluating_again_writes_beside(run: Path) -> None:
    first = (run / "report" / "leakage.json").read_bytes()
    again = workflow.evaluate(str(run), recipe=None, out=None, offline=True, progress=Silent())
    assert again.folder == run / "report-2"
    assert (run / "report" / "leakage.json").read_bytes() == first
    known = json.loads(first)
    for part in ("attributes", "task", "similarity"):
        assert again.report.to_dict()[part] == known[part]


def test_an_export_and_a_timm_name_are_audited_without_training(run: Path, tmp_path: Path) -> None:
    exported = workflow.evaluate(
        str(run / "export"), recipe=tiny(*QUICK), out=tmp_path / "export", offline=True, progress=Silent()
    )
    assert exported.report.task.before is None
    known = json.loads((run / "report" / "leakage.json").read_text())
    after = known["attributes"]["colour"]["after"]["leakage_bits"]["estimate"]
    found = exported.report.attributes["colour"].after.marginal.leakage_bits.estimate
    assert found == pytest.approx(after, abs=1e-4)
    named = workflow.evaluate(
        "test_resnet",
        recipe=tiny("backbone.input_size=32", "backbone.options={}", *QUICK),
        out=tmp_path / "name",
        offline=True,
        progress=Silent(),
    )
    assert named.report.attributes["colour"].before is None
    with pytest.raises(MibiasError, match="--recipe"):
        workflow.evaluate("test_resnet", recipe=None, out=None, offline=True, progress=Silent())


def test_resuming_a_finished_run_replaces_nothing(run: Path) -> None:
    def written() -> dict[str, bytes]:
        parts = [path for part in ("report", "export") for path in (run / part).rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in parts}

    before = written()
    gates = GateRules(gates=make_gates(["attributes.colour.after.leakage_bits > -9"]))
    again = trained(workflow.load_run_recipe(run), run, resume=run, gates=gates)
    assert written() == before
    assert [gate.status for gate in again.report.gates] == ["fail"]
    assert (
        again.report.to_dict()["attributes"] == json.loads((run / "report" / "leakage.json").read_text())["attributes"]
    )


def test_what_a_kill_left_of_a_report_is_written_anew(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(run, half)
    whole = (half / "report" / "leakage.json").read_text()
    (half / "report" / "leakage.json").unlink()
    trained(workflow.load_run_recipe(half), half, resume=half)
    found = json.loads((half / "report" / "leakage.json").read_text())
    assert found["attributes"] == json.loads(whole)["attributes"]


def test_exported_files_have_the_rights_that_the_user_wants(run: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    wanted = (tmp_path / "plain").stat().st_mode & 0o777
    modes = {path.name: path.stat().st_mode & 0o777 for path in (run / "export").rglob("*") if path.is_file()}
    modes |= {path.name: path.stat().st_mode & 0o777 for path in (run / "report").iterdir()}
    assert set(modes.values()) == {wanted}, modes


def test_gates_are_in_the_report_and_a_bad_one_stops_before_anything_runs(run: Path, tmp_path: Path) -> None:
    recipe = tiny("gates=[attributes.colour.after.leakage_bits > 9, task.after.accuracy < 0]")
    found = workflow.evaluate(str(run), recipe=recipe, out=tmp_path / "gated", offline=True, progress=Silent(),
                              n_examples=1)  # fmt: skip
    written = json.loads((tmp_path / "gated" / "leakage.json").read_text())
    assert [(gate["source"], gate["status"]) for gate in written["gates"]] == [("recipe", "pass"), ("recipe", "pass")]
    assert found.report.to_dict()["gates"] == written["gates"]
    page = (tmp_path / "gated" / "leakage.html").read_text()
    assert "<img" in page
    assert "Training curves" in page
    assert "Confusion by colour" in page
    with pytest.raises(GateError, match="did you mean 'leakage_bits'"):
        trained(tiny("gates=[attributes.colour.after.leakage_bit > 9]"), tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_exporting_again_writes_beside(run: Path) -> None:
    folder = workflow.export(run, out=None, formats=(), offline=True, progress=Silent())
    assert folder == run / "export-2"
    assert (folder / "model.safetensors").read_bytes() == (run / "export" / "model.safetensors").read_bytes()


def killed_in_mid_epoch(recipe_file: Path, out: Path, *options: str) -> None:
    """Start a run, wait until the second debiasing epoch has begun, and kill it where it stands."""
    command = [sys.executable, "-m", "mibias_cli.cli", "train", str(recipe_file), "--out", str(out), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        text = (out / "metrics.jsonl").read_text() if (out / "metrics.jsonl").exists() else ""
        if any('"stage": "debias", "epoch": 1' in line and '"kind": "train"' in line for line in text.splitlines()):
            break
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


AVERAGED = ("training.epochs=4", "training.average_decay=0.9")


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_alone(tiny(*AVERAGED), tmp_path_factory.mktemp("never") / "whole")


@pytest.mark.parametrize("n_workers", [0, 2])
def test_killed_and_resumed_is_as_never_killed(n_workers: int, never_killed: Path, tmp_path: Path) -> None:
    options = [f"training.num_workers={n_workers}", *AVERAGED]
    (tmp_path / "tiny.yaml").write_text(TINY)
    out = tmp_path / "killed"
    killed_in_mid_epoch(tmp_path / "tiny.yaml", out, *[part for o in options for part in ("--set", o)])
    assert not (out / "report").exists()
    recipe = workflow.load_run_recipe(out)
    train_alone(recipe, tmp_path / "ignored", resume=out)
    # how many workers read the batches is nothing to what is learnt
    assert same(best(out), best(never_killed))
    assert metrics(out) == metrics(never_killed)


def test_a_checkpoint_within_an_epoch_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["training.checkpoint_every_steps=2", "debias.estimator=mine", "debias.schedule=fresh"]
    whole = train_alone(tiny(*options), tmp_path / "whole")
    stop_at_step(monkeypatch, 16)  # the fourth step of debiasing's second epoch: behind the checkpoint at its second
    with pytest.raises(KeyboardInterrupt):
        trained(tiny(*options), tmp_path / "stopped")
    position = torch.load(tmp_path / "stopped" / "checkpoints" / "last.pt", weights_only=True)["position"]
    assert position["step_in_epoch"] > 0
    monkeypatch.undo()
    train_alone(tiny(*options), tmp_path / "ignored", resume=tmp_path / "stopped")
    assert same(best(tmp_path / "stopped"), best(whole))
    assert metrics(tmp_path / "stopped") == metrics(whole)


def test_the_best_epoch_by_a_metric_is_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    recipe = tiny(
        "training.select={metric: validation/loss, mode: max, patience: 1}",
        "training.epochs=9",
        "original=null",
        *QUICK,
    )
    trained(recipe, tmp_path / "run")
    checked = [r for r in metrics(tmp_path / "run") if r["kind"] == "validation"]
    losses = [r["validation/loss"] for r in checked]
    # the loss falls, so by `max` the first epoch is the best, and one stale epoch ends the run
    assert len(losses) == 2
    assert losses[1] < losses[0]
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert not same(best(tmp_path / "run"), last["model"])
    gain = load_compared_run(tmp_path / "run", "run").gain_over_bias_bits  # of the epoch that was kept
    assert gain == checked[0]["validation/gain_over_bias_bits"]


def test_a_metric_that_does_not_exist_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="did you mean 'validation/accuracy'"):
        trained(tiny("training.select.metric=validation/acuracy", "original=null"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_budget_moves_lambda_and_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (
        "debias.budget={every_epochs: 1, max_samples: 300}", "debias.budget_bits=0.2",
        "debias.objective=conditional", "debias.watch=true",
        "debias.gradients=ratio", "debias.recycle_every_steps=3", "debias.balance_by=draws", "debias.draw_share=0.5",
        "training.checkpoint_every_steps=3",
    )  # fmt: skip
    whole = train_alone(tiny(*settings), tmp_path / "whole")
    assert any("recycled/pool2" in m for m in metrics(whole))
    records = [m for m in metrics(whole) if m["kind"] == "budget"]
    assert [m["epoch"] for m in records] == [0, 1, 2]
    keeper = BudgetKeeper(budget_bits={"colour": 0.2}, weight=0.5)
    for record in records:
        keeper.update({"colour": record["colour/measured_bits"]})
        assert record["colour/mi_weight"] == pytest.approx(keeper.weights()["colour"])
    stopped = tmp_path / "stopped"
    stop_at_step(monkeypatch, 25)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny(*settings), stopped)
    monkeypatch.undo()
    resumed = train_alone(tiny(*settings), tmp_path / "unused", resume=stopped)
    assert same(best(whole), best(resumed))
    assert metrics(whole) == metrics(resumed)


def test_with_a_budget_features_can_follow_lambda_to_the_end(tmp_path: Path) -> None:
    def last_share(*settings: str) -> float:
        # the rate heeds that there is a budget, not what is measured
        budget = ("debias.budget_bits=0.2", "debias.budget.every_epochs=9", "training.log_every_steps=1")
        run = train_alone(tiny(*budget, *settings), tmp_path / str(len(settings)))
        shares = [m["learning_rate_factor"] for m in metrics(run) if m["kind"] == "train"]
        return float(shares[-1])

    assert 0.2 < last_share() < 0.25
    assert last_share("training.final_share=0") < 0.05


def test_a_budget_that_cannot_be_kept_and_weights_of_few_samples_are_said_at_once(run: Path, tmp_path: Path) -> None:
    budget = ("debias.budget_bits=0.1", "debias.budget.every_epochs=9", "training.epochs=1")
    tight = train_alone(tiny(*budget, "debias.balance=none", "data.variance=0.005"), tmp_path / "a")
    log = (tight / "train.log").read_text()
    assert "the budget of 0.1 bits lies below I(y; c) = " in log
    assert "costs an error of at least" in log
    assert "effective sample size" in (run / "train.log").read_text()


def test_a_report_of_other_weights_is_not_exported(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    shutil.copy(other / "checkpoints" / "original.safetensors", other / "checkpoints" / "best.safetensors")
    with pytest.raises(ExportError, match=r"leakage.json: is of other weights than .*checkpoints holds; remove"):
        workflow.export(other, out=tmp_path / "out", offline=True)
    assert not (tmp_path / "out").exists()


def test_a_damaged_export_of_a_finished_run_is_told(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "export" / "heads.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExportError, match=r"heads\.safetensors"):
        trained(workflow.load_run_recipe(run), tmp_path / "run", resume=tmp_path / "run")


def test_an_audited_run_whose_checkpoint_was_removed_is_not_trained_again(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.pt").unlink()
    with pytest.raises(RunError, match=r"last\.pt: missing, though the run was audited"):
        trained(workflow.load_run_recipe(run), tmp_path / "run", resume=tmp_path / "run")
    weights = Path("checkpoints", "best.safetensors")
    assert (tmp_path / "run" / weights).stat().st_mtime == (run / weights).stat().st_mtime


@pytest.mark.parametrize("there", [False, True], ids=["new", "there"])
def test_a_report_that_was_written_meanwhile_stays(run: Path, tmp_path: Path, there: bool) -> None:
    """Another evaluation that was begun with the same --out ends while this one audits."""
    out, told = tmp_path / "out", Told()
    if there:
        out.mkdir()

    def stage(name: str) -> None:
        if name == "auditing" and not (out / "leakage.json").exists():
            out.mkdir(exist_ok=True)
            (out / "leakage.json").write_text("the other's")

    told.stage = stage  # type: ignore[method-assign]
    found = workflow.evaluate(str(run), out=out, offline=True, progress=told)
    assert (out / "leakage.json").read_text() == "the other's"
    assert found.folder == tmp_path / "out-2"
    assert (found.folder / "leakage.json").is_file()
    assert any(
        f"{out}: another command has made it meanwhile; this report is in {found.folder}" in w for w in told.warnings
    )
