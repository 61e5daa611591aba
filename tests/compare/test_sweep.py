"""Sweeps: the grid, which runs are begun, resumed or skipped, and what a failure leaves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mibias_cli.compare import jobs, sweep
from mibias_cli.compare.runs import compare, flat_settings
from mibias_cli.errors import RecipeError, RunError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import dump_recipe, load_recipe
from mibias_cli.run.assemble import assemble
from mibias_cli.run.resume.same_run import write_beginning
from mibias_cli.run_folder import RunFolder, lock_run

RECIPE = "version: 1\nname: small\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n"
REPORT: dict[str, Any] = {
    "schema_version": 1, "attributes": {}, "task": {"before": None, "after": {"accuracy": 0.5}}, "similarity": {},
    "provenance": {},
}  # fmt: skip
FAKE = """
import json, os, pathlib, sys
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("--out" if "--out" in arguments else "--resume") + 1])
with open(folder.parent / "calls.jsonl", "a") as file:
    file.write(json.dumps(arguments) + "\\n")
with open(folder.parent / "gpus.txt", "a") as file:
    file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "") + "\\n")
if "debias.weight=7" in arguments:
    print("it went wrong")
    sys.exit(2)
for part in ("report", "export"):
    (folder / part).mkdir(parents=True, exist_ok=True)
