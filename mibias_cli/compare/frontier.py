"""Two figures of several runs as a plane: a dot per run, a mark per group of seeds, a line along the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes

from mibias_cli.compare.choice import frontier_members
from mibias_cli.compare.records import AttributeOfGroup, Comparison, Group, Row, Spread, TaskOfRun
from mibias_cli.report.numbers import format_bits, format_decimals, format_percent
from mibias_cli.report.plots.svg import AFTER, BEFORE, INK, MUTED, PAPER, RULE, new_figure, to_svg

__all__ = ["PLANES", "Plane", "frontier_plot", "has_points", "score_name"]

Side = Literal["before", "after"]
Point = tuple[float, float]
_LEAST_POINTS = 4.0
"""Percentage points that the upward axis spans at least."""


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """A figure of groups and of single runs, and how it is written."""

    of_group: Callable[[Group, str], Spread | None]
    of_run: Callable[[Row, str, Side], float | None]
    written: Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Plane:
    """What a plot shows: less of `x` is better, and more of `y`."""

    key: str
    title: str
    x: _Figure
    y: _Figure
    x_label: str
    y_label: str


def _attribute(figure: Callable[[AttributeOfGroup], Spread | None]) -> Callable[[Group, str], Spread | None]:
    return lambda group, name: figure(group.of(name))


def _leakage_of(run: Row, name: str, side: Side) -> float | None:
    bits = run.leakage_of(name, side)
    return None if bits is None else bits.estimate


def _score_of(run: Row, name: str, side: Side) -> float | None:
    score = getattr(run.score, side)
    return None if score is None else score.estimate


def _worst_of(run: Row, name: str, side: Side) -> float | None:
    task: TaskOfRun | None = getattr(run.task, side)
    return None if task is None else task.worst_group_accuracy


def _parity_of(run: Row, name: str, side: Side) -> float | None:
    figure = None if side == "loaded" else run.fairness_of(name, side).demographic_parity_difference
    return None if figure is None else figure.estimate


_LEAKAGE = _Figure(of_group=_attribute(lambda found: found.leakage_bits), of_run=_leakage_of, written=format_bits)
_SCORE = _Figure(of_group=lambda group, _: group.score, of_run=_score_of, written=format_percent)
_WORST = _Figure(of_group=lambda group, _: group.worst_group_accuracy, of_run=_worst_of, written=format_percent)
_PARITY = _Figure(
    of_group=_attribute(lambda found: found.demographic_parity_difference), of_run=_parity_of, written=format_decimals
)
PLANES: tuple[Plane, ...] = (
    Plane(
        key="frontier", title="Accuracy and leakage", x=_LEAKAGE, y=_SCORE,
        x_label="leakage of {name}, bits", y_label="{score}, per cent",
    ),
    Plane(
        key="worst-group", title="The worst group and leakage", x=_LEAKAGE, y=_WORST,
        x_label="leakage of {name}, bits", y_label="accuracy in the worst group, per cent",
    ),
    Plane(
        key="parity", title="Accuracy and parity", x=_PARITY, y=_SCORE,
        x_label="demographic parity difference by {name}", y_label="{score}, per cent",
    ),
)  # fmt: skip
"""The planes of a page, for each attribute."""


def has_points(comparison: Comparison, attribute: str, plane: Plane) -> bool:
    """Whether any group has both figures."""
    return any(_point(group, attribute, plane) is not None for group in comparison.groups)


def frontier_plot(comparison: Comparison, attribute: str, *, plot_id: str, plane: Plane = PLANES[0]) -> str:
    """Two figures of one attribute over each other, as inline SVG.

    Runs are small dots; a group of runs that differ in seeds alone is its number, at their mean, with bars from the
    least to the greatest (for one run: its intervals). Originals (before) are hollow squares. Groups that no other
    beats are joined by steps; collapsed ones are crossed and on no frontier. Runs of different data have no frontier.
    """
    figure, (axes,) = new_figure(1, 3.4)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    # single runs first, so that the marks of groups stand over them
    for run in comparison.runs:
        _run(axes, run, attribute, plane)
    # a group without one of the figures has no place in the plane
    placed = [(group, point) for group in comparison.groups if (point := _point(group, attribute, plane)) is not None]
    able = [None if group.collapsed or not comparison.same_data else point for group, point in placed]
    members = frontier_members(able)
    best = sorted(point for (_, point), member in zip(placed, members, strict=True) if member)
    axes.step(
        [x for x, _ in best],
        [100 * y for _, y in best],
        where="post",
        color=INK,
        linewidth=1.2,
        linestyle="--",
        zorder=2,
    )
    for group, _ in placed:
        _group(axes, group, attribute, plane)
    names = {"name": attribute, "score": score_name(comparison)}
    axes.set_xlabel(plane.x_label.format(**names))
    axes.set_ylabel(plane.y_label.format(**names))
    axes.margins(0.08)
    # where all are alike, a scale of hundredths of a point would say that they are not
    low, high = axes.get_ylim()
    if high - low < _LEAST_POINTS:
        bottom = (low + high - _LEAST_POINTS) / 2
        bottom = bottom if low < -1 else max(bottom, -_LEAST_POINTS / 20)
        axes.set_ylim(bottom, bottom + _LEAST_POINTS)
    said = "; ".join(
        f"{comparison.label(group)}: {plane.x.written(point[0])} at {plane.y.written(point[1])}"
        + (", on the frontier" if member else "")
        for (group, point), member in zip(placed, members, strict=True)
    )
    return to_svg(figure, plot_id, f"{plane.title} of {attribute}", said or "no runs")


def score_name(comparison: Comparison) -> str:
    """The headline task metric's name, all names where runs differ."""
    scores = [run.score.after for run in comparison.runs]
    return " or ".join(dict.fromkeys(score.name for score in scores if score is not None)) or "task accuracy"


