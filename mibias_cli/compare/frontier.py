"""The accuracy–leakage frontier of several runs: a dot per run, a mark per group of seeds, a line along the best."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from mibias_cli.compare.comparison import Comparison, Group, Row
from mibias_cli.report.plots.svg import AFTER, BEFORE, INK, MUTED, PAPER, RULE, new_figure, to_svg

__all__ = ["frontier_plot", "score_name"]


def frontier_plot(comparison: Comparison, attribute: str, *, plot_id: str) -> str:
    """Task accuracy over leakage of one attribute, as inline SVG.

    Runs are small dots; a group of runs that differ in seeds alone is its number, at their mean, with bars from the
    least to the greatest (for one run: its intervals). Originals (before) are hollow squares. Groups that no other
    beats are joined by a line; collapsed ones are crossed and on no frontier.
    """
    figure, (axes,) = new_figure(1, 3.4)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    runs = [run for run in comparison.runs if attribute in run.attributes]
    # single runs first, so that the marks of groups stand over them
    for run in runs:
        _run(axes, run, attribute)
    # a group without leakage or score has no place in the plane
    placed = [(group, point) for group in comparison.groups if (point := group.point(attribute)) is not None]
    best = sorted(point for group, point in placed if group.attributes[attribute].on_frontier)
    axes.plot([x for x, _ in best], [100 * y for _, y in best], color=INK, linewidth=1.2, linestyle="--", zorder=2)
    for group, point in placed:
        _group(axes, group, point, attribute, runs)
    axes.set_xlabel(f"leakage of {attribute}, bits")
    axes.set_ylabel(f"{score_name(comparison)}, per cent")
    axes.margins(0.08)
    said = "; ".join(f"{group.number}, {group.name}: {_said(group, point, attribute)}" for group, point in placed)
    return to_svg(figure, plot_id, f"Accuracy and leakage of {attribute}", said or "no runs")


def score_name(comparison: Comparison) -> str:
    """The headline task metric's name, all names where runs differ."""
    scores = [run.score.after for run in comparison.runs]
    return " or ".join(dict.fromkeys(score.name for score in scores if score is not None)) or "task accuracy"


def _said(group: Group, point: tuple[float, float], attribute: str) -> str:
    leakage, accuracy = point
    best = ", on the frontier" if group.attributes[attribute].on_frontier else ""
    return f"{leakage:.3f} bits at {100 * accuracy:.1f} per cent{best}"


def _run(axes: Axes, run: Row, attribute: str) -> None:
    found, score = run.attributes[attribute], run.score
    sides = ((found.before, score.before, BEFORE, "s", 4.5), (found.after, score.after, AFTER, "o", 3.0))
    for leakage, reached, colour, marker, size in sides:
        if leakage is not None and reached is not None:
            x, y = leakage.leakage_bits.estimate, 100 * reached.estimate
            face = "none" if colour == BEFORE else colour
            axes.plot([x], [y], marker=marker, markersize=size, color=colour, markerfacecolor=face, linestyle="none")


def _group(axes: Axes, group: Group, point: tuple[float, float], attribute: str, runs: Sequence[Row]) -> None:
    (left, right), (low, high) = _bars(group, attribute, runs)
    x, y = point
    # collapsed features leak nothing because they hold nothing: shown, but not as a result
    colour = MUTED if group.collapsed else AFTER
    axes.plot([left, right], [100 * y, 100 * y], color=colour, linewidth=1.0, zorder=3)
    axes.plot([x, x], [100 * low, 100 * high], color=colour, linewidth=1.0, zorder=3)
    axes.plot([x], [100 * y], marker="o", markersize=13, color=colour, zorder=4, linestyle="none")
    axes.text(x, 100 * y, str(group.number), color=PAPER, fontsize=8, ha="center", va="center", zorder=5)
    if group.collapsed:
        axes.plot([x], [100 * y], marker="x", markersize=18, color=INK, zorder=6, linestyle="none")


def _bars(group: Group, attribute: str, runs: Sequence[Row]) -> tuple[tuple[float, float], tuple[float, float]]:
    """From the least to the greatest of the group's runs, or the interval of its only run."""
    leakage, accuracy = group.attributes[attribute].leakage_bits, group.score
    assert leakage is not None, "a group that is drawn has both figures"
    assert accuracy is not None, "a group that is drawn has both figures"
    if len(group.runs) > 1:
        return (leakage.min, leakage.max), (accuracy.min, accuracy.max)
    # one run has no spread over seeds, but its audit has intervals
    run = next(run for run in runs if run.name == group.runs[0])
    x, y = run.attributes[attribute].after.leakage_bits, run.score.after
    if y is None or y.lower is None or y.upper is None:
        return (x.lower, x.upper), (accuracy.mean, accuracy.mean)
    return (x.lower, x.upper), (y.lower, y.upper)