(folder / "report" / "leakage.json").write_text(REPORT)
sys.exit(1 if "debias.weight=1" in arguments else 0)
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe, and a `train` that only notes how it was called."""
    fake = tmp_path / "fake.py"
    fake.write_text(f"REPORT = {json.dumps(REPORT)!r}\n{FAKE}")
    real = jobs._command

    def command(*arguments: Any) -> list[str]:
        line = real(*arguments)
        assert line[:4] == [sys.executable, "-m", "mibias_cli.cli", "train"]
        return [sys.executable, "-S", str(fake), *line[4:]]

    monkeypatch.setattr(jobs, "_command", command)
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    return path


def calls(out: Path) -> list[list[str]]:
    path = out / "calls.jsonl"
    return sorted(json.loads(line) for line in path.read_text().splitlines()) if path.exists() else []


def points(*axes: str) -> list[jobs.Point]:
    return sweep.make_points([sweep.parse_axis(axis) for axis in axes])


def test_the_grid_is_every_combination() -> None:
    assert [point.overrides for point in points("debias.weight=0,1e-1", "seed=0,1")] == [
        ("debias.weight=0", "seed=0"),
        ("debias.weight=0", "seed=1"),
        ("debias.weight=1e-1", "seed=0"),
        ("debias.weight=1e-1", "seed=1"),
    ]


def test_names_are_folders_and_never_the_same() -> None:
    names = [p.name for p in points("representation.layers=[a/b],[a b],[features, output]", "name=" + "x" * 200 + ",y")]
    assert len(set(names)) == 6
    assert all(len(name) < 100 and "/" not in name and " " not in name for name in names)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["debias.weight"], "write --over KEY=VALUE"),
        (["debias.weight="], "write --over KEY=VALUE"),
        (["seed=1,,2"], "a value is empty"),
        (["seed=1,2,1"], "1 is named twice"),
        (["seed=1", "seed=2"], "is swept twice"),
        (["debias.weight=[1"], "not valid YAML"),
        ([f"seed={','.join(map(str, range(1001)))}"], "at most 1000"),
    ],
)
def test_what_makes_no_grid(axes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match="--over"):
        points(*axes)
    with pytest.raises(RecipeError) as caught:
        points(*axes)
    assert message in str(caught.value)


def test_every_point_is_run_once_and_then_skipped(recipe: Path, tmp_path: Path) -> None:
    out, grid = tmp_path / "sweep", points("debias.weight=0,1", "seed=0,1")
    arguments: dict[str, Any] = {"out": out, "overrides": ["training.epochs=2"], "options": ["--offline"], "jobs": 2}
    first = sweep.run_sweep(recipe, grid, **arguments, progress=Silent())
    assert list(first.finished) == [point.name for point in grid]
    assert (first.n_skipped, dict(first.failed)) == (0, {})
    assert len(calls(out)) == 4
    share = str(max(1, (os.cpu_count() or 1) // 2))
    assert calls(out)[0] == [
        "--offline", "--jobs", share, str(recipe), "--out", str(out / grid[0].name),
        "--set", "training.epochs=2", "--set", "debias.weight=0", "--set", "seed=0",
    ]  # fmt: skip
    for point in grid:  # as train would have written it
        text = dump_recipe(load_recipe(recipe, ["training.epochs=2", *point.overrides]))
        (out / point.name / "recipe.resolved.yaml").write_text(text)
    again = sweep.run_sweep(recipe, grid, **arguments, progress=Silent())
    assert (again.n_skipped, len(calls(out))) == (4, 4)
    with pytest.raises(RunError, match="was made by another recipe"):
        sweep.run_sweep(recipe, grid, out=out, progress=Silent())
    found = compare(list(again.finished.values()), names=list(again.finished))
    assert list(found.varied) == ["seed", "debias.weight"]
    assert [len(group.runs) for group in found.groups] == [2, 2]


def test_runs_of_other_data_are_refused(recipe: Path, tmp_path: Path) -> None:
    table = "k,y,sex\n" + "".join(f"{k % 7},{k % 2},{'fm'[k // 2 % 2]}\n" for k in range(80))
    (tmp_path / "t.csv").write_text(table)
    recipe.write_text(
        "version: 1\ndata: {source: table, path: t.csv, columns: {target: y}, attributes: {sex: {}}}\n"
        "backbone: {name: mlp}\n"
    )
    out, grid = tmp_path / "sweep", points("debias.weight=0,1")
    sweep.run_sweep(recipe, grid, out=out, progress=Silent())
    for point in grid:  # as train would have written them
        own = load_recipe(recipe, point.overrides)
        (out / point.name / "recipe.resolved.yaml").write_text(dump_recipe(own))
        write_beginning(RunFolder(out / point.name), assemble(own, offline=True))
    assert sweep.run_sweep(recipe, grid, out=out, progress=Silent()).n_skipped == 2
    (tmp_path / "t.csv").write_text(table + "3,1,f\n3,0,m\n3,1,f\n3,0,m\n3,1,f\n")
    with pytest.raises(RunError, match=r"debias.weight=0: data: train rows: 56 → \d+(.|\n)*weight=1: data(.|\n)*--out"):
        sweep.run_sweep(recipe, grid, out=out, progress=Silent())
    # runs can be compared when their data are gone
    (tmp_path / "t.csv").unlink()
    assert sweep.run_sweep(recipe, grid, out=out, progress=Silent()).n_skipped == 2


def test_half_finished_runs_go_on_and_those_without_a_checkpoint_begin_anew(recipe: Path, tmp_path: Path) -> None:
    out, grid = tmp_path / "sweep", points("seed=0,1,2")
    for point in grid[:2]:
        (out / point.name).mkdir(parents=True)
        (out / point.name / "recipe.resolved.yaml").write_text(dump_recipe(load_recipe(recipe, point.overrides)))
    (out / grid[0].name / "checkpoints").mkdir()
    (out / grid[0].name / "checkpoints" / "last.pt").touch()
    sweep.run_sweep(recipe, grid, out=out, progress=Silent())
    by_run = {arguments[arguments.index("--out" if "--out" in arguments else "--resume") + 1]: arguments
              for arguments in calls(out)}  # fmt: skip
    assert by_run[str(out / "seed=0")] == ["--resume", str(out / "seed=0")]
    assert "--overwrite" in by_run[str(out / "seed=1")]
    assert "--overwrite" not in by_run[str(out / "seed=2")]


def test_a_run_that_fails_leaves_the_others_alone(recipe: Path, tmp_path: Path) -> None:
    result = sweep.run_sweep(recipe, points("debias.weight=7,0"), out=tmp_path / "s", progress=Silent())
    assert list(result.finished) == ["debias.weight=0"]
    assert "exit code 2: it went wrong" in result.failed["debias.weight=7"]


def test_a_wrong_value_or_a_folder_in_the_way_is_said_before_anything_runs(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="at least 0"):
        sweep.run_sweep(recipe, points("debias.weight=0,-1"), out=tmp_path / "s", progress=Silent())
    (tmp_path / "s" / "seed=1").mkdir(parents=True)
    (tmp_path / "s" / "seed=1" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is in the way"):
        sweep.run_sweep(recipe, points("seed=0,1"), out=tmp_path / "s", progress=Silent())
    assert calls(tmp_path / "s") == []


def test_jobs_share_the_processors_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert jobs._environment(4)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in jobs._environment(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert jobs._environment(4)["OMP_NUM_THREADS"] == "3"


def test_jobs_have_gpus_of_their_own_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-8a,5")
    assert jobs.gpu_slots(1, 1) == [""]
    assert jobs.gpu_slots(4, 1) == ["0", "GPU-8a", "5", "0"]
    assert jobs.gpu_slots(2, 2) == ["", ""]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert jobs.gpu_slots(3, 2) == ["0,1", "2,3", "0,1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert jobs.gpu_slots(2, 1) == ["", ""]


def test_each_job_gets_its_gpu_and_gives_it_back(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    sweep.run_sweep(recipe, points("seed=0,1,2,3"), out=tmp_path / "s", jobs=2, progress=Silent())
    used = (tmp_path / "s" / "gpus.txt").read_text().split()
    assert sorted(used) == ["2", "2", "3", "3"]


def test_what_another_sweep_is_at_is_left_to_it(recipe: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "s", list[list[str]]()
    with lock_run(out / "logs" / ".claims" / "seed=1"):
        result = sweep.run_sweep(
            recipe, points("seed=0,1,2"), out=out, progress=Silent(), on_finished=lambda found: seen.append([*found])
        )
    assert (list(result.finished), result.elsewhere, dict(result.failed)) == (["seed=0", "seed=2"], ("seed=1",), {})
    assert seen == [["seed=0"], ["seed=0", "seed=2"]]
    for name in result.finished:  # as train would have written it
        (out / name / "recipe.resolved.yaml").write_text(dump_recipe(load_recipe(recipe, [name])))
    assert sweep.run_sweep(recipe, points("seed=0,1,2"), out=out, progress=Silent()).elsewhere == ()
    assert len(calls(out)) == 3


def test_two_sweeps_of_one_folder_share_its_points(recipe: Path, tmp_path: Path) -> None:
    """Two processes at a time: every point is trained once, and both know of all that are finished in the end."""
    out, grid = tmp_path / "s", points("seed=0,1,2,3,4,5,6,7")
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            try:
                result = sweep.run_sweep(recipe, grid, out=out, jobs=2, progress=Silent())
                os._exit(len(result.failed) + 10 * (len(result.finished) + len(result.elsewhere) != 8))
            finally:
                os._exit(99)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    trained = [arguments[arguments.index("--out") + 1] for arguments in calls(out)]
    assert sorted(trained) == [str(out / point.name) for point in grid]


def test_settings_are_flat_and_names_say_nothing() -> None:
    assert flat_settings({"version": 1, "name": "x", "a": {"b": [1], "c": None}}) == {"a.b": [1], "a.c": None}
