"""The command line against a workflow that only notes how it is called: arguments, exit codes, what goes where."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner, Result

import mibias_cli.run
from mibias_cli.cli.main import app
from mibias_cli.cli.options import Device, ExportFormat, Precision
from mibias_cli.errors import DataError
from mibias_cli.recipe.load import load_recipe
from mibias_cli.recipe.sections.evaluation import EvaluationSection
from mibias_cli.recipe.sections.training import ExportSection, TrainingSection
from mibias_cli.report.document import Report

RECIPE = "version: 1\nname: small\ndata:\n  source: digits\nbackbone:\n  name: test_resnet\n"
LEAKAGE = {"estimate": 1.5, "lower": 1.4, "upper": 1.6}
REPORT = Report.model_validate(
    {
        "schema_version": 1,
        "attributes": {"colour": {"before": None, "after": {"leakage_bits": LEAKAGE}, "entropy_bits": 3.0}},
        "task": {"before": None, "after": {"accuracy": 0.75}},
    }
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """A fake workflow and dry run; the list of the calls that they got."""
    made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def noting(name: str, result: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append((name, args, kwargs))
            return result

        return call

    workflow = ModuleType("mibias_cli.run.workflow")
    for name, result in {
        "train": SimpleNamespace(folder=tmp_path / "run", report=REPORT, export=tmp_path / "run" / "export"),
        "evaluate": SimpleNamespace(folder=tmp_path / "audit", report=REPORT),
        "export": tmp_path / "exported",
    }.items():
        setattr(workflow, name, noting(name, result))
    workflow.load_run_recipe = lambda run, overrides, resumes: load_recipe(run / "recipe.resolved.yaml", overrides)
    dry_run = ModuleType("mibias_cli.run.dry_run")
    dry_run.dry_run = noting("dry_run", {"steps": 3})
    for module in (workflow, dry_run):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(mibias_cli.run, module.__name__.split(".")[-1], module, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "recipe.resolved.yaml").write_text(RECIPE)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_train_passes_everything_on(calls: list[Any]) -> None:
    result = run("train", "r.yaml", "--out", "here", "--set", "debias.weight=2", "--seed", "5", "--device", "cpu",
                 "--precision", "16", "--offline", "--overwrite")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    ((name, (recipe,), options),) = calls
    assert name == "train"
    assert (recipe.debias.weight, recipe.seed, recipe.training.device, recipe.training.precision) == (2, 5, "cpu", "16")
    assert {key: options[key] for key in ("out", "resume", "overwrite", "offline")} == {
        "out": Path("here"),
        "resume": None,
        "overwrite": True,
        "offline": True,
    }
    assert result.stdout == ""
    assert "colour: leakage (bits)" in result.stderr
    assert "75.0 %" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "r.yaml", "--set", "seed=1", "--seed", "2"],
        ["validate", "r.yaml", "--set", "seed=1", "--set", "seed=2"],
        ["sweep", "r.yaml", "--set", "seed=1", "--over", "seed=1,2"],
    ],
)
def test_a_setting_that_is_given_twice_is_refused(calls: list[Any], arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, calls) == (2, [])
    assert "--set seed: is set twice" in result.stderr


def test_train_resumes_with_the_runs_own_recipe(calls: list[Any]) -> None:
    assert run("train", "--resume", "old").exit_code == 0
    ((_, (recipe,), options),) = calls
    assert recipe.name == "small"
    assert options["resume"] == Path("old")


def test_dry_run_writes_json_to_stdout(calls: list[Any]) -> None:
    result = run("train", "r.yaml", "--dry-run", "--set", "seed=3")
    assert json.loads(result.stdout) == {"steps": 3}
    assert [name for name, _, _ in calls] == ["dry_run"]
    assert calls[0][1][0].seed == 3


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "name a RECIPE to train, or a run to --resume"),
        (["train", "--resume", "old", "--out", "x"], "a resumed run stays in its own folder"),
        (["train", "--resume", "old", "--overwrite"], "a resumed run stays in its own folder"),
        (["evaluate", "resnet18", "--device", "cpu"], "--set and --device need --recipe"),
        (["train", "r.yaml", "--device", "tpu"], "'tpu'"),
        (["train", "r.yaml", "--seed", "-1"], "--seed"),
        (["nonsense"], "nonsense"),
        (["validate"], "RECIPE"),
    ],
)
def test_wrong_use_exits_2_with_a_usage_line(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert message in result.stderr


def test_evaluate_reports_as_text_or_json(calls: list[Any]) -> None:
    text = run("evaluate", "resnet18", "--recipe", "r.yaml", "--device", "cpu", "--out", "there", "--offline")
    assert text.exit_code == 0, text.stderr
    assert text.stdout == ""
    assert "1.500 [1.400, 1.600]" in text.stderr
    as_json = run("evaluate", "resnet18", "--recipe", "r.yaml", "--format", "json")
    assert as_json.stdout == REPORT.to_json()
    name, (target,), options = calls[0]
    assert (name, target, options["out"], options["offline"]) == ("evaluate", "resnet18", Path("there"), True)
    assert options["recipe"].training.device == "cpu"


def test_evaluate_takes_a_runs_own_recipe(calls: list[Any]) -> None:
    assert run("evaluate", "old", "--set", "evaluation.n_bootstrap=100").exit_code == 0
    assert calls[0][2]["recipe"].evaluation.n_bootstrap == 100
    assert run("evaluate", "exported-folder").exit_code == 0
    assert calls[1][2]["recipe"] is None


def test_export_passes_formats_on(calls: list[Any]) -> None:
    result = run("export", "old", "--out", "x", "--format", "safetensors", "--format", "onnx")
    assert result.exit_code == 0
    assert run("export", "old").exit_code == 0
    assert calls[0][1] == (Path("old"),)
    assert [call[2]["formats"] for call in calls] == [("safetensors", "onnx"), ()]
    assert calls[0][2]["out"] == Path("x")
    assert "exported to" in result.stderr


@pytest.mark.usefixtures("calls")
def test_validate_says_ok_or_names_every_problem(tmp_path: Path) -> None:
    fine = run("validate", "r.yaml")
    assert (fine.exit_code, fine.stdout, fine.stderr) == (0, "", "r.yaml: ok\n")
    (tmp_path / "bad.yaml").write_text(RECIPE + "debias: {wieght: 1}\nseed: x\n")
    bad = run("validate", "r.yaml", "bad.yaml", "missing.yaml")
    assert bad.exit_code == 2
    assert bad.stderr == (
        "r.yaml: ok\n"
        "bad.yaml:7:10 debias.wieght: unknown key, did you mean 'weight'?\n"
        "    debias: {wieght: 1}\n"
        "             ^\n"
        "bad.yaml:8:7 seed: must be a whole number, not 'x'\n"
        "    seed: x\n"
        "          ^\n"
        "missing.yaml: there is no such file; `mibias recipes list` names the recipes that come with mibias\n"
        "3 problems\n"
    )


def test_schema_goes_to_stdout_or_to_a_file(tmp_path: Path) -> None:
    printed = run("schema")
    assert json.loads(printed.stdout)["title"] == "mibias recipe"
    assert run("schema", "--out", str(tmp_path / "s.json")).exit_code == 0
    assert (tmp_path / "s.json").read_text() == printed.stdout


def test_recipes_are_listed_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mibias_cli.recipe import shipped

    (tmp_path / "demo.yaml").write_text("# A demo.\nversion: 1\n")
    monkeypatch.setattr(shipped, "_folder", lambda: tmp_path)
    assert run("recipes", "list").stdout == "demo  A demo.\n"
    target = tmp_path / "copies" / "mine.yaml"
    assert run("recipes", "copy", "demo", str(target)).exit_code == 0
    assert target.exists()
    again = run("recipes", "copy", "demo", str(target))
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_version() -> None:
    assert run("--version").stdout == f"mibias {mibias_cli.__version__}\n"


def failing(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a.csv: 3 files are missing"), 2, "error: a.csv: 3 files are missing\n"),
        (PermissionError(13, "Permission denied", "runs"), 2, "error: Permission denied: runs\n"),
        (KeyError("lost"), 2, f"internal error in mibias {mibias_cli.__version__}: KeyError: 'lost'\n`mibias --debug"),
        (KeyboardInterrupt(), 130, "interrupted; no checkpoint was written yet\n"),
        (MemoryError(), 2, "error: not enough memory. Lower training.batch_size"),
        (OSError(28, "No space left on device", "run/last.pt"), 2, "device: run/last.pt; make room on its disk"),
        # no stream of ours raises it: some other pipe broke, a worker's for example
        (BrokenPipeError(32, "Broken pipe"), 2, "error: Broken pipe\n"),
    ],
)  # fmt: skip
def test_errors_become_messages_and_exit_codes(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    monkeypatch.setattr(sys.modules["mibias_cli.run.workflow"], "train", failing(error))
    result = run("train", "r.yaml")
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("by_environment", [True, False])
def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, by_environment: bool) -> None:
    monkeypatch.setattr(sys.modules["mibias_cli.run.workflow"], "train", failing(KeyError("lost")))
    if by_environment:
        monkeypatch.setenv("MIBIAS_DEBUG", "1")
    result = run(*([] if by_environment else ["--debug"]), "train", "r.yaml")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


@pytest.mark.usefixtures("calls")
def test_an_interrupted_run_says_how_to_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def begin(*_: Any, out: Path | None, resume: Path | None, **__: Any) -> Any:
        folder = resume or out or Path("runs/small/2026")
        (folder / "checkpoints" / "last").mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["mibias_cli.run.workflow"], "train", begin)
    for arguments, folder in (
        (["r.yaml"], "runs/small/2026"),
        (["r.yaml", "--out", "o"], "o"),
        (["--resume", "old"], "old"),
    ):
        result = run("train", *arguments)
        assert result.exit_code == 130
        assert f"interrupted; resume with: mibias train --resume {folder}\n" in result.stderr


def test_options_offer_what_the_recipe_takes() -> None:
    training = TrainingSection.model_json_schema()["properties"]
    assert list(get_args(Device)) == training["device"]["enum"]
    assert list(get_args(Precision)) == training["precision"]["enum"]
    formats = ExportSection.model_json_schema()["properties"]["formats"]["items"]["enum"]
    assert [choice.value for choice in ExportFormat] == formats
    assert EvaluationSection().probes


def commands(command: Any, name: str) -> list[tuple[str, Any]]:
    below = [item for key, sub in getattr(command, "commands", {}).items() for item in commands(sub, f"{name} {key}")]
    return [(name, command), *below]


@pytest.mark.parametrize(("name", "command"), commands(typer.main.get_command(app), "mibias"))
def test_every_command_and_option_has_help(name: str, command: Any) -> None:
    assert command.help, f"{name} has no help"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"
    result = run(*name.split()[1:], "--help")
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:")[2]
    assert "..." not in listed, "the first sentence of a help text is too long for the list of commands"
