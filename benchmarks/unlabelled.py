"""Training without a target: PACS with styles and without classes, beside the pretrained features and erasure.

python benchmarks/unlabelled.py --data DIR --weights FILE [--methods contrastive …] [--seeds 3] [--first-seed 0]
    [--outputs DIR] [--out unlabelled.csv]

DIR and FILE are those of benchmarks/pacs.py; audited images and figures those of benchmarks/erasure.py, but for the
probes for the class: of these the best of four penalties counts, since 64 features bear weaker ones than 1,280, and so
`none` and `transport` are measured once more. Trained is on all other images but every fiftieth, which is for
validation, in recipes that name no target: `contrastive`, and `stay_close`, which is `method: mi` without a target.
What the frozen stages make of the images, and of two augmented views of them where a recipe augments, is computed once
for all seeds and kept in --outputs, as `backbone.cache` keeps it of one split. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import erasure
import numpy as np
import torch
from erasure import CLASSES, VALUES, audited, class_accuracy, leakage, show
from numpy.typing import NDArray
from pacs import BACKBONE, STYLES
from runs import Table, assembled, train_alone

from mibias_cli.backbone.embed import embed
from mibias_cli.backbone.prefix import Prefix, frozen_prefix
from mibias_cli.backbone.trainable import choose_trainable
from mibias_cli.data.batch import OTHER_VIEW
from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run.assemble import Parts

RECIPE = f"""
version: 1
name: unlabelled
data:
  source: manifest
  path: FOLDER/pacs.csv
  root: DATA
  columns: {{target: null, split: split}}
  attributes: {{style: {{}}}}
backbone: {{name: {BACKBONE}, weights: "WEIGHTS", input_size: 160, train: none, cache: "off", freeze_batchnorm: true}}
training: {{epochs: 12, batch_size: 256, learning_rate: 2e-3, head_weight_decay: 10, augment: true, device: cpu}}
"""
CONTRASTIVE = (
    "method=contrastive", "method_settings={temperature: 0.7}",
    "representation.bottleneck={width: 64, hidden: [512], dropout: 0}",
)  # fmt: skip
STAY_CLOSE = (
    "backbone.train=[blocks.6, conv_head, bn2]", "training.augment=false", "training.epochs=1",
    "training.learning_rate=1e-3", "training.head_weight_decay=null",
    "debias={estimator: closed_form, critic: {n_random_features: 128}, queue_batches: 8}",
    "debias.weight=100", "debias.warmup_epochs=0.2",
)  # fmt: skip
TRAINED = {"contrastive": CONTRASTIVE, "stay_close": STAY_CLOSE}
METHODS = {"none": erasure.METHODS["none"], "transport": erasure.METHODS["transport"], **TRAINED}
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
KEYS = ("method", "seed")
CHUNK, VALIDATION_EVERY = 64, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STYLE/CLASS/*.jpg")
    parser.add_argument("--weights", type=Path, required=True, help=f"weights of {BACKBONE}")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="for trials; not for the table")
    parser.add_argument("--outputs", type=Path, default=Path("unlabelled"), help="where outputs are kept")
    parser.add_argument("--out", type=Path, default=Path("unlabelled.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.outputs.mkdir(parents=True, exist_ok=True)
    data, weights = arguments.data.resolve(), arguments.weights.resolve()
    paths = sorted(data.glob("*/*/*.jpg"))
    table = Table(arguments.out, KEYS, VALUES)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name in arguments.methods:
            if table.has(name, seed):
                continue
            with tempfile.TemporaryDirectory() as folder:
                overrides = (*TRAINED.get(name, ()), *arguments.set)
                parts = drawn(overrides, data, weights, paths, seed, Path(folder))
                parts = on_outputs(parts, len(paths), arguments.outputs)
            table.add((name, seed), run(name, parts, paths, seed))
            print(seed, name, table.rows[-1], flush=True)
    show(table)


def run(name: str, parts: Parts, paths: list[Path], seed: int) -> dict[str, float]:
    """Train by a recipe or fit an eraser, and measure what it makes of the audited images."""
    started, train, split = time.perf_counter(), parts.data.train, parts.data.audit
    if name in TRAINED:
        model, _ = train_alone(parts)
        z = embed(model.extractor, split, batch_size=256).features
    else:
        # of frozen stages alone, without anything behind them: pooled features
        fit_on, audited_z = (part.reader.read(part.rows, None) for part in (train, split))
        z = erasure.METHODS[name](fit_on, torch.from_numpy(train.c["style"][:, 0]))(audited_z).numpy()
    seconds = time.perf_counter() - started
    # the data name no target: classes are those of the folders
    y = np.array([CLASSES.index(paths[row].parts[-2]) for row in split.rows])
    c = split.c["style"][:, 0]
    accuracy = class_accuracy(z, y, c, PENALTIES)
    return {**leakage(z, y, c, seed), "accuracy": accuracy, "seconds": seconds}


def drawn(overrides: tuple[str, ...], data: Path, weights: Path, paths: list[Path], seed: int, folder: Path) -> Parts:
    """The parts of a recipe on all images, of which a seed's audited ones are audited; rows count `paths`."""
    held = audited(data, seed)
    splits = ["train" if k % VALIDATION_EVERY else "validation" for k in range(len(paths))]
    columns = {
        "path": [path.relative_to(data).as_posix() for path in paths],
        "style": [path.parts[-3] for path in paths],
        "split": ["test" if path in held else split for path, split in zip(paths, splits, strict=True)],
    }
    write_manifest(folder / "pacs.csv", columns)
    text = RECIPE.replace("FOLDER", str(folder)).replace("DATA", str(data)).replace("WEIGHTS", str(weights))
    parts = assembled(parse_recipe(text, path="unlabelled", overrides=[f"seed={seed}", *overrides]))
    assert parts.data.attributes["style"].class_names == (STYLES,)
    return parts


