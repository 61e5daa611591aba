from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mibias_cli.data.columns import AttributeColumn, Columns, SplitRule
from mibias_cli.data.sources.imagefolder import load_imagefolder
from mibias_cli.errors import DataError

Rows = list[dict[str, str]]
ToCsv = Callable[[Path, Rows], Path]
BACKGROUND = {"background": AttributeColumn()}


@pytest.fixture
def folders(draw: Callable[..., Rows], tmp_path: Path) -> Callable[[bool], tuple[Path, Rows]]:
    """Class folders, in split folders or not, and the sidecar's rows in reverse order."""

    def make(with_splits: bool) -> tuple[Path, Rows]:
        root = tmp_path / "images"
        out = []
        for row in draw(tmp_path / "flat", 40):
            parts = ([row["split"]] if with_splits else []) + [row["target"], row["path"]]
            path = root.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "flat" / row["path"]).rename(path)
            kept = {"background": row["background"], "target": "not this", "split": row["split"]}
            out.append({"path": "/".join(parts), **kept})
        return root, out[::-1]

    return make


Folders = Callable[[bool], tuple[Path, Rows]]


def test_split_folders_are_joined_by_path(folders: Folders, to_csv: ToCsv, tmp_path: Path) -> None:
    root, rows = folders(True)
    data = load_imagefolder(root, sidecar=to_csv(tmp_path / "s.csv", rows), attributes=BACKGROUND)
    assert data.class_names == ("square", "stripe")
    assert [len(s) for s in (data.train, data.validation, data.audit)] == [24, 8, 8]
    for split in (data.train, data.audit):
        images = split.reader.read(split.rows, None)
        # the background's channel is the brighter one: red for `red`, blue for `blue`
        red = images[:, 0].mean(dim=(1, 2)) > images[:, 2].mean(dim=(1, 2))
        assert torch.equal(red, torch.tensor(split.c["background"][:, 0] == 1))
        for name, y in zip(split.row_names, split.y, strict=True):
            assert f"/{data.class_names[y]}/" in name


def test_class_folders_split_by_column_or_fractions(folders: Folders, to_csv: ToCsv, tmp_path: Path) -> None:
    root, rows = folders(False)
    sidecar = to_csv(tmp_path / "s.csv", [{**row, "path": "./" + row["path"]} for row in rows])
    by_column = load_imagefolder(root, sidecar=sidecar, attributes=BACKGROUND, columns=Columns(split="split"))
    assert [len(s) for s in (by_column.train, by_column.validation, by_column.audit)] == [24, 8, 8]
    by_fractions = load_imagefolder(root, sidecar=sidecar, attributes=BACKGROUND)
    assert [len(s) for s in (by_fractions.train, by_fractions.validation, by_fractions.audit)] == [28, 4, 8]
    assert by_fractions.class_names == ("square", "stripe")


def test_images_without_a_row_are_an_error(folders: Folders, to_csv: ToCsv, tmp_path: Path) -> None:
    root, rows = folders(True)
    with pytest.raises(DataError) as caught:
        load_imagefolder(root, sidecar=to_csv(tmp_path / "s.csv", rows[:-7]), attributes=BACKGROUND)
    assert "7 of 40 images" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    with pytest.raises(DataError, match="1 row.* a second time: row 42"):
        load_imagefolder(root, sidecar=to_csv(tmp_path / "s.csv", [*rows, rows[0]]), attributes=BACKGROUND)


def test_rows_without_an_image_are_noted(folders: Folders, to_csv: ToCsv, tmp_path: Path) -> None:
    root, rows = folders(True)
    extra = [{**rows[0], "path": f"train/square/x{k}.png"} for k in range(6)]
    data = load_imagefolder(root, sidecar=to_csv(tmp_path / "s.csv", extra + rows), attributes=BACKGROUND)
    assert len(data.train) == 24
    assert "6 row(s) left out" in data.notes[0]
    assert "row 2 (train/square/x0.png)" in data.notes[0]


def test_folder_faults(folders: Folders, to_csv: ToCsv, tmp_path: Path) -> None:
    root, rows = folders(True)
    sidecar = to_csv(tmp_path / "s.csv", rows)
    with pytest.raises(DataError, match="'validation' .8 rows"):
        load_imagefolder(root, sidecar=sidecar, attributes=BACKGROUND, splits=SplitRule(validation="val"))
    with pytest.raises(DataError, match="no such folder"):
        load_imagefolder(tmp_path / "gone", sidecar=sidecar, attributes=BACKGROUND)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="no image below it"):
        load_imagefolder(tmp_path / "void", sidecar=sidecar, attributes=BACKGROUND)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "train" / "loose.png")
    to_csv(sidecar, [*rows, {**rows[0], "path": "train/loose.png"}])
    with pytest.raises(DataError, match="1 image.* not at split/class/image: train/loose.png"):
        load_imagefolder(root, sidecar=sidecar, attributes=BACKGROUND)


def test_hidden_files_are_passed_over(folders: Folders, to_csv: ToCsv, tmp_path: Path) -> None:
    root, rows = folders(True)
    (root / "train" / "square" / "._0000.png").write_text("left by another system")
    data = load_imagefolder(root, sidecar=to_csv(tmp_path / "s.csv", rows), attributes=BACKGROUND)
    assert len(data.train) == 24
