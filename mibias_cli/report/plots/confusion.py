"""Confusion by group: a small map of target × prediction for each group of an attribute."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from mibias_cli.evaluation.task_findings import Accuracies, Confusion, RegressionFindings
from mibias_cli.report.plots.svg import AFTER, INK, RULE, STYLE, WIDTH, shorten, to_svg

__all__ = ["confusion_plot"]

MAX_GROUPS = 12
MAX_LABELLED = 12
_COLUMNS = 3
_MIN_SHARE = 0.005  # fainter squares cannot be seen, and each costs a hundred bytes


def confusion_plot(task: Accuracies | RegressionFindings | None, attribute: str, channel: str, *, plot_id: str) -> str:
    """A map per group (empty without any), as inline SVG: rows the target, columns the prediction, shares of rows."""
    if not isinstance(task, Accuracies):
        return ""
    own = [g for g in task.confusions if g.attribute == attribute and g.channel == channel]
    # the groups of most samples, in their order
    largest = sorted(own, key=lambda g: -g.n)[:MAX_GROUPS]
    groups = [g for g in own if g in largest]
    if not groups:
        return ""
    names = list(task.class_names)
    n_rows = -(-len(groups) // _COLUMNS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.85 * n_rows), layout="constrained")
        panels = [figure.add_subplot(n_rows, _COLUMNS, k + 1) for k in range(len(groups))]
    for k, (axes, group) in enumerate(zip(panels, groups, strict=True)):
        _draw(axes, group, names, first=k % _COLUMNS == 0)
    said = "; ".join(_said(group, names) for group in groups)
    return to_svg(figure, plot_id, f"Confusion by {attribute} ({channel})", said)


def _draw(axes: Axes, group: Confusion, names: list[str], *, first: bool) -> None:
    counts = np.asarray(group.counts, dtype=np.float64)
    # by row, because classes differ in size: each row says what became of one class
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(shares)
    # one collection: a patch for each square is laid out and drawn for itself, which takes seconds
    row, column = np.nonzero(shares >= _MIN_SHARE)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    squares = np.stack([column, row], axis=1)[:, None] + corners
    shades = [to_rgba(AFTER, float(share)) for share in shares[row, column]]
    axes.add_collection(PolyCollection(squares, facecolors=shades, linewidths=0), autolim=False)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_aspect("equal")
    # what lies on the diagonal is right
    axes.plot([-0.5, n - 0.5], [-0.5, n - 0.5], color=RULE, linewidth=0.6)
    axes.set_title(f"{shorten(group.c, 14)} (n = {group.n})", fontsize=8.5, color=INK)
    # of many classes no label could be read, but the picture still shows a diagonal
    shown = [shorten(name, 8) for name in names] if n <= MAX_LABELLED else []
    axes.set_xticks(range(len(shown)), shown, fontsize=7, rotation=90)
    rows = shown if first else []
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.tick_params(length=0)


def _said(group: Confusion, names: list[str]) -> str:
    """The group's accuracy, and its commonest mistake."""
    counts = np.asarray(group.counts)
    right = counts.trace() / max(counts.sum(), 1)
    # without the diagonal, the largest count is the commonest mistake
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    text = f"{group.c}: {100 * right:.0f} per cent right"
    if wrong.any():
        row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
        text += f", most often {names[row]} taken for {names[column]}"
    return text
