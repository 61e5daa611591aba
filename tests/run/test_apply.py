"""New data through a trained extractor: in a fresh process the same features and predictions as were audited."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from small_runs import tiny, trained
from typer.testing import CliRunner, Result

from mibias_cli import load_extractor
from mibias_cli.backbone.catalogue import create_backbone
from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.cli.main import app
from mibias_cli.data.batch import BiasedData
from mibias_cli.data.input_rules import ImageRules
from mibias_cli.errors import DataError, ExportError
from mibias_cli.export import new_rows
from mibias_cli.export.load import extractor_of
from mibias_cli.export.new_rows import EmbeddedRows
from mibias_cli.heads.target import TargetHead
from mibias_cli.recipe.load import load_recipe
from mibias_cli.run.assemble import assemble, load_run_model
from mibias_cli.run.build import build_data

N = 60
"""Audited rows: the last ones of every file."""
SETTINGS = """
version: 1
name: tiny
debias: {weight: 0.5, queue_batches: 2, critic: {steps: 1, hidden: [8]}}
training: {epochs: 1, batch_size: 32, device: cpu}
evaluation: {probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}
"""
RECIPES = {
    "table": """
data:
  source: table
  path: t.csv
  columns: {split: split, target: y}
  features: [age, city, income]
  ramps: 4
  attributes: {sex: {}}
backbone: {name: mlp, options: {hidden: [8], features: 4}}
""",
    "numbers": """
data:
  source: table
  path: t.csv
  columns: {split: split, target: [score]}
  features: [age, city, income]
  target_kind: regression
  attributes: {sex: {}}
backbone: {name: mlp, options: {hidden: [8], features: 4}}
""",
    "images": """
data:
  source: manifest
  path: m.csv
  root: pixels
  columns: {path: file, split: split, target: y}
  attributes: {sex: {}}
backbone: {name: test_resnet, input_size: [32, 48]}
representation: {bottleneck: 5}
""",
    "embeddings": """
data:
  source: embeddings
  path: e.npz
  manifest: t.csv
  columns: {split: split, target: [tall, old]}
  attributes: {sex: {}}
backbone: {name: mlp, options: {hidden: [8], features: 4}}
""",
}
# every command in one process, which has not seen the training
FRESH = """
import json, sys
from mibias_cli.cli.main import app
for arguments in json.loads(sys.argv[1]):
    app(arguments, standalone_mode=False)
"""


def write(path: Path, columns: Mapping[str, Iterable[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])


def read(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def run(command: str, target: object, data: object, out: object, *more: object) -> Result:
    return CliRunner().invoke(app, [command, str(target), "--data", str(data), "--out", str(out), *map(str, more)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, images and embeddings of the same 160 rows, and a run on each kind of data and of target."""
    folder, g, n = tmp_path_factory.mktemp("apply"), np.random.default_rng(0), 100 + N
    sex, y = g.integers(0, 2, n), g.integers(0, 3, n)
    age = g.normal(40, 10, n) + 5 * sex
    columns: dict[str, Iterable[object]] = {
        "age": [f"{v:.3f}" if k % 9 else "NA" for k, v in enumerate(age)],
        "city": np.array(["Rome", "Oslo", ""])[y],
        "y": np.array(["low", "mid", "high, very"])[y],
        "income": g.normal(3e4, 1e4, n) + 4e3 * y,
        "score": 100 + age * 3,
        "tall": g.integers(0, 2, n),
        "old": (age > 40).astype(int),
        "sex": np.array(["f", "m"])[sex],
        "split": ["train"] * 70 + ["validation"] * 30 + ["test"] * N,
    }
    write(folder / "t.csv", columns)
    z = g.normal(size=(n, 6)).astype(np.float32)
    z[:, 0] += sex
    np.savez(folder / "e.npz", features=z)
    files = [f"{'ab'[k % 2]}/{k:03d}.png" for k in range(n)]
    for k, name in enumerate(files):
        (folder / "pixels" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = g.integers(0, 256, (40, 36, 3), dtype=np.uint8) // (1 + sex[k])
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "pixels" / name)
    write(folder / "m.csv", {"file": files} | {name: columns[name] for name in ("y", "sex", "split")})
    for name, text in RECIPES.items():
        (folder / f"{name}.yaml").write_text(SETTINGS + text)
        trained(load_recipe(folder / f"{name}.yaml"), folder / "runs" / name)
    return folder


