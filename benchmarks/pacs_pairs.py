"""Two classes in two styles: what becomes of the bias that Waterbirds has, and of one without a counterexample.

python benchmarks/pacs_pairs.py --data DIR --weights FILE [--kinds "dog, horse" …] [--aligned 0.95 1.0]
    [--methods mibias plain …] [--seeds 1] [--out pacs_pairs.csv]

DIR and FILE are those of benchmarks/pacs.py, and so are the columns. Each class of a pair has a home style of its own.
By the seed, 60 images of either class in either style are audited; of what is left at most 300 of the home style are
for training and validation, and (1 − ρ)/ρ times as many of the other class's; a seventh of both validates. At ρ = 1 no
image shows a class in the other's style. Rows that the CSV has are not run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pacs import KEYS, VALIDATION_EVERY, VALUES, Draw, Row, measure, options_of, show
from runs import Table

PAIRS = {
    "dog, horse": (("dog", "cartoon"), ("horse", "photo")),
    "giraffe, elephant": (("giraffe", "photo"), ("elephant", "sketch")),
    "house, guitar": (("house", "art_painting"), ("guitar", "sketch")),
    "person, dog": (("person", "photo"), ("dog", "art_painting")),
}
N_AUDITED, N_HOME = 60, 300


def main() -> None:
    options = options_of(
        __doc__, methods=["mibias", "plain"], aligned=[0.95, 1.0], seeds=1, out="pacs_pairs.csv", kinds=list(PAIRS)
    )
    table = Table(options.out, ("pair", *KEYS), VALUES)
    measure(table, options, [(pair,) for pair in options.kinds], lambda draw: rows_of(options.data, draw))
    show(table, n_groups=4)


def rows_of(data: Path, draw: Draw) -> Iterator[Row]:
    """Path, class, style and split of every image that is used."""
    g = np.random.default_rng(draw.seed)
    pair = PAIRS[draw.kind[0]]
    styles = [home for _, home in pair]
    for label, home in pair:
        left: dict[str, list[Path]] = {}
        for style in styles:
            paths = sorted((data / style / label).glob("*.jpg"))
            paths = [paths[i] for i in g.permutation(len(paths))]
            yield from ((path, label, style, "test") for path in paths[:N_AUDITED])
            left[style] = paths[N_AUDITED:]
        of_home = left.pop(home)[:N_HOME]
        (other, paths), *_ = left.items()
        of_other = paths[: round(len(of_home) * (1 - draw.aligned) / draw.aligned)]
        for style, images in ((home, of_home), (other, of_other)):
            for k, path in enumerate(images):
                yield path, label, style, "validation" if k % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"


if __name__ == "__main__":
    main()
