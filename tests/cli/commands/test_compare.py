from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import mibias_cli.compare
from mibias_cli.cli.commands.compare import _Page as Page
from mibias_cli.cli.commands.compare import _show as show
from mibias_cli.cli.main import app
from mibias_cli.recipe.load import parse_recipe

INTERVAL = {"estimate": 0.5, "lower": 0.25, "upper": 0.75}
REPORT: dict[str, Any] = {
    "schema_version": 1,
    "attributes": {
        "colour": {
            "before": None, "entropy_bits": 2.0,
            "after": {"leakage_bits": INTERVAL, "conditional_leakage_bits": INTERVAL},
        }
    },
    "task": {"before": None, "after": {"accuracy": 0.9}},
    "similarity": {"effective_rank_after": 4.0, "cka": None},
    "provenance": {},
}  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    places = []
    for seed in (0, 1):
        run = tmp_path / f"seed{seed}"
        (run / "report").mkdir(parents=True)
        report = copy.deepcopy(REPORT)
        report["task"]["after"]["accuracy"] = 0.8 + 0.1 * seed
        (run / "report" / "leakage.json").write_text(json.dumps(report))
        (run / "recipe.resolved.yaml").write_text(f"version: 1\nseed: {seed}\n")
        places.append(str(run))
    return places


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_table_for_people_and_json_for_programs(runs: list[str], tmp_path: Path) -> None:
    text = run("compare", *runs, "--out", str(tmp_path / "out"))
    assert text.exit_code == 0, text.stderr
    assert text.stdout == ""
    assert "85.0\u00a0% (± 7.1\u00a0%)" in text.stderr
    assert (tmp_path / "out" / "compare.html").exists()
    as_json = run("compare", *runs, "--format", "json")
    found = json.loads(as_json.stdout)
    assert [r["name"] for r in found["runs"]] == ["seed0", "seed1"]
    assert found["varied"] == ["seed"]


def test_a_recipe_that_was_edited_since_the_run_was_begun_tells_of_no_settings(runs: list[str]) -> None:
    text = "version: 1\nseed: {}\ndata: {{source: digits}}\nbackbone: {{name: digit_cnn}}\n"
    begun = parse_recipe(text.format(0), path="r.yaml").model_dump(mode="json")
    (Path(runs[0]) / "start.json").write_text(json.dumps({"recipe": begun, "data": {}, "weights": ""}))
    for seed, code in ((0, 0), (7, 2)):
        (Path(runs[0]) / "recipe.resolved.yaml").write_text(text.format(seed))
        done = run("compare", *runs)
        assert (done.exit_code, "seed: 0 → 7" in done.stderr) == (code, code == 2)