@pytest.fixture(scope="module")
def fresh(folder: Path) -> Path:
    """The audited rows without targets and attributes, in files of their own, through every run in another process."""
    new, runs = folder / "new", folder / "runs"
    new.mkdir()
    kept = {name: read(folder / "t.csv")[name][-N:] for name in ("age", "city", "income")}
    # columns that are not asked for may hold what they like
    write(new / "t.csv", kept | {"later": ["[1, 2]"] * N})
    write(new / "shuffled.csv", {name: kept[name] for name in ("income", "age", "city")})
    files = read(folder / "m.csv")["file"][-N:]
    write(new / "m.csv", {"note": range(N), "file": files})
    for name in files:
        (new / "pixels" / name).parent.mkdir(parents=True, exist_ok=True)
        (new / "pixels" / name).write_bytes((folder / "pixels" / name).read_bytes())
    np.savez(new / "e.npz", features=np.load(folder / "e.npz")["features"][-N:])
    cases: list[tuple[str, Path, str, list[str]]] = [
        ("table", runs / "table", "t.csv", []),
        ("shuffled", runs / "table" / "export", "shuffled.csv", []),
        ("numbers", runs / "numbers", "t.csv", []),
        ("images", runs / "images", "pixels", []),
        # with a recipe, whose data.root is where the paths start from
        ("manifest", runs / "images", "m.csv", ["--recipe", str(folder / "images.yaml")]),
        ("embeddings", runs / "embeddings", "e.npz", []),
    ]
    calls = []
    for written, target, data, more in cases:
        common = [str(target), "--data", str(new / data), "--offline", "--device", "cpu", *more]
        calls.append(["predict", *common, "--out", str(new / f"{written}.csv.p.csv")])
        calls.append(["embed", *common, "--out", str(new / f"{written}.parquet")])
    calls.append(
        ["embed", str(runs / "images"), "--data", str(new / "pixels"), "--out", str(new / "images.safetensors")]
    )
    done = subprocess.run([sys.executable, "-c", FRESH, json.dumps(calls)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return new


def predictions(fresh: Path, written: str) -> dict[str, list[str]]:
    return read(fresh / f"{written}.csv.p.csv")


def features_in(path: Path) -> tuple[list[object], np.ndarray]:
    table = pq.read_table(path).to_pydict()
    ids = table.pop("path" if "path" in table else "row")
    assert list(table) == [f"z_{k}" for k in range(len(table))]
    return ids, np.stack([np.array(column, dtype=np.float32) for column in table.values()], axis=1)


def audited(folder: Path, name: str) -> tuple[BiasedData, np.ndarray, np.ndarray]:
    """The data, and what the audit has of the audited rows: features, and what the head says."""
    parts = assemble(load_recipe(folder / f"{name}.yaml"), offline=True)
    model = load_run_model(parts, folder / "runs" / name / "checkpoints" / "best.safetensors")
    z = embed(model.extractor, parts.data.audit, batch_size=32).features
    assert isinstance(model.head, TargetHead)
    return parts.data, z, model.head.predict(torch.from_numpy(z)).numpy()


@pytest.mark.parametrize(
    ("name", "written", "probabilities"),
    [
        ("table", "table", ["p_high, very", "p_low", "p_mid"]),
        ("table", "shuffled", ["p_high, very", "p_low", "p_mid"]),
        ("numbers", "numbers", ["predicted_score"]),
        ("images", "images", ["p_high, very", "p_low", "p_mid"]),
        ("images", "manifest", ["p_high, very", "p_low", "p_mid"]),
        ("embeddings", "embeddings", ["p_tall", "p_old"]),
    ],
)
def test_a_fresh_process_gives_what_was_audited(
    folder: Path, fresh: Path, name: str, written: str, probabilities: list[str]
) -> None:
    data, z, said = audited(folder, name)
    files = np.array(read(folder / "m.csv")["file"][-N:])
    # a folder is read in the order of its sorted paths, everything else in its own
    order = np.argsort(files) if written == "images" else np.arange(N)
    ids, features = features_in(fresh / f"{written}.parquet")
    np.testing.assert_allclose(features, z[order], rtol=0, atol=1e-6)
    # beside each row its path, or its number in the file, whose first row may be the header
    first = 1 if name == "embeddings" else 2
    assert ids == (files[order].tolist() if name == "images" else list(range(first, first + N)))
    rows = predictions(fresh, written)
    id_name, *columns = rows
    assert rows[id_name] == [str(item) for item in ids]
    classes = ["predicted"] if name in ("table", "images") else []
    assert columns == classes + probabilities
    values = np.array([[float(v) for v in rows[column]] for column in probabilities]).T
    np.testing.assert_allclose(values, said[order], rtol=1e-7, atol=1e-6)
    if classes:
        assert rows["predicted"] == [data.class_names[k] for k in said[order].argmax(axis=1)]


def test_safetensors_hold_the_features_and_the_paths(fresh: Path) -> None:
    with safe_open(fresh / "images.safetensors", framework="np") as file:
        ids, features = features_in(fresh / "images.parquet")
        assert json.loads(file.metadata()["path"]) == ids
        np.testing.assert_array_equal(file.get_tensor("features"), features)


def test_the_same_from_python(folder: Path, fresh: Path) -> None:
    extractor = load_extractor(folder / "runs" / "table")
    rows = extractor.embed(fresh / "t.csv")
    np.testing.assert_allclose(rows.features, features_in(fresh / "table.parquet")[1], rtol=0, atol=1e-6)
    found = extractor.predict(fresh / "t.csv")
    assert found.predicted == predictions(fresh, "table")["predicted"]
    np.testing.assert_allclose(found.values.sum(axis=1), np.ones(N))
    # what is to be said of the reading comes with the rows
    assert any("read as missing" in note for note in rows.notes)
    images = load_extractor(folder / "runs" / "images")
    rooted = images.embed(fresh / "m.csv", root=fresh / "pixels")
    np.testing.assert_allclose(rooted.features, features_in(fresh / "manifest.parquet")[1], rtol=0, atol=1e-6)
    with pytest.raises(DataError, match=r"60 row\(s\) name a file that does not exist"):
        images.embed(fresh / "m.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"city": None}, r"1 missing column\(s\)\n  input \d+: no column 'city'"),
        ({"city": ["Bonn"] + ["Rome"] * 59}, r"1 value\(s\) of 'city' do not .* rows 2 \('Bonn'\); known are .*'Oslo'"),
        ({"income": ["1"] * 59 + ["30,000"]}, r"1 value\(s\) of 'income' are no finite .* rows 61 \('30,000'\)"),
        ({"income": ["inf"] + ["1"] * 59}, r"1 value\(s\) of 'income' are no finite numbers"),
        ({"income": ["1"] * 59 + ["1e300"]}, r"1 value\(s\) of 'income' .* rows 61"),
    ],
)
def test_what_cannot_be_read_is_named(
    folder: Path, fresh: Path, tmp_path: Path, change: Mapping[str, list[str] | None], message: str
) -> None:
    columns = {name: change.get(name, values) for name, values in read(fresh / "t.csv").items()}
    write(tmp_path / "t.csv", {name: values for name, values in columns.items() if values is not None})
    with pytest.raises(DataError, match=message):
        load_extractor(folder / "runs" / "table").predict(tmp_path / "t.csv")


def test_features_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.ones((2, 6)))
    extractor = load_extractor(folder / "runs" / "embeddings")
    for parameter in extractor.model.parameters():
        torch.nn.init.constant_(parameter, 1e30)
    with pytest.raises(DataError, match=r"features of 2 input\(s\) are not finite: row 1, row 2"):
        extractor.embed(tmp_path / "e.npy")


