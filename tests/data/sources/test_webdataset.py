"""Shards as a data source: the same data, to the bit, as the same images listed by a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from shard_files import write_sample, write_tar
from small_runs import best, metrics, same, train_alone

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.columns import AttributeColumn, Columns, SplitRule
from mibias_cli.data.loader import batches
from mibias_cli.data.sources.manifest import load_manifest
from mibias_cli.data.sources.webdataset import load_webdataset
from mibias_cli.errors import DataError
from mibias_cli.recipe.load import missing_places, parse_recipe

Rows = list[dict[str, str]]
BACKGROUND = {"background": AttributeColumn(), "age": AttributeColumn(kind="continuous", bins=3)}
SPLIT = Columns(target="cls", split="split")
RECIPE = """
version: 1
name: shards
data:
  source: {source}
  path: {path}
  columns: {{target: {target}, split: split}}
  attributes: {{background: {{}}}}
backbone: {{name: digit_cnn, options: {{width: 4, hidden: 16, features: 8}}, input_size: 28}}
original: {{epochs: 1}}
debias: {{weight: 0.5, queue_batches: 2, critic: {{steps: 1, hidden: [16]}}}}
training: {{epochs: 1, batch_size: 32, log_every_steps: 1, device: cpu, augment: true, num_workers: {workers}}}
"""


def write_shards(folder: Path, images: Path, rows: Rows, names: Sequence[str]) -> None:
    """The rows in order, shared out evenly over shards."""
    for name, part in zip(names, np.array_split(np.arange(len(rows)), len(names)), strict=True):
        members: list[tuple[str, bytes]] = []
        for row in (rows[k] for k in part):
            fields = {k: v for k, v in row.items() if k not in ("path", "target")}
            content = (images / row["path"]).read_bytes()
            members += write_sample(row["path"].removesuffix(".png"), content, row["target"], fields)
        write_tar(folder / name, members)


@pytest.fixture
def both(tmp_path: Path, draw: Callable[..., Rows], to_csv: Callable[..., Path]) -> tuple[Path, Path, Rows]:
    """A folder of three shards, a manifest of the same 120 images, and their rows."""
    rows = draw(tmp_path / "images", 120)
    write_shards(tmp_path / "shards", tmp_path / "images", rows, [f"s-{k:06d}.tar" for k in range(3)])
    return tmp_path / "shards", to_csv(tmp_path / "images" / "m.csv", rows), rows


def splits(data: BiasedData) -> list:
    return [data.train, data.validation, data.audit]


def test_labels_and_pixels_are_those_of_a_manifest(both: tuple[Path, Path, Rows]) -> None:
    shards, manifest, _ = both
    a = load_webdataset(shards, columns=SPLIT, attributes=BACKGROUND)
    b = load_manifest(manifest, columns=Columns(split="split"), attributes=BACKGROUND)
    assert (a.attributes, a.target.class_names, a.input_shape) == (b.attributes, b.target.class_names, b.input_shape)
    for one, other in zip(splits(a), splits(b), strict=True):
        assert np.array_equal(one.y, other.y)
        assert all(np.array_equal(one.c[name], other.c[name]) for name in BACKGROUND)
        assert torch.equal(one.reader.read(one.rows, None), other.reader.read(other.rows, None))
    # the position of a shuffled epoch is a function of the step, in any number of processes
    drawn = [
        [(batch.index, batch.x) for batch in batches(data.train, batch_size=7, epoch=3, shuffle=True, **how)]
        for data, how in ((a, {}), (a, {"num_workers": 2}), (b, {}))
    ]
    assert all(
        torch.equal(i, j) and torch.equal(x, y) and torch.equal(i, k) and torch.equal(x, z)
        for (i, x), (j, y), (k, z) in zip(*drawn, strict=True)
    )
    later = list(batches(a.train, batch_size=7, epoch=3, shuffle=True, start_step=4))
    assert torch.equal(later[0].x, drawn[0][4][1])


def test_a_run_is_that_of_a_manifest(both: tuple[Path, Path, Rows], tmp_path: Path) -> None:
    shards, manifest, _ = both
    runs = []
    for source, path, target, workers in (("webdataset", shards, "cls", 2), ("manifest", manifest, "target", 0)):
        text = RECIPE.format(source=source, path=path, target=target, workers=workers)
        runs.append(train_alone(parse_recipe(text, path="shards.yaml"), tmp_path / source))
    assert metrics(runs[0]) == metrics(runs[1])
    assert same(best(runs[0]), best(runs[1]))


def test_shards_are_splits_by_their_names(both: tuple[Path, Path, Rows], tmp_path: Path) -> None:
    _, _, rows = both
    named = tmp_path / "named"
    write_shards(named, tmp_path / "images", rows, ["train-0.tar", "train-1.tar", "val-0.tar", "test-0.tar"])
    data = load_webdataset(named, columns=Columns(target="cls"), attributes=BACKGROUND,
                           splits=SplitRule(validation="val"))  # fmt: skip
    assert [len(split) for split in splits(data)] == [60, 30, 30]
    assert data.audit.row_names[0] == "test-0.tar/0090.png"
    assert any("split by the names of shards (test, train, val)" in note for note in data.notes)
    # a name that is not there is no reason to draw: official test rows would train
    with pytest.raises(DataError, match=r"no row has 'validation' in '__split__', .*'val' \(30 rows\)"):
        load_webdataset(named, columns=Columns(target="cls"), attributes=BACKGROUND)
    # shards of one name are split by fractions
    data = load_webdataset(named / "train-{0..1}.tar", columns=Columns(target="cls"), attributes=BACKGROUND)
    assert sum(map(len, splits(data))) == 60


def test_columns_that_are_not_there_and_missing_fields(both: tuple[Path, Path, Rows], tmp_path: Path) -> None:
    shards, _, rows = both
    with pytest.raises(DataError, match=r"data.columns.target: no column 'clss', did you mean 'cls'\?"):
        load_webdataset(shards, columns=Columns(target="clss", split="split"), attributes=BACKGROUND)
    some = [{k: v for k, v in row.items() if k != "background" or n % 10} for n, row in enumerate(rows)]
    write_shards(tmp_path / "some", tmp_path / "images", some, ["s.tar"])
    data = load_webdataset(tmp_path / "some", columns=SPLIT, attributes=BACKGROUND)
    assert sum(int((~split.known["background"]).sum()) for split in splits(data)) == 12
    # a missing target names shard and sample
    some[3]["target"] = ""
    write_shards(tmp_path / "some", tmp_path / "images", some, ["s.tar"])
    with pytest.raises(DataError, match=r"s\.tar/0003\.png"):
        load_webdataset(tmp_path / "some", columns=SPLIT, attributes=BACKGROUND)


def test_bad_samples_are_named_or_left_out(both: tuple[Path, Path, Rows], tmp_path: Path) -> None:
    _, _, rows = both
    images = tmp_path / "images"
    (images / "0004.png").write_bytes((images / "0004.png").read_bytes()[:60])
    (images / "0005.png").write_bytes(b"no picture")
    write_shards(tmp_path / "bad", images, rows, ["s.tar"])
    write_tar(tmp_path / "bad" / "t.tar", [("0099.cls", b"square")])
    with pytest.raises(DataError, match=r"1 of 121 sample\(s\) have no image: t\.tar/0099.*data.image"):
        load_webdataset(tmp_path / "bad", columns=SPLIT, attributes=BACKGROUND)
    data = load_webdataset(tmp_path / "bad", columns=SPLIT, attributes=BACKGROUND, on_bad_sample="skip")
    assert sum(map(len, splits(data))) == 118
    assert sum("2 image(s) left out, which cannot be read" in note for note in data.notes) == 1
    data = load_webdataset(tmp_path / "bad" / "s.tar", columns=SPLIT, attributes=BACKGROUND)
    with pytest.raises(DataError, match=r"s\.tar: s\.tar/0005\.png cannot be read as an image: it is of no kind"):
        data.train.reader.read(np.array([5]), None)


def test_validate_looks_for_the_folder_of_a_pattern(tmp_path: Path) -> None:
    def places(path: str) -> list[str]:
        text = RECIPE.format(source="webdataset", path=path, target="cls", workers=0)
        return [key for key, _ in missing_places(parse_recipe(text, path="shards.yaml"))]

    assert places(f"{tmp_path}/s-{{000000..000009}}.tar") == []
    assert places(f"{tmp_path}/gone/s-{{000000..000009}}.tar") == ["data.path"]
    assert places(f"{tmp_path}/gone.tar") == ["data.path"]
