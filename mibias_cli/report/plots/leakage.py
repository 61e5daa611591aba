"""Plots of a report's figures: leakage bars with their null band, before → after arrows, accuracy by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from mibias_cli.report.plots.svg import (
    AFTER,
    BEFORE,
    INK,
    MUTED,
    label_rows,
    new_figure,
    to_svg,
    whisker,
)

__all__ = ["MAX_CELLS", "change_plot", "group_cells", "group_plot", "leakage_plot", "leakage_rows"]

MAX_CELLS = 24
MAX_ROWS = 40
"""Rows of a plot: more are cut, the tables hold them all."""


def leakage_plot(report: Mapping[str, Any], key: str, *, plot_id: str) -> str:
    """Bars of leakage before and after with intervals and null band, one row per attribute and channel, as inline SVG.

    Args:
        report: In the form of leakage.json.
        key: `leakage_bits` or `conditional_leakage_bits`.
        plot_id: Prefix of every id in the SVG, unlike that of any other plot on the page.
    """
    rows = leakage_rows(report)[:MAX_ROWS]
    figure, (axes,) = new_figure(len(rows), 0.66)
    null = "null" if key == "leakage_bits" else "conditional_null"
    left = _left_end(rows, key)
    for position, (_, found) in enumerate(rows):
        before, after = found["before"], found["after"]
        sides = [(after, AFTER, 0.2)] if before is None else [(before, BEFORE, -0.2), (after, AFTER, 0.2)]
        for side, colour, offset in sides:
            _null_band(axes, position + offset, side.get(null), left)
            axes.barh(position + offset, side[key]["estimate"], height=0.26, color=colour, linewidth=0)
            whisker(axes, position + offset, side[key]["lower"], side[key]["upper"])
        random = found.get("random")
        if random is not None:
            axes.plot([random[key]["estimate"]], [position], marker="D", markersize=4.5, color=MUTED, linestyle="none")
        if key == "leakage_bits":
            _mark(axes, position, found["target_attribute_bits"], INK, ":")
        _mark(axes, position, found["entropy_bits"], MUTED, "-")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlim(left=left)
    axes.set_xlabel("bits")
    label_rows(axes, [name for name, _ in rows])
    title = "Leakage in bits" if key == "leakage_bits" else "Leakage in bits given the target"
    return to_svg(figure, plot_id, title, "; ".join(_in_words(name, found, key) for name, found in rows))


def _left_end(rows: Sequence[tuple[str, Mapping[str, Any]]], key: str) -> float:
    """Left of everything but null bands: a probe that is sure of itself does very badly on shuffled labels."""
    sides = [found[side] for _, found in rows for side in ("before", "after") if found[side] is not None]
    least = min((side[key]["lower"] for side in sides), default=0.0)
    most = max((found["entropy_bits"] for _, found in rows), default=1.0)
    return min(least, 0.0) - 0.12 * max(most, 0.1)


def _null_band(axes: Axes, position: float, null: Mapping[str, float] | None, left: float) -> None:
    """The band, or an arrow at the edge where it lies beyond it."""
    if null is None:
        return
    start, end = max(null["lower"], left), null["upper"]
    if end > left:
        axes.barh(position, end - start, left=start, height=0.4, color=MUTED, alpha=0.3, linewidth=0)
    else:
        axes.plot([left], [position], marker="<", markersize=5, color=MUTED, alpha=0.6, clip_on=False, linestyle="none")


def _mark(axes: Axes, position: float, value: float | None, colour: str, line: str) -> None:
    if value is not None:
        axes.plot([value, value], [position - 0.42, position + 0.42], color=colour, linewidth=1.4, linestyle=line)


def _in_words(name: str, found: Mapping[str, Any], key: str) -> str:
    before = "" if found["before"] is None else f"before {found['before'][key]['estimate']:.3f}, "
    return f"{name}: {before}after {found['after'][key]['estimate']:.3f} of {found['entropy_bits']:.3f}"


def leakage_rows(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and findings of every channel, of the attribute itself where it has but one."""
    return [
        (f"{name}: {channel}" if channel else name, c)
        for name, found in report["attributes"].items()
        for channel, c in (found.get("channels") or {"": found}).items()
    ]


