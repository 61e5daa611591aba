"""A resumed run is the run that was begun, or says why not: recipe, data, weights, its log, and what a kill left."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import best, metrics, same, stop_at_step, tiny, train_alone, trained
from typer.testing import CliRunner

from mibias_cli.cli.main import app
from mibias_cli.errors import RunError
from mibias_cli.progress import Silent
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.recipe.schema import Recipe
from mibias_cli.run import workflow
from mibias_cli.run.resume import data_parts, same_run
from mibias_cli.run_folder import RunFolder

TABLE = """
version: 1
data: {source: table, path: people.csv, columns: {target: y, split: split}, attributes: {sex: {}}}
backbone: {name: mlp, options: {hidden: [8]}}
debias: {weight: 0.1, critic: {hidden: [8]}}
training: {epochs: 3, batch_size: 32, schedule: constant, device: cpu, log_every_steps: 1}
evaluation: {probes: [logistic], n_bootstrap: 100}
"""


def people(path: Path, n: int = 240) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        y, sex = int(rng.integers(2)), int(rng.integers(2))
        split = ("train", "train", "validation", "test")[k % 4]
        x = rng.normal(size=2) + np.array([y, sex])
        labels = {"y": ["no", "yes"][y], "sex": "fm"[sex], "split": split}
        rows.append({"a": f"{x[0]:.3f}", "b": f"{x[1]:.3f}", **labels})
    written(path, rows)
    return rows


def written(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(folder: Path, *overrides: str) -> Recipe:
    return parse_recipe(TABLE, path=str(folder / "r.yaml"), overrides=overrides)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and in `run` a run of it that was stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("begun")
    people(folder / "people.csv")
    with pytest.MonkeyPatch.context() as patch:
        stop_at_step(patch, 7)
        with pytest.raises(KeyboardInterrupt):
            trained(table(folder), folder / "run")
    return folder


@pytest.fixture
def stopped(begun: Path, tmp_path: Path) -> Path:
    """The same, to be changed: the run's own recipe still names the table of `begun`, so it is put where it lay."""
    shutil.copytree(begun, tmp_path / "here")
    return tmp_path / "here"


def resumed(folder: Path, *overrides: str, run: Callable[..., object] = train_alone) -> object:
    moved = f"data.path={folder / 'people.csv'}"
    recipe = workflow.load_run_recipe(folder / "run", [moved, *overrides])
    return run(recipe, folder / "unused", resume=folder / "run")


