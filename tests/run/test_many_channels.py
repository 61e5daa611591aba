"""Images of five channels, of which two tell the class and one the bias: from `init` to predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from typer.testing import CliRunner, Result

from mibias_cli import load_extractor
from mibias_cli.cli.main import app
from mibias_cli.data.files.images import load_image
from mibias_cli.errors import RecipeError
from mibias_cli.recipe.load import load_recipe
from mibias_cli.run.build import build_data

N = 140
QUICK = (
    "backbone.input_size=32", "original.epochs=1", "training={epochs: 1, batch_size: 32, augment: true, device: cpu}",
    "evaluation={probes: [logistic], n_bootstrap: 100, n_permutations: 0, random_control: false}",
    "debias.warmup_epochs=0",
)  # fmt: skip


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays in class folders, channels first or last, and a table of their sensors."""
    root, rng = tmp_path_factory.mktemp("bands"), np.random.default_rng(0)
    with (root / "sensors.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "sensor"])
        for k in range(N):
            y, c = k % 2, k % 2 if rng.random() < 0.8 else 1 - k % 2
            pixels = rng.integers(0, 20_000, (36, 44, 5)).astype(np.uint16)
            pixels[..., 0] += np.uint16(20_000 * y)
            pixels[..., 4] += np.uint16(30_000 * y)
            pixels[..., 3] += np.uint16(30_000 * c)
            name = f"{['field', 'water'][y]}/{k:03d}.npy"
            (root / name).parent.mkdir(exist_ok=True)
            np.save(root / name, pixels if k % 3 else pixels.transpose(2, 0, 1))
            writer.writerow([name, ["old", "new"][c]])
    return root


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe that `init` writes."""
    out = tmp_path_factory.mktemp("run")
    said = call("init", folder, "--backbone", "test_resnet", "--out", out / "r.yaml", "--format", "text").output
    assert "about 44 × 36 pixels, 5 channels" in said
    assert load_recipe(out / "r.yaml").backbone.in_chans == 5
    call("train", out / "r.yaml", "--out", out / "run", *(part for text in QUICK for part in ("--set", text)))
    return out / "run"


def test_timm_reads_the_export_and_gives_the_same_features(run: Path, folder: Path, tmp_path: Path) -> None:
    extractor = load_extractor(run / "export")
    assert extractor.input_shape == (5, 32, 32)
    reloaded = timm.create_model(f"local-dir:{run / 'export'}", pretrained=True).eval()
    own = timm.create_model("test_resnet", in_chans=5, num_classes=0, checkpoint_path="").eval()
    assert {k: v.shape for k, v in own.state_dict().items()} == {k: v.shape for k, v in reloaded.state_dict().items()}
    call("embed", run / "export", "--data", folder, "--out", tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    names = table.column(0).to_pylist()
    assert len(names) == N
    x = torch.stack([extractor.transforms.evaluate(load_image(folder / name, 5)) for name in names[:7]])
    with torch.inference_mode():
        wanted = reloaded(x).numpy()
    found = np.stack([table.column(k).to_numpy() for k in range(1, 1 + wanted.shape[1])], axis=1)[:7]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_predictions_and_a_page_with_pictures(run: Path, folder: Path, tmp_path: Path) -> None:
    call("predict", run / "export", "--data", folder, "--out", tmp_path / "p.csv")
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(rows) == N
    assert {row["predicted"] for row in rows} <= {"field", "water"}
    call("evaluate", run, "--out", tmp_path / "page", "--examples", 1)
    assert (tmp_path / "page" / "leakage.html").read_text().count("data:image/jpeg") == 4
    json.loads((tmp_path / "page" / "leakage.json").read_text())


def test_another_number_of_channels_is_told_before_the_work(run: Path, folder: Path, tmp_path: Path) -> None:
    recipe = run.parent / "r.yaml"
    result = CliRunner().invoke(app, ["train", str(recipe), "--dry-run", "--set", "backbone.in_chans=3"])
    assert result.exit_code == 2
    assert ".npy: row " in result.output
    assert "has 5 channel(s), and the model takes 3" in " ".join(result.output.split())
    np.save(tmp_path / "a.npy", np.zeros((40, 40, 4), np.uint8))
    result = CliRunner().invoke(app, ["predict", str(run / "export"), "--data", str(tmp_path), "--out", "p.csv"])
    assert result.exit_code == 2
    assert "has 4 channel(s), and the model takes 5" in " ".join(result.output.split())


def test_the_former_name_of_the_key(run: Path) -> None:
    recipe = run.parent / "r.yaml"
    old = run.parent / "old.yaml"
    old.write_text(recipe.read_text().replace("in_chans: 5", "channels: 5"))
    assert load_recipe(old) == load_recipe(recipe)
    with pytest.raises(RecipeError, match=r"backbone.channels: unknown key, did you mean 'in_chans'"):
        load_recipe(recipe, ["backbone.channels=5"])


def test_digits_have_one_or_three(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("version: 1\nname: a\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n")
    assert build_data(load_recipe(tmp_path / "r.yaml", ["backbone.in_chans=1"]), offline=True).input_shape[0] == 1
    for key in ("in_chans", "channels"):
        with pytest.raises(RecipeError, match=r"in_chans: digits are .* 1 or 3 channels, not 5"):
            load_recipe(tmp_path / "r.yaml", [f"backbone.{key}=5"])
    with pytest.raises(RecipeError, match=r"in_chans: must be greater than 0"):
        load_recipe(tmp_path / "r.yaml", ["backbone.in_chans=0"])


def test_a_scan_looks_at_the_first_channels(folder: Path, tmp_path: Path) -> None:
    call("scan", folder, "--out", tmp_path / "scan")
    assert "data:image" in (tmp_path / "scan" / "scan.html").read_text()
