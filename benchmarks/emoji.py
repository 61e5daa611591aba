"""Emoji by four makers, each class mostly from one: a bias of rendering, in pictures that anybody can fetch.

npm install emoji-datasource-{apple,facebook,google,twitter}@16
python benchmarks/emoji.py --data node_modules --weights FILE [--aligned 0.9] [--methods mibias linear_product …]
    [--seeds 3] [--out emoji.csv]

FILE and columns are those of benchmarks/pacs.py. Seven categories of emoji are the classes, the maker is the bias.
Emoji that are joined of several are left out, for many of them are drawn alike. By the seed, 30 of each class are
audited as all four makers draw them; of what is left at most 150 are for training and validation, each as one maker
draws it: a share ρ of them the class's own, at least three one of the others. Nothing of the product was chosen on
these pictures. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from pacs import HEADS, KEYS, VALIDATION_EVERY, VALUES, Draw, Row, measure, options_of, show
from PIL import Image
from runs import Table

MAKERS = ("apple", "facebook", "google", "twitter")
CLASSES = {
    "Activities": "activities", "Animals & Nature": "animals", "Food & Drink": "food", "Objects": "objects",
    "People & Body": "people", "Smileys & Emotion": "smileys", "Travel & Places": "travel",
}  # fmt: skip
JOINER = "-200d-"
N_AUDITED, N_FOR_TRAINING, LEAST_OTHERS = 30, 150, 3


def main() -> None:
    heads = [name for name in HEADS if name.startswith("linear") or name in ("dfr", "leace")]
    methods = ["mibias", *heads, "plain", "reweight"]
    options = options_of(__doc__, methods=methods, aligned=[0.9], seeds=3, out="emoji.csv")
    table = Table(options.out, KEYS, VALUES)
    measure(table, options, [()], lambda draw: rows_of(options.data, draw))
    show(table, n_groups=28)


@cache
def named(data: Path) -> dict[str, list[str]]:
    """File names of each class's emoji that all makers draw."""
    emoji = json.loads((data / "emoji-datasource-apple" / "emoji.json").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {label: [] for label in CLASSES.values()}
    for one in emoji:
        drawn_by_all = all(one[f"has_img_{maker}"] for maker in MAKERS)
        if one["category"] in CLASSES and drawn_by_all and JOINER not in one["image"]:
            found[CLASSES[one["category"]]].append(one["image"])
    return {label: sorted(names) for label, names in found.items()}


def rows_of(data: Path, draw: Draw) -> Iterator[Row]:
    """Path, class, maker and split of every picture, which is written to the draw's folder, on white."""
    g = np.random.default_rng(draw.seed)
    for k, (label, names) in enumerate(named(data).items()):
        shuffled = [names[i] for i in g.permutation(len(names))]
        for name in shuffled[:N_AUDITED]:
            yield from ((on_white(data, maker, name, draw.folder), label, maker, "test") for maker in MAKERS)
        training = shuffled[N_AUDITED:][:N_FOR_TRAINING]
        own, *others = (str(maker) for maker in np.roll(MAKERS, -k))
        n_others = max(LEAST_OTHERS, round(len(training) * (1 - draw.aligned)))
        for nth in g.permutation(len(training)):
            maker = others[nth % len(others)] if nth < n_others else own
            split = "validation" if nth % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
            yield on_white(data, maker, training[nth], draw.folder), label, maker, split


def on_white(data: Path, maker: str, name: str, folder: Path) -> Path:
    """The path of an emoji as a maker draws it, written to a folder without transparency."""
    picture = Image.open(data / f"emoji-datasource-{maker}" / "img" / maker / "64" / name).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    path = folder / "images" / maker / name
    path.parent.mkdir(parents=True, exist_ok=True)
    ground.convert("RGB").save(path)
    return path


if __name__ == "__main__":
    main()