def test_a_recipe_says_what_else_is_read(folder: Path, fresh: Path, tmp_path: Path) -> None:
    """An unseen category may have no input, as in audited rows; a number that training always had takes its median."""
    columns = read(fresh / "t.csv")
    columns["city"][0], columns["income"][1] = "Bonn", "missing!"
    write(tmp_path / "t.csv", columns)
    text = (SETTINGS + RECIPES["table"]).replace("ramps: 4", "ramps: 4\n  unseen: zeros\n  missing: [NA, missing!]")
    (folder / "lenient.yaml").write_text(text)
    done = run(
        "predict", folder / "runs/table", tmp_path / "t.csv", tmp_path / "p.csv", "--recipe", folder / "lenient.yaml"
    )
    assert done.exit_code == 0, done.output
    assert "rows 2 ('Bonn'); their inputs are all zeros" in done.stderr
    assert "which training rows all had; they take its median there" in done.stderr
    given, before = read(tmp_path / "p.csv"), predictions(fresh, "table")
    assert given["p_low"][0] != before["p_low"][0]
    assert given["p_low"][2:] == before["p_low"][2:]


def test_faults_are_said(folder: Path, fresh: Path, tmp_path: Path) -> None:
    table, images, out = folder / "runs/table", folder / "runs/images", tmp_path / "z.parquet"
    np.save(tmp_path / "wide.npy", np.zeros((3, 7)))
    recipe = folder / "images.yaml"
    faults = {
        "exists already": run("predict", table, fresh / "t.csv", fresh / "t.csv"),
        "must end in .parquet or .safetensors": run("embed", table, fresh / "t.csv", tmp_path / "z.csv"),
        "no such file": run("embed", table, fresh / "none.csv", out),
        "is a folder, and this model takes table": run("embed", table, fresh, out),
        "takes images, but the recipe's data.source is table": run(
            "embed", images, fresh / "m.csv", out, "--recipe", folder / "table.yaml"
        ),
        "are 7 wide, this model takes 6 numbers": run("embed", folder / "runs/embeddings", tmp_path / "wide.npy", out),
        "is a file; name an exported folder": run("embed", fresh / "t.csv", fresh / "t.csv", out),
        "has no task head": run("predict", "test_resnet", fresh / "pixels", tmp_path / "p.csv", "--recipe", recipe),
        "runs/nowhere: no such folder; name an exported": run(
            "embed", "runs/nowhere", fresh / "t.csv", out, "--offline"
        ),
    }
    assert {message: done.stderr for message, done in faults.items() if message not in done.stderr} == {}
    assert {done.exit_code for done in faults.values()} == {2}
    assert [path.name for path in tmp_path.iterdir()] == ["wide.npy"]