def _point(group: Group, attribute: str, plane: Plane) -> Point | None:
    x, y = plane.x.of_group(group, attribute), plane.y.of_group(group, attribute)
    return None if x is None or y is None else (x.mean, y.mean)


def _run(axes: Axes, run: Row, attribute: str, plane: Plane) -> None:
    sides: tuple[tuple[Side, str, str, float], ...] = (("before", BEFORE, "s", 4.5), ("after", AFTER, "o", 3.0))
    for side, colour, marker, size in sides:
        x, y = (figure.of_run(run, attribute, side) for figure in (plane.x, plane.y))
        if x is not None and y is not None:
            face = "none" if side == "before" else colour
            axes.plot(
                [x], [100 * y], marker=marker, markersize=size, color=colour, markerfacecolor=face, linestyle="none"
            )


def _group(axes: Axes, group: Group, attribute: str, plane: Plane) -> None:
    x, y = plane.x.of_group(group, attribute), plane.y.of_group(group, attribute)
    assert x is not None, "a group that is drawn has both figures"
    assert y is not None, "a group that is drawn has both figures"
    # collapsed features leak nothing because they hold nothing: shown, but not as a result
    colour = MUTED if group.collapsed else AFTER
    axes.plot(list(x.bounds), [100 * y.mean] * 2, color=colour, linewidth=1.0, zorder=3)
    axes.plot([x.mean] * 2, [100 * bound for bound in y.bounds], color=colour, linewidth=1.0, zorder=3)
    axes.plot([x.mean], [100 * y.mean], marker="o", markersize=13, color=colour, zorder=4, linestyle="none")
    axes.text(x.mean, 100 * y.mean, str(group.number), color=PAPER, fontsize=8, ha="center", va="center", zorder=5)
    if group.collapsed:
        axes.plot([x.mean], [100 * y.mean], marker="x", markersize=18, color=INK, zorder=6, linestyle="none")
