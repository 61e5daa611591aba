"""Confusion by group: a small map of target × prediction for each group of an attribute."""

from __future__ import annotations

from unicodedata import east_asian_width

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
# in inches: a title's line, what is left free between squares, and letters of labels and of titles
_TITLE, _GAP, _LETTER, _TITLE_LETTER = 0.25, 0.12, 0.06, 0.061
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
    # of many classes no label could be read, but the picture still shows a diagonal
    labels = [shorten(name, 8) for name in names] if len(names) <= MAX_LABELLED else []
    figure, panels, room = _panels(len(groups), longest=max(map(_width, labels), default=0))
    for k, (axes, group) in enumerate(zip(panels, groups, strict=True)):
        _draw(axes, group, labels if k % _COLUMNS == 0 else [], labels, room)
    said = "; ".join(_said(group, names) for group in groups)
    return to_svg(figure, plot_id, f"Confusion by {attribute} ({channel})", said)


def _panels(n: int, *, longest: int) -> tuple[Figure, list[Axes], int]:
    """A figure of n squares in rows, and how many letters a title may have.

    Their places follow from the longest label: to have matplotlib find them takes as long as to draw them.
    """
    labels = _GAP + _LETTER * longest
    n_rows, side = -(-n // _COLUMNS), (WIDTH - labels) / _COLUMNS - _GAP
    row = _TITLE + side + labels
    height = n_rows * row
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        corners = [
            (labels + k % _COLUMNS * (side + _GAP), height - k // _COLUMNS * row - _TITLE - side) for k in range(n)
        ]
        panels = [figure.add_axes((x / WIDTH, y / height, side / WIDTH, side / height)) for x, y in corners]
    return figure, panels, int(side / _TITLE_LETTER)


def _draw(axes: Axes, group: Confusion, rows: list[str], columns: list[str], room: int) -> None:
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
    size = f" (n = {group.n})"
    axes.set_title(shorten(group.c, max(room - len(size), 4)) + size, fontsize=8.5, color=INK)
    axes.set_xticks(range(len(columns)), columns, fontsize=7, rotation=90)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.tick_params(length=0)


def _width(text: str) -> int:
    """In letters; Chinese, Japanese and Korean ones are as wide as two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


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