def show_on_terminal(runs: list[str], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from mibias_cli.compare.runs import compare

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show(compare([Path(place) for place in runs]), None, "text")


def test_on_a_narrow_terminal_what_is_small_stands_below_and_words_stay_whole(
    runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_on_terminal(runs, 60, monkeypatch)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().err.splitlines()]
    assert max(map(len, lines)) <= 60
    figures = next(k for k, line in enumerate(lines) if "85.0\u00a0%" in line)
    assert "± 7.1" in lines[figures + 1]
    assert "(" not in lines[figures]


def test_on_a_terminal_too_narrow_for_a_table_no_figure_is_cut(
    runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_on_terminal(runs, 24, monkeypatch)
    said = capsys.readouterr().err
    assert max(map(len, said.splitlines())) <= 24
    assert "…" not in said
    words = re.sub(r"\s+", " ", said)
    assert ": 85.0 % (± 7.1 %)" in words


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "run").mkdir(parents=True)
        (tmp_path / parent / "run" / "leakage.json").write_text(json.dumps(REPORT))
    found = json.loads(run("compare", *(str(tmp_path / p / "run") for p in "ab"), "--format", "json").stdout)
    assert [r["name"] for r in found["runs"]] == ["a/run", "b/run"]


def test_a_report_that_is_named_twice_is_told(runs: list[str]) -> None:
    result = run("compare", *runs, f"{runs[0]}/report")
    assert result.exit_code == 2
    assert "name it once" in result.stderr


def test_a_folder_without_a_report_is_named(runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    result = run("compare", *runs, str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "none: holds no report" in result.stderr


@pytest.fixture
def sweeping(monkeypatch: pytest.MonkeyPatch, runs: list[str]) -> dict[str, Any]:
    """A sweep whose runs are there already; the arguments that it got."""
    from mibias_cli.compare import sweep

    got: dict[str, Any] = {"failed": {}, "elsewhere": ()}

    def run_sweep(recipe: Path, points: Any, **options: Any) -> Any:
        got.update(options, recipe=recipe, points=points)
        finished = {Path(place).name: Path(place) for place in runs}
        options["on_finished"](dict(list(finished.items())[:1]))
        got["page"] = json.loads((options["out"] / "compare.json").read_text())
        return SimpleNamespace(finished=finished, n_skipped=0, failed=got["failed"], elsewhere=got["elsewhere"])

    fake = ModuleType("mibias_cli.compare.sweep")
    fake.__dict__.update({name: getattr(sweep, name) for name in sweep.__all__} | {"run_sweep": run_sweep})
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(mibias_cli.compare, "sweep", fake, raising=False)
    return got


def test_a_sweep_ends_in_a_comparison(sweeping: dict[str, Any], tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("version: 1\nname: mine\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n")
    given = ["sweep", str(recipe), "--over", "seed=0,1", "--set", "training.epochs=1", "--device", "cpu", "--offline"]
    result = run(*given, "--out", str(tmp_path / "s"), "--jobs", "3")
    assert result.exit_code == 0, result.stderr
    assert (sweeping["out"], sweeping["jobs"]) == (tmp_path / "s", 3)
    assert sweeping["overrides"] == ["training.epochs=1", "training.device=cpu"]
    assert sweeping["options"] == ["--offline"]
    assert [point.name for point in sweeping["points"]] == ["seed=0", "seed=1"]
    assert (tmp_path / "s" / "compare.html").exists()
    # the page is there as soon as one run is
    assert len(sweeping["page"]["runs"]) == 1
    sweeping["failed"], sweeping["elsewhere"] = {"seed=1": "broken"}, ("seed=0",)
    failed = run(*given, "--out", str(tmp_path / "s"))
    assert failed.exit_code == 2
    assert "1 of 2 runs failed: seed=1" in failed.stderr
    assert "1 of 2 runs are being trained by other processes: seed=0; give the same command again" in failed.stderr
    planned = run(*given, "--dry-run")
    assert planned.exit_code == 0, planned.stderr
    assert json.loads(planned.stdout)[1] == {"name": "seed=1", "overrides": ["seed=1"]}


def test_a_file_of_the_users_own_is_refused_before_anything_is_trained(
    sweeping: dict[str, Any], runs: list[str], tmp_path: Path
) -> None:
    recipe, out = tmp_path / "r.yaml", tmp_path / "s"
    recipe.write_text("version: 1\nname: mine\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n")
    out.mkdir()
    (out / "compare.html").write_text("my notes")
    for command in (["sweep", str(recipe), "--over", "seed=0,1"], ["compare", *runs]):
        result = run(*command, "--out", str(out))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "compare.html would be written over" in result.stderr
    assert "points" not in sweeping
    assert (out / "compare.html").read_text() == "my notes"


def test_a_page_that_cannot_be_written_ends_no_run_in_training(runs: list[str], tmp_path: Path) -> None:
    page = Page(tmp_path / "s")
    page.update({"a": Path(runs[0]), "b": tmp_path / "no report"})
    assert not (tmp_path / "s").exists()
    page = Page(tmp_path / "s")
    page.update({"a": Path(runs[0])})
    assert (tmp_path / "s" / "compare.html").exists()
