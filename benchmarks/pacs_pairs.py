"""Two classes in two styles: what becomes of the bias that Waterbirds has, and of one without a counterexample.

python benchmarks/pacs_pairs.py --data DIR --weights FILE [--aligned 0.95 1.0] [--methods mibias plain …]
    [--seeds 1] [--out pacs_pairs.csv]

DIR and FILE are those of benchmarks/pacs.py, and so are the columns. Each class of a pair has a home style of its own.
By the seed, 60 images of either class in either style are audited; of what is left at most 300 of the home style are
for training and validation, and (1 − ρ)/ρ times as many of the other class's; a seventh of both validates. At ρ = 1 no
image shows a class in the other's style. Rows that the CSV has are not run again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pacs import OURS, VALIDATION_EVERY, VALUES, Row, run, write_draw
from pacs_peers import FINE_TUNED, HEADS
from runs import Table, mean_and_spread

PAIRS = {
    "dog, horse": (("dog", "cartoon"), ("horse", "photo")),
    "giraffe, elephant": (("giraffe", "photo"), ("elephant", "sketch")),
    "house, guitar": (("house", "art_painting"), ("guitar", "sketch")),
    "person, dog": (("person", "photo"), ("dog", "art_painting")),
}
N_AUDITED, N_HOME = 60, 300
KEYS = ("pair", "method", "aligned", "seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with STYLE/CLASS/*.jpg")
    parser.add_argument("--weights", type=Path, required=True, help="weights of tf_efficientnet_lite0")
    parser.add_argument("--aligned", type=float, nargs="+", default=[0.95, 1.0])
    methods = [*OURS, *HEADS, *FINE_TUNED]
    parser.add_argument("--methods", nargs="+", choices=methods, default=["mibias", "plain"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("pacs_pairs.csv"))
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    data, weights = arguments.data.resolve(), arguments.weights.resolve()
    for aligned in arguments.aligned:
        for pair in PAIRS:
            chosen: dict[str, str] = {}
            for seed in range(arguments.seeds):
                wanted = [m for m in arguments.methods if not table.has(pair, m, aligned, seed)]
                with tempfile.TemporaryDirectory() as folder:
                    drawn = write_draw(rows_of(data, pair, aligned, seed), data, weights, seed, Path(folder))
                    for method in wanted:
                        figures = run(method, drawn, chosen)
                        table.add((pair, method, aligned, seed), figures)
                        told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                        print(f"{aligned} {pair} {seed} {method}: {told}", flush=True)
    show(table)


def rows_of(data: Path, pair: str, aligned: float, seed: int) -> Iterator[Row]:
    """Path, class, style and split of every image that is used."""
    g = np.random.default_rng(seed)
    (_, first), (_, second) = PAIRS[pair]
    for label, home in PAIRS[pair]:
        left: dict[str, list[Path]] = {}
        for style in (first, second):
            paths = sorted((data / style / label).glob("*.jpg"))
            paths = [paths[i] for i in g.permutation(len(paths))]
            yield from ((path, label, style, "test") for path in paths[:N_AUDITED])
            left[style] = paths[N_AUDITED:]
        of_home = left.pop(home)[:N_HOME]
        (other, paths), *_ = left.items()
        of_other = paths[: round(len(of_home) * (1 - aligned) / aligned)]
        for style, images in ((home, of_home), (other, of_other)):
            for k, path in enumerate(images):
                yield path, label, style, "validation" if k % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"


def show(table: Table) -> None:
    """Means over seeds, as Markdown."""
    print("\n| aligned | pair | method | accuracy, % | worst of 4 groups, % | leakage, bits | given the class, bits |")
    print("|---|---|---|---|---|---|---|")
    for (aligned, pair, method), rows in sorted(table.groups("aligned", "pair", "method").items()):
        shown = [mean_and_spread(rows, name, scale=100) for name in VALUES[:2]]
        shown += [mean_and_spread(rows, name, digits=2) for name in VALUES[2:4]]
        print(f"| {aligned} | {pair} | {method} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