def test_a_timm_model_as_it_is(folder: Path, fresh: Path, tmp_path: Path) -> None:
    done = run("embed", "test_resnet", fresh / "pixels", tmp_path / "z.parquet", "--recipe", folder / "images.yaml")
    assert done.exit_code == 0, done.output
    assert "nothing in it is debiased" in done.stderr
    assert len(features_in(tmp_path / "z.parquet")[1]) == N


@pytest.mark.parametrize("name", ["table", "images"])
def test_an_export_of_an_older_version(folder: Path, fresh: Path, tmp_path: Path, name: str) -> None:
    """It does not say how its data were read: images need no more than the weights say, a table does."""
    export = tmp_path / "export"
    export.mkdir()
    for file in (folder / "runs" / name / "export").iterdir():
        if file.is_file():
            (export / file.name).write_bytes(file.read_bytes())
    content = json.loads((export / "mibias.json").read_text())
    del content["inputs"], content["sha256"]
    (export / "mibias.json").write_text(json.dumps(content))
    extractor = load_extractor(export)
    if name == "images":
        given = extractor.embed(fresh / "pixels")
        np.testing.assert_allclose(given.features, features_in(fresh / "images.parquet")[1], rtol=0, atol=1e-6)
        return
    with pytest.raises(ExportError, match=r"export: was exported by an older mibias.* mibias export RUN --out"):
        extractor.predict(fresh / "t.csv")


def test_images_of_digits_are_read_whole(tmp_path: Path) -> None:
    """Digits fill their frame and were never cropped: so are new images, for a model that learnt from them."""
    data = build_data(tiny("backbone={name: test_resnet, input_size: 32}"), offline=True)
    assert data.inputs == ImageRules(fills_frame=True)
    backbone = create_backbone("test_resnet", input_size=32)
    extractor = extractor_of(backbone, Extractor(backbone.module, backbone.n_features), inputs=data.inputs, source="m")
    grey = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for k, pixels in enumerate(grey):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    x = torch.from_numpy(grey / np.float32(255))[:, None].repeat(1, 3, 1, 1)
    given = extractor.embed(tmp_path)
    assert given.ids == ("0.png", "1.png", "2.png")
    np.testing.assert_allclose(given.features, extractor(extractor.transforms.arrays(x)).numpy(), rtol=0, atol=1e-5)


def test_ids_that_safetensors_cannot_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_rows, "_MOST_METADATA", 4)
    rows = EmbeddedRows(id_name="path", ids=("a.png",), features=np.zeros((1, 2), dtype=np.float32))
    with pytest.raises(ExportError, match=r"cannot hold 1 paths; write \.parquet"):
        rows.write(tmp_path / "z.safetensors")
    assert list(tmp_path.iterdir()) == []
