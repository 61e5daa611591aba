"""The plots of docs/benchmarks.md, from the rows in benchmarks/results.

python benchmarks/plot.py [--results benchmarks/results] [--out docs/plots]

Dots and lines are means over seeds, bars standard deviations. A plot whose rows are not there is left out.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from runs import Table

Rows = list[dict[str, str]]
OURS = "mibias"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "mibias", "font.size": 10, "axes.prop_cycle": cycler(
    color=["#0a6bb4", "#b4530a", "#2e7d4f", "#8a3fa0", "#5b6470", "#c2274b", "#8d7a00", "#0098a6", "#6a4c93", "#444444"]
)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/plots"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (file, draw) in PLOTS.items():
        path = arguments.results / file
        if path.exists():
            with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]  # a type of 300 literal names
                figure = Figure(figsize=(7, 4.2), layout="constrained")
                axes = figure.add_subplot()
                draw(axes, Table(path, (), ()))
                axes.grid(color="#d5dae0", linewidth=0.6)
                axes.set_axisbelow(True)
                axes.spines[["top", "right"]].set_visible(False)
                figure.savefig(arguments.out / f"{name}.svg", metadata={"Date": None})
            print(arguments.out / f"{name}.svg")


def accuracy_by_variance(axes: Axes, table: Table) -> None:
    """Coloured MNIST: a line per method over σ²."""
    for (method,), rows in _ours_first(table.groups("method")):
        by_variance = sorted(_by(rows, "variance").items(), key=lambda item: float(item[0]))
        x = [float(variance) for variance, _ in by_variance]
        means, spreads = zip(*(_mean_and_spread(r, "accuracy", 100) for _, r in by_variance), strict=True)
        axes.errorbar(x, means, yerr=spreads, marker="o", markersize=4, capsize=2, label=method, **_weight(method))
    axes.set_xlabel("variance σ² of colours: the smaller, the stronger the bias")
    axes.set_ylabel("accuracy on random colours, %")
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def accuracy_by_seconds(axes: Axes, table: Table) -> None:
    """Coloured MNIST at σ² = .020: accuracy after each epoch against seconds of training, means over seeds."""
    rows = [row for row in table.rows if float(row["variance"]) == 0.02]
    for (method,), own in _ours_first({(name,): r for name, r in _by(rows, "method").items()}):
        epochs = sorted(_by(own, "epoch").items(), key=lambda item: int(item[0]))
        x = [_mean_and_spread(r, "seconds")[0] for _, r in epochs]
        y = [_mean_and_spread(r, "accuracy", 100)[0] for _, r in epochs]
        axes.plot(x, y, marker="o", markersize=3, label=method, **_weight(method))
    axes.set_xscale("log")
    axes.set_xlabel("seconds of training on one core")
    axes.set_ylabel("accuracy on random colours, %")
    axes.legend(frameon=False, fontsize=8, ncols=2)


def accuracy_by_parity(axes: Axes, table: Table) -> None:
    """Tables: accuracy against the demographic-parity difference, a point per setting, lines within a method."""
    gap = "demographic_parity_difference"
    for (method,), rows in _ours_first(table.groups("method")):
        points = sorted(
            (_mean_and_spread(r, gap)[0], *_mean_and_spread(r, "accuracy", 100), _mean_and_spread(r, gap)[1])
            for r in _by(rows, "setting").values()
        )
        x, y, y_spread, x_spread = zip(*points, strict=True)
        axes.errorbar(
            x, y, xerr=x_spread, yerr=y_spread, marker="o", markersize=4, capsize=2, label=method, **_weight(method)
        )
    axes.set_xlabel("demographic-parity difference")
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False, fontsize=8)


def accuracy_by_leakage(axes: Axes, table: Table) -> None:
    """Photographs: accuracy against leakage given the class, a point per method and share of aligned images."""
    for (method,), rows in _ours_first(table.groups("method")):
        points = [
            (*_mean_and_spread(r, "conditional_leakage_bits"), *_mean_and_spread(r, "accuracy", 100), aligned)
            for aligned, r in _by(rows, "aligned").items()
        ]
        x, x_spread, y, y_spread, aligned = zip(*points, strict=True)
        axes.errorbar(
            x, y, xerr=x_spread, yerr=y_spread, fmt="o", markersize=4, capsize=2, label=method, **_weight(method)
        )
        if method == OURS:
            for place, text in zip(zip(x, y, strict=True), aligned, strict=True):
                axes.annotate(f"ρ = {text}", place, xytext=(6, 6), textcoords="offset points", fontsize=8)
    axes.set_xlabel("leakage of style given the class, bits")
    axes.set_ylabel("accuracy on balanced images, %")
    axes.legend(frameon=False, fontsize=8)


def utility_by_erasure(axes: Axes, table: Table) -> None:
    """PACS, stored features: class against style, a line along the strengths of one eraser."""
    found = {
        method: [_mean_and_spread(rows, name, scale) for name, scale in (("leakage_bits", 1), ("accuracy", 100))]
        for (method,), rows in table.groups("method").items()
    }
    along = ["none", *sorted(name for name in found if name.startswith("transport_")), "transport"]
    for label, names in (("transport, from no strength to 1", along), ("leace", ["leace"])):
        (x, x_spread), (y, y_spread) = (zip(*(found[name][k] for name in names), strict=True) for k in (0, 1))
        axes.errorbar(x, y, xerr=x_spread, yerr=y_spread, marker="o", markersize=4, capsize=2, label=label)
    axes.set_xlabel("style that the audit finds in the features, bits: the less the better")
    axes.set_ylabel("class by a fresh logistic probe, %")
    axes.legend(frameon=False, fontsize=8, loc="lower right")


PLOTS: dict[str, tuple[str, Callable[[Axes, Table], None]]] = {
    "colored_mnist": ("colored_mnist.csv", accuracy_by_variance),
    "colored_mnist_time": ("colored_mnist_curves.csv", accuracy_by_seconds),
    "adult": ("adult.csv", accuracy_by_parity),
    "german": ("german.csv", accuracy_by_parity),
    "pacs": ("pacs.csv", accuracy_by_leakage),
    "erasure": ("erasure.csv", utility_by_erasure),
}


def _ours_first(groups: Mapping[tuple[str, ...], Rows]) -> Iterable[tuple[tuple[str, ...], Rows]]:
    return sorted(groups.items(), key=lambda item: item[0][0] != OURS)


def _weight(method: str) -> dict[str, Any]:
    return {"linewidth": 2.4 if method == OURS else 1.0}


def _by(rows: Rows, column: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _mean_and_spread(rows: Rows, column: str, scale: float = 1.0) -> tuple[float, float]:
    values = [scale * float(row[column]) for row in rows]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
