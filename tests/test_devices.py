"""Pipes where files should be: an error that names them, and no command that waits for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mibias_cli.backbone.weights.state_files import read_state
from mibias_cli.errors import MibiasError
from mibias_cli.export.load import load_extractor
from mibias_cli.recipe.begun import load_run_recipe
from mibias_cli.recipe.load import load_recipe
from mibias_cli.report.read import find_report
from mibias_cli.run.workflow import evaluate
from mibias_cli.run_folder import OWNED, check_free
from mibias_cli.survey.files import file_layout
from mibias_cli.survey.folders import folder_layout

RECIPE = "version: 1\ndata: {source: digits}\nbackbone: {name: digit_cnn}\n"


@pytest.mark.parametrize(
    "name", [".lock", *OWNED[:5], "checkpoints/last.pt", "checkpoints/best.safetensors", "report/leakage.json"]
)
def test_among_the_files_of_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe.resolved.yaml").write_text(RECIPE)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    for command in (
        lambda: load_run_recipe(tmp_path),
        lambda: evaluate(tmp_path),
        lambda: check_free(tmp_path, new=False, overwrite=False),
        lambda: check_free(tmp_path, new=True, overwrite=True),
    ):
        with pytest.raises(MibiasError, match=f"{name}: is a device, a pipe or a socket, not a file"):
            command()


@pytest.mark.parametrize("name", ["mibias.json", "config.json", "model.safetensors"])
def test_among_the_files_of_an_export(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(MibiasError, match=f"{name}: is a device"):
        load_extractor(tmp_path)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("r.yaml", load_recipe),
        ("w.safetensors", read_state),
        ("leakage.json", find_report),
        *[
            (f"z{suffix}", lambda path: file_layout(path, None, None))
            for suffix in (".npy", ".safetensors", ".parquet")
        ],
        ("cat/metadata.jsonl", lambda path: folder_layout(path.parent.parent, None, None, None)),
        ("cat/x.png", lambda path: folder_layout(path.parent.parent, None, None, None)),
    ],
)
def test_where_a_user_names_a_file(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    for k in range(4):
        folder = tmp_path / ("cat", "dog")[k % 2]
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / f"{k}.png")
    os.mkfifo(tmp_path / name)
    with pytest.raises(MibiasError, match=f"{name}: is a device, a pipe or a socket, not a file"):
        read(tmp_path / name)


def test_recipes_from_open_pipes_are_read() -> None:
    read, write = os.pipe()
    with open(write, "w") as file:
        file.write(RECIPE)
    assert load_recipe(f"/dev/fd/{read}").data.source == "digits"
    os.close(read)
