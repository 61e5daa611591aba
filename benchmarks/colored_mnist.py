"""Colour-biased MNIST: our default beside its rivals, on the same pixels, the same network and the same machine.

python benchmarks/colored_mnist.py --data DIR --variance 0.02 0.03 --methods plain mibias --seeds 3 --out FILE.csv

A row per method, variance and seed, appended as it is ready; rows that the file has are not run again. Accuracy is the
trained head's on digits of random colour; nothing is chosen by it. Only `grey` takes colours away, and says so.
With --curves the accuracy after each epoch is kept, too: how soon a method is where another ends.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import PENALTY_ALONE, WITHOUT_COPIES, Point, Table, mean_and_spread, measure

ALONE = (*WITHOUT_COPIES, "debias.bias_product=0", "training.average_decay=null")
"""Without what is ours beside the penalty: no copies, no product with what colour says, no average of weights."""

PAPER = (
    *ALONE,
    "debias.estimator=mine",
    "debias.schedule=fresh",
    "debias.balance_by=weights",
    "debias.balance=none",
    "debias.weight=1",
    "debias.critic.steps=40",
    "debias.critic.hidden=[64, 64, 64]",
    "debias.critic.learning_rate=1e-4",
    "debias.critic.beta1=0.9",
    "representation.layers=[features]",
    "training.learning_rate=1e-4",
    "training.schedule=constant",
    "training.epochs=10",
)
"""Facts of the authors' released code, see docs/method.md: a MINE critic of 3 × 64 on z, K = 40, Adam 1e-4 for all."""

LAST_LAYER = (*ALONE, "representation.layers=[features]", "debias.weight=1")

SHARE = (*WITHOUT_COPIES, "debias.bias_product=0.8")