def test_where_data_lie_may_change_and_is_recorded(stopped: Path, begun: Path) -> None:
    whole = train_alone(table(begun), stopped / "whole")
    assert resumed(stopped) == stopped / "run"
    assert same(best(stopped / "run"), best(whole))
    assert metrics(stopped / "run") == metrics(whole)
    assert "resumed with data.path: " in (stopped / "run" / "train.log").read_text()
    # what was changed stands: to resume again needs no --set
    again = workflow.load_run_recipe(stopped / "run")
    assert again.data.path == stopped / "people.csv"
    trained(again, stopped, resume=stopped / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rows removed", r"train rows: 120 → 119\n"),
        ("shuffled", "targets of the train rows differ"),
        ("values replaced", "inputs, their order"),
        ("labels replaced", r"targets of the train rows differ\n"),
        ("attributes replaced", r"'sex' of the audit rows differ\n"),
        ("classes renamed", "what classes and attributes are called"),
    ],
)
def test_other_data_are_refused(stopped: Path, change: str, message: str) -> None:
    with (stopped / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if change == "rows removed":
        rows = rows[1:]
    elif change == "shuffled":
        np.random.default_rng(1).shuffle(rows)
    elif change == "classes renamed":
        rows = [{**row, "y": row["y"].upper()} for row in rows]
    else:
        at, key = {"values": (0, "a"), "labels": (0, "y"), "attributes": (3, "sex")}[change.split()[0]]
        others = {"no": "yes", "yes": "no", "f": "m", "m": "f"}
        rows[at][key] = others.get(rows[at][key], "9.5")
    written(stopped / "people.csv", rows)
    before = (stopped / "run" / "recipe.resolved.yaml").read_text()
    with pytest.raises(RunError, match=f"go on with the same run(.|\n)*data: (.|\n)*{message}"):
        resumed(stopped)
    assert (stopped / "run" / "recipe.resolved.yaml").read_text() == before


def test_other_settings_are_refused_before_data_are_looked_for(stopped: Path) -> None:
    (stopped / "people.csv").unlink()
    with pytest.raises(RunError) as error:
        resumed(stopped, "training.learning_rate=0.1", "seed=3", "original={epochs: 1}")
    text = str(error.value)
    assert "training.learning_rate: 0.001 → 0.1" in text
    assert "seed: 0 → 3" in text
    assert "original: null → " in text
    # an edit of the file is the same
    resolved = stopped / "run" / "recipe.resolved.yaml"
    resolved.write_text(resolved.read_text().replace("batch_size: 32", "batch_size: 16"))
    with pytest.raises(RunError, match="training.batch_size: 32 → 16"):
        resumed(stopped)


def test_a_recipe_that_was_edited_or_cut_is_refused_wherever_it_is_read(stopped: Path) -> None:
    run = stopped / "run"
    recipe = RunFolder(run).recipe
    whole = recipe.read_text()
    commands = (
        lambda: workflow.evaluate(run, unfinished=True, offline=True),
        lambda: workflow.evaluate(run, recipe=table(stopped), unfinished=True, offline=True),
        lambda: workflow.export(run, unfinished=True, offline=True),
        lambda: workflow.load_run_recipe(run, ["training.batch_size=32"]),
    )
    # a cut one parses: what it lacks would be taken for what it is by default
    for damaged, said in (
        (whole[: whole.index("training:")], "training.batch_size: 32 → 128"),
        (whole.replace("epochs: 3", "epochs: 9"), "training.epochs: 3 → 9"),
    ):
        recipe.write_text(damaged)
        for command in commands:
            with pytest.raises(
                RunError, match=f"recipe.resolved.yaml: is not what the run was begun with(.|\n)*{said}"
            ):
                command()
    # what a resumed run may change, and what one command alone is told, are no faults
    recipe.write_text(whole.replace("num_workers: 0", "num_workers: 1"))
    assert workflow.load_run_recipe(run, ["seed=1"]).training.num_workers == 1
    dry = ["train", "--resume", str(run), "--set", f"data.path={stopped / 'people.csv'}", "--dry-run"]
    done = CliRunner().invoke(app, [*dry, "--set", "seed=1"])
    assert (done.exit_code, "seed: 0 → 1" in done.stderr) == (2, True)


def test_other_starting_weights_are_refused(stopped: Path) -> None:
    start = RunFolder(stopped / "run").start
    content = json.loads(start.read_text())
    start.write_text(json.dumps({**content, "weights": "0" * 64}))
    with pytest.raises(RunError, match=r"starting weights: sha256 0{12}…"):
        resumed(stopped)
    start.write_text("\0" * 100)
    with pytest.raises(RunError, match=r"start.json: damaged; remove it"):
        resumed(stopped)


def test_harmless_settings_may_change(stopped: Path, begun: Path) -> None:
    whole = train_alone(table(begun), stopped / "whole")
    resumed(stopped, "training.num_workers=1", "training.checkpoint_every_steps=2", "gates=[task.after.accuracy > 0]")
    assert same(best(stopped / "run"), best(whole))
    log = (stopped / "run" / "train.log").read_text()
    assert "resumed with training.num_workers: 0 → 1" in log
    assert "resumed with training.checkpoint_every_steps: null → 2" in log


def test_epochs_may_grow_while_the_schedule_is_constant(stopped: Path, begun: Path) -> None:
    whole = train_alone(table(begun, "training.epochs=4"), stopped / "whole")
    with pytest.raises(RunError, match="training.epochs: 3 → 2 .epochs may only grow"):
        resumed(stopped, "training.epochs=2")
    resumed(stopped, "training.epochs=4")
    assert same(best(stopped / "run"), best(whole))
    assert metrics(stopped / "run") == metrics(whole)
    with pytest.raises(RunError, match="before the run has ended"):
        resumed(stopped, "training.epochs=9")


def test_epochs_may_not_grow_along_a_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at_step(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny(), tmp_path / "run")
    with pytest.raises(RunError, match="training.schedule: constant"):
        trained(tiny("training.epochs=9"), tmp_path, resume=tmp_path / "run")


def test_runs_without_fingerprints_resume_and_get_them(stopped: Path, begun: Path) -> None:
    RunFolder(stopped / "run").start.unlink()
    with pytest.raises(RunError, match="seed: 0 → 1"):
        trained(table(begun, "seed=1"), stopped, resume=stopped / "run")
    train_alone(table(begun), stopped, resume=stopped / "run")
    assert "begun by an older version" in (stopped / "run" / "train.log").read_text()
    assert RunFolder(stopped / "run").start.is_file()


def test_another_environment_is_told(stopped: Path, begun: Path) -> None:
    environment = RunFolder(stopped / "run").environment
    content = json.loads(environment.read_text())
    content["packages"]["torch"] = "1.0"
    environment.write_text(json.dumps(content))
    resumed(stopped)
    assert (
        "resumed in another environment, where figures may differ slightly: torch 1.0 → "
        in (stopped / "run" / "train.log").read_text()
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing or empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "has 50 bytes"),
        (lambda path: path.write_bytes(b" " * path.stat().st_size), "was changed"),
    ],
)
def test_a_log_that_lacks_records_is_refused(stopped: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(stopped / "run" / "metrics.jsonl")
    with pytest.raises(RunError, match=rf"metrics.jsonl: {message}, but the last checkpoint knows of [\d,]+ bytes"):
        resumed(stopped)
    path = stopped / "run" / "metrics.jsonl"
    assert not path.exists() or b"\0" not in path.read_bytes()


def test_what_a_kill_left_is_removed_and_not_exported(stopped: Path, begun: Path) -> None:
    run = stopped / "run"
    left = [
        run / "checkpoints" / "last.pt.partial",  # as older versions wrote them
        run / "checkpoints" / ".best.safetensors.0123abcd.partial",
        run / "report" / ".leakage.html.0123abcd.partial",
        run / ".recipe.resolved.yaml.0123abcd.partial",
        run / ".export.0123abcd.partial" / "model.safetensors",
    ]
    mine = run / ".mine.partial"
    for path in [*left, mine]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    resumed(stopped, run=trained)
    assert [path for path in [*left, left[-1].parent] if path.exists()] == []
    assert mine.exists()
    # a report that was killed after that: what an export takes along is whole
    left[2].write_text("half")
    exported = workflow.export(run, out=stopped / "exported", offline=True, progress=Silent())
    assert (exported / "report" / "leakage.json").is_file()
    assert not list(exported.rglob("*.partial"))


def test_a_kill_while_the_recipe_is_written_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(tmp_path / "people.csv")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(table(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.resolved.yaml").exists()
    monkeypatch.undo()
    train_alone(table(tmp_path, "training.epochs=1"), tmp_path / "run")


# --- images ---

PICTURES = """
version: 1
data: {source: manifest, path: list.csv, columns: {path: image, target: y, split: split}, attributes: {c: {}}}
backbone: {name: digit_cnn, weights: none, options: {width: 2, hidden: 8, features: 4}}
training: {epochs: 1, batch_size: 8, device: cpu}
"""


def pictures(folder: Path) -> Recipe:
    folder.mkdir()
    rng, rows = np.random.default_rng(0), []
    for k in range(24):
        Image.fromarray(rng.integers(0, 255, (28, 28, 3), dtype=np.uint8)).save(folder / f"{k}.bmp")
        split = ("train", "validation", "test")[k % 3]
        rows.append({"image": f"{k}.bmp", "y": "ab"[k // 3 % 2], "c": "uv"[k // 6 % 2], "split": split})
    written(folder / "list.csv", rows)
    return parse_recipe(PICTURES, path=str(folder / "r.yaml"))


@pytest.mark.parametrize("few", [False, True])
def test_pixels_that_were_replaced_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    if few:  # as where there are too many to hash them all
        monkeypatch.setattr(data_parts, "_READ_WHOLE", 0)
        monkeypatch.setattr(data_parts, "_N_READ", 5)
    parts = workflow.assemble(pictures(tmp_path / "here"), offline=True)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    same_run.write_beginning(run, parts)
    assert same_run.check_same(run, parts) is None
    # copied to another place, with other times: the same run, and said
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)
    recipe = parse_recipe(PICTURES, path=str(tmp_path / "there" / "r.yaml"))
    there = workflow.assemble(recipe, offline=True)
    assert "other times of change" in str(same_run.check_same(run, there))
    # other pixels in as many bytes, in the last image, of which even few are enough to tell
    Image.new("RGB", (28, 28)).save(tmp_path / "there" / "23.bmp")
    with pytest.raises(RunError, match="data: contents of image files differ"):
        same_run.check_same(run, workflow.assemble(recipe, offline=True))
