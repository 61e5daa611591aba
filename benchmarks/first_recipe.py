"""What the recipe that `mibias init` writes is worth, as it is: digits in ten colours, most of them their class's own.

python benchmarks/first_recipe.py --data DIR [--aligned 0.98 0.8] [--seeds 3] [--out first_recipe.csv]
    [--backbone tf_efficientnet_lite0 --weights FILE]

4,000 of MNIST's training digits (an eighth for validation) have their class's colour in so many cases, else one of ten
at random; 2,000 test digits have one at random. A manifest lists them, `mibias init` writes a recipe from it (resnet18
with random weights, or what is named), and that is trained: as written, with a product of experts in place of
copies, with the penalty alone, without either. Rows
that the CSV has are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from runs import Table, mean_and_spread, run_recipe

from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.data.sources.mnist import read_idx
from mibias_cli.survey.first_recipe import first_recipe
from mibias_cli.survey.model_choice import choose_model
from mibias_cli.survey.roles import Wishes
from mibias_cli.survey.survey import survey

N_BIASED, N_RANDOM = 4000, 2000
VALIDATION_EVERY = 8
PALETTE = np.array(
    [
        (0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.2, 0.3, 1.0), (0.9, 0.9, 0.1), (0.9, 0.1, 0.9),
        (0.1, 0.9, 0.9), (0.6, 0.3, 0.05), (0.5, 0.5, 0.5), (1.0, 0.6, 0.6), (0.3, 0.6, 0.3),
    ]
)  # fmt: skip
METHODS = {
    "as written": (),
    "a product": ("debias.mix=null", "debias.bias_product=0.8", "debias.weight=0.03"),
    "the penalty alone": ("debias.mix=null", "debias.bias_product=0", "debias.weight=1"),
    "plain": ("debias.mix=null", "debias.bias_product=0", "debias.estimator=none"),
}
KEYS = ("backbone", "aligned", "method", "seed")
VALUES = ("accuracy", "leakage_bits", "conditional_leakage_bits", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--aligned", type=float, nargs="+", default=[0.98, 0.8])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("first_recipe.csv"))
    parser.add_argument("--backbone", help="default: what `mibias init` takes for such images")
    parser.add_argument("--weights", default="none", help="as in a recipe; default: none, random ones")
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    for aligned in arguments.aligned:
        with tempfile.TemporaryDirectory() as folder:
            manifest = draw(arguments.data, aligned, Path(folder))
            recipe = manifest.with_name("recipe.yaml")
            backbone = write_recipe(manifest, recipe, arguments.backbone, arguments.weights)
            for seed, (method, overrides) in itertools.product(range(arguments.seeds), METHODS.items()):
                if not table.has(backbone, aligned, method, seed):
                    settings = [f"data.path={manifest}", "original=null", *overrides]
                    table.add((backbone, aligned, method, seed), run_recipe(recipe, settings, seed))
    show(table)


def write_recipe(manifest: Path, recipe: Path, backbone: str | None = None, weights: str = "none") -> str:
    """What `mibias init` makes of the manifest, and its backbone's name."""
    found = survey(manifest, Wishes())
    model = choose_model(found, backbone=backbone, weights=weights)
    recipe.write_text(first_recipe(found, model, source=manifest, out=recipe)[0], encoding="utf-8")
    return model.name


def draw(data: Path, aligned: float, folder: Path) -> Path:
    """The images, and a manifest of them that has columns path, target, colour and split."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[str]] = {"path": [], "target": [], "colour": [], "split": []}
    for part, n, share in (("train", N_BIASED, aligned), ("t10k", N_RANDOM, 0.0)):
        grey, digits = (read_idx(next(data.glob(f"{part}-{kind}*")), kind)[:n] for kind in ("images", "labels"))
        for k, (image, digit) in enumerate(zip(grey, digits, strict=True)):
            colour = int(digit) if rng.random() < share else int(rng.integers(10))
            shade = np.clip(PALETTE[colour] + rng.normal(0, 0.05, 3), 0, 1)
            pixels = np.pad(image, 2)[..., None] / 255 * shade + rng.normal(0, 0.02, (32, 32, 1))
            name = f"{part}{k}.png"
            Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(folder / name)
            split = "test" if part == "t10k" else "train" if k % VALIDATION_EVERY else "val"
            values = (name, f"digit {digit}", f"colour {colour}", split)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    write_manifest(folder / "images.csv", columns)
    return folder / "images.csv"


def show(table: Table) -> None:
    """Mean ± standard deviation over seeds, in Markdown."""
    print(
        "| backbone | aligned | recipe | accuracy, % | leakage, bits | given y, bits | seconds |\n|---"
        + "|---" * 6
        + "|"
    )
    for (*cell, method), rows in table.groups("backbone", "aligned", "method").items():
        figures = [
            mean_and_spread(rows, "accuracy", scale=100, digits=1),
            *(mean_and_spread(rows, c, digits=2) for c in ("leakage_bits", "conditional_leakage_bits")),
            mean_and_spread(rows, "seconds", digits=0),
        ]
        print(f"| {' | '.join([*cell, method, *figures])} |")


if __name__ == "__main__":
    main()