METHODS: dict[str, tuple[str, ...]] = {
    "plain": (*ALONE, "debias.estimator=none", "training.epochs=3", "training.schedule=constant"),
    "grey": (*ALONE, "debias.estimator=none", "backbone.in_chans=1"),
    "reweight": (*ALONE, "debias.weight=0", "debias.balance=task", "debias.critic.steps=1", "debias.critic.hidden=[8]"),
    "product": (
        *WITHOUT_COPIES,
        "debias.bias_product=1",
        "debias.weight=0",
        "debias.balance=none",
        "debias.critic.steps=1",
    ),
    "hsic": (*LAST_LAYER, "debias.estimator=hsic", "debias.gradients=ratio"),
    "lntl": (*LAST_LAYER, "debias.estimator=lntl", "debias.balance=none", "debias.critic.steps=1"),
    "vclub": (*LAST_LAYER, "debias.estimator=vclub", "debias.balance=none", "debias.weight=0.1"),
    "cross_sample": (*LAST_LAYER, "debias.estimator=cross_sample", "debias.balance=none"),
    # the authors' 50 epochs, 64 maps and 5 critic steps would take hours on a CPU
    "sabaf": (*ALONE, "method=sabaf", "method_settings={epochs: 10, width: 16, critic_steps: 1}"),
    "paper": (*PAPER, "debias.gradients=rescale"),
    "released": (*PAPER, "debias.gradients=released"),
    "mibias": (),
    "no_weight": ("debias.weight=0",),
    "auto_weight": ("debias.weight=auto",),
    "weight_1": ("debias.weight=1",),
    "without_copies": WITHOUT_COPIES,
    # without copies: what becomes of it without a part, or with another, at one share of the product for every variance
    "penalty": PENALTY_ALONE,
    "fixed_share": SHARE,
    "no_penalty": (*SHARE, "debias.weight=0", "debias.balance=none", "debias.critic.steps=1"),
    "full_product": (*WITHOUT_COPIES, "debias.bias_product=1"),
    "large_weight": (*SHARE, "debias.weight=0.01"),
    "small_share": (*WITHOUT_COPIES, "debias.bias_product=0.7"),
    "last_layer": (*SHARE, "representation.layers=[features]"),
    "conditional": (*SHARE, "debias.objective=conditional", "debias.balance=none"),
    "mine": (*SHARE, "debias.estimator=mine"),
    "more_critic": (*SHARE, "debias.draw_share=1", "debias.critic.steps=10"),
    "no_average": (*SHARE, "training.average_decay=null"),
    "narrow": (*SHARE, "backbone.options={width: 16, hidden: 128, features: 64}"),
    "wide": (*SHARE, "backbone.options={width: 64, hidden: 512, features: 64}"),
}
PEERS = ("plain", "grey", "reweight", "product", "hsic", "lntl", "vclub", "cross_sample", "paper", "released", "mibias")
"""What runs where nobody names methods; the rest are ablations.

`plain` is the recipe's original stage at a constant rate; vclub has λ = 0.1, as it collapses at 1 (11 % in seed 0 at
σ² = .020); `product` is the product of experts without any penalty, after Clark et al., arXiv 1909.03683.
"""
REFERENCE = "paper"
KEYS = ("method", "variance", "seed")
VALUES = ("accuracy", "leakage_bits", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--variance", type=float, nargs="+", default=[0.02])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("colored_mnist.csv"))
    parser.add_argument("--curves", type=Path, help="CSV of accuracy after each epoch; default: none is taken")
    parser.add_argument("--n-train", type=int, help="only the first so many training images; default: all")
    parser.add_argument("--set", action="append", default=[], help="further overrides of the recipe, for all methods")
    arguments = parser.parse_args()
    table = Table(arguments.out, KEYS, VALUES)
    curves = None if arguments.curves is None else Table(arguments.curves, (*KEYS, "epoch"), ("seconds", "accuracy"))
    extra = list(arguments.set) + ([f"data.n_train={arguments.n_train}"] if arguments.n_train else [])
    for seed in range(arguments.seeds):
        for variance in arguments.variance:
            for method in arguments.methods:
                if not table.has(method, variance, seed):
                    overrides = [f"data.variance={variance}", *METHODS[method], *extra]
                    curve: list[Point] | None = None if curves is None else []
                    figures = measure(arguments.data, overrides, seed, curve)
                    table.add((method, variance, seed), figures)
                    for epoch, (seconds, accuracy) in enumerate(curve or [], start=1):
                        assert curves is not None, "points are taken for a table"
                        curves.add((method, variance, seed, epoch), {"seconds": seconds, "accuracy": accuracy})
                    print(f"{method} σ² {variance} seed {seed}: {100 * figures['accuracy']:.1f} %", flush=True)
    show(table)
    if curves is not None and any(row["method"] == REFERENCE for row in curves.rows):
        show_time(curves)


def show(table: Table) -> None:
    """Accuracy in % and leakage in bits by method and variance, mean ± standard deviation over seeds, in Markdown."""
    variances = sorted({row["variance"] for row in table.rows}, key=float)
    for column, scale, digits in (("accuracy", 100.0, 1), ("leakage_bits", 1.0, 2)):
        print(f"\n| {column} | " + " | ".join(variances) + " | seconds |\n|---" + "|---" * (len(variances) + 1) + "|")
        for (method,), rows in table.groups("method").items():
            by_variance = [[row for row in rows if row["variance"] == variance] for variance in variances]
            cells = [mean_and_spread(c, column, scale=scale, digits=digits) if c else "" for c in by_variance]
            print(f"| {method} | {' | '.join(cells)} | {mean_and_spread(rows, 'seconds', digits=0)} |")


def show_time(curves: Table) -> None:
    """Seconds of training until a method has, after an epoch, the best that the paper's own has after any."""
    print("\n| variance | seed | method | its best, % | seconds to the paper's best | share of the paper's time |")
    print("|---|---|---|---|---|---|")
    for (variance, seed), rows in curves.groups("variance", "seed").items():
        own = [row for row in rows if row["method"] == REFERENCE]
        if not own:
            continue
        best = max(own, key=lambda row: float(row["accuracy"]))
        for method in dict.fromkeys(row["method"] for row in rows):
            points = [row for row in rows if row["method"] == method]
            reached = [float(r["seconds"]) for r in points if float(r["accuracy"]) >= float(best["accuracy"])]
            top = 100 * max(float(row["accuracy"]) for row in points)
            told = f"{min(reached):.0f} | {min(reached) / float(best['seconds']):.3f}" if reached else "never | "
            print(f"| {variance} | {seed} | {method} | {top:.1f} | {told} |")


if __name__ == "__main__":
    main()