@dataclass(frozen=True)
class Kept:
    """Reads kept outputs by row: an epoch's view and its other one in turn, as in the epoch before or not."""

    plain: NDArray[np.float32]
    views: list[NDArray[np.float32]]

    def read(self, rows: NDArray[np.int64], epoch: int | None) -> torch.Tensor:
        """Outputs (n, …) of these rows."""
        if epoch is None or not self.views:
            return torch.from_numpy(self.plain[rows])
        return torch.from_numpy(self.views[(epoch % OTHER_VIEW + epoch // OTHER_VIEW) % len(self.views)][rows])


def on_outputs(parts: Parts, n: int, folder: Path) -> Parts:
    """The parts on what the frozen stages make of all images and, where the recipe augments, of two views of each."""
    extractor, train = parts.new_model().extractor, parts.data.train
    choose_trainable(extractor, train=parts.recipe.backbone.train, batchnorm_frozen=True)
    backbone = extractor.backbone.eval()
    prefix = frozen_prefix(backbone, train.reader.read(train.rows[:2], None))
    plain, *views = (
        kept(parts, prefix, backbone, view, n, folder)
        for view in (None, *(range(2) if parts.recipe.training.augment else ()))
    )
    reader = Kept(plain, views)
    splits = [replace(split, reader=reader) for split in (train, parts.data.validation, parts.data.audit)]
    data = replace(parts.data, train=splits[0], validation=splits[1], audit=splits[2], input_shape=prefix.shape)
    return replace(parts, data=data, computed=prefix)


def kept(
    parts: Parts, prefix: Prefix, backbone: torch.nn.Module, view: int | None, n: int, folder: Path
) -> NDArray[np.float32]:
    """Outputs (n, …) of all images, as they are or in one augmented view: from a file, which is written first."""
    path = folder / f"{prefix.start or 'pooled'}-{'plain' if view is None else view}.npy"
    if not path.exists():
        reader, found = parts.data.train.reader, np.empty((n, *prefix.shape), dtype=np.float32)
        backbone = backbone.to(memory_format=torch.channels_last)
        for start in range(0, n, CHUNK):
            rows = np.arange(start, min(start + CHUNK, n))
            with torch.no_grad():
                x = reader.read(rows, view).to(memory_format=torch.channels_last)
                found[rows] = prefix.outputs(backbone, x).numpy()
        np.save(path, found)
    outputs: NDArray[np.float32] = np.load(path)
    return outputs


if __name__ == "__main__":
    main()