def change_plot(report: Mapping[str, Any], *, plot_id: str) -> str:
    """Arrows from before to after: leakage as a share of H(c), and the task's figures, on one axis, as inline SVG.

    Empty where there is no before.
    """
    rows = list(_changes(report))[:MAX_ROWS]
    if not rows:
        return ""
    figure, (axes,) = new_figure(len(rows), 0.4)
    for position, (_, before, after) in enumerate(rows):
        for side, colour, offset in ((before, BEFORE, -0.12), (after, AFTER, 0.12)):
            whisker(axes, position + offset, side["lower"], side["upper"], colour)
        start, end = before["estimate"], after["estimate"]
        axes.annotate(
            "", (end, position), (start, position),
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        axes.plot([start], [position], marker="o", markersize=5.5, color=BEFORE)
        axes.plot([end], [position], marker="o", markersize=5.5, color=AFTER)
    values = [side[bound] for _, *sides in rows for side in sides for bound in ("lower", "upper", "estimate")]
    known = [value for value in values if value is not None]
    axes.set_xlim(min(-2, *known) - 3, max(100, *known) + 3)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("per cent (leakage: of H(c))")
    label_rows(axes, [name for name, _, _ in rows])
    said = [f"{name}: from {b['estimate']:.1f} to {a['estimate']:.1f} per cent" for name, b, a in rows]
    return to_svg(figure, plot_id, "Before and after", "; ".join(said))


def _changes(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, before and after in per cent."""
    for name, found in report["attributes"].items():
        before, after, entropy = found["before"], found["after"], found["entropy_bits"]
        if before is None or not entropy:
            continue
        for key, label in (("leakage_bits", name), ("conditional_leakage_bits", f"{name}, given the target")):
            if before[key] is None or after[key] is None:
                continue
            yield label, _share(before[key], entropy), _share(after[key], entropy)
    before, after = report["task"]["before"], report["task"]["after"]
    for key, label in (
        ("accuracy", "task accuracy"),
        ("worst_group_accuracy", "worst group"),
        ("r2", "R² of the task"),
    ):
        sides = [side for side in (before, after) if side is not None and side.get(key) is not None]
        if len(sides) == 2:
            first, second = (_share({"estimate": s[key], **(s.get(f"{key}_interval") or {})}, 1.0) for s in sides)
            yield label, first, second


def _share(interval: Mapping[str, Any], whole: float) -> dict[str, Any]:
    values = {bound: interval.get(bound) for bound in ("estimate", "lower", "upper")}
    return {bound: None if value is None else 100 * value / whole for bound, value in values.items()}


def group_plot(report: Mapping[str, Any], attribute: str, channel: str, *, plot_id: str) -> str:
    """Dots of accuracy per (y, c) cell with Wilson intervals, before and after, as inline SVG.

    Where there are many cells, the lowest.

    Args:
        report: In the form of leakage.json.
        attribute, channel: Whose cells.
        plot_id: Prefix of every id in the SVG.
    """
    cells = group_cells(report, attribute, channel)
    figure, (axes,) = new_figure(len(cells), 0.33)
    for position, (after, before) in enumerate(cells):
        for row, colour, offset in ((before, BEFORE, -0.15), (after, AFTER, 0.15)):
            if row is not None and row["accuracy"] is not None:
                whisker(axes, position + offset, row["lower"], row["upper"], colour)
                axes.plot([row["accuracy"]], [position + offset], marker="o", markersize=4, color=colour)
        axes.text(1.04, position, f"n = {after['n']}", fontsize=8.5, color=MUTED, va="center")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("accuracy")
    label_rows(axes, [f"{a['y']} / {a['c']}" for a, _ in cells])
    worst = min((a["accuracy"] for a, _ in cells), default=None)
    said = "no cell is large enough" if worst is None else f"{len(cells)} cells, the lowest at {worst:.3f}"
    return to_svg(figure, plot_id, f"Accuracy by target and {attribute} ({channel})", said)


def group_cells(
    report: Mapping[str, Any], attribute: str, channel: str
) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """The cells that `group_plot` draws: counted ones, after and before; the MAX_CELLS lowest if more."""

    def cells(task: Mapping[str, Any] | None) -> dict[tuple[str, str], Mapping[str, Any]]:
        rows = [] if task is None else task["groups"]
        own = [r for r in rows if r["attribute"] == attribute and r["channel"] == channel and r["counted"]]
        return {(r["y"], r["c"]): r for r in own if r["accuracy"] is not None}

    before, after = cells(report["task"]["before"]), cells(report["task"]["after"])
    lowest = sorted(after, key=lambda k: after[k]["accuracy"])[:MAX_CELLS]
    return [(after[k], before.get(k)) for k in after if k in set(lowest)]
