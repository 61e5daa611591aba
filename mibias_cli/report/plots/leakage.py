"""Plots of a report's figures: leakage bars with their null band, before → after arrows, accuracy by group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import (
    SIDES,
    ChannelFindings,
    Interval,
    NullBand,
    QuestionName,
    Side,
)
from mibias_cli.evaluation.task_findings import Accuracies, GroupRow, RegressionFindings
from mibias_cli.report.plots.svg import AFTER, BEFORE, DRAWN, INK, MUTED, label_rows, new_figure, to_svg, whisker
from mibias_cli.report.tables import LABELS, NAMES, bits_at, leakage_rows

__all__ = ["MAX_CELLS", "change_plot", "group_cells", "group_plot", "leakage_plot"]

MAX_CELLS = 24
MAX_ROWS = 40
"""Rows of a plot: more are cut, the tables hold them all."""


def leakage_plot(report: AuditFindings, question: QuestionName, *, plot_id: str) -> str:
    """Bars of leakage before and after with intervals and null band, one row per attribute and channel, as inline SVG.

    Also a ring for weights as they were loaded, a diamond for a random extractor, and lines at H(c) and I(y; c).
    """
    rows = leakage_rows(report)[:MAX_ROWS]
    figure, (axes,) = new_figure(len(rows), 0.66)
    left = _left_end(rows, question)
    for position, (_, found) in enumerate(rows):
        for side, colour, sign in DRAWN:
            leakage, height = found.at(side), position + 0.2 * sign
            answer = None if leakage is None else leakage.answer(question)
            if answer is None:
                continue
            interval = answer.leakage_bits
            # the band first, so that the bar stands before it
            _null_band(axes, height, answer.null, left)
            axes.barh(height, interval.estimate, height=0.26, color=colour, linewidth=0)
            whisker(axes, height, interval.lower, interval.upper)
        loaded = bits_at(found, "loaded", question)
        if loaded is not None:
            axes.plot(
                [loaded.estimate], [position], marker="o", markersize=5, color=INK, fillstyle="none", linestyle="none"
            )
        random = None if found.random is None else found.random.answer(question)
        # what an untrained network gives away: leakage below it needs no training to explain
        if random is not None:
            x = [random.leakage_bits.estimate]
            axes.plot(x, [position], marker="D", markersize=4.5, color=MUTED, linestyle="none")
        # once the target is given, what it tells of the attribute is no reference any more
        if question == "marginal":
            _mark(axes, position, found.target_attribute_bits, INK, ":")
        _mark(axes, position, found.entropy_bits, MUTED, "-")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlim(left=left)
    axes.set_xlabel("bits")
    label_rows(axes, [name for name, _ in rows])
    title = "Leakage in bits" if question == "marginal" else "Leakage in bits given the target"
    return to_svg(figure, plot_id, title, "; ".join(_in_words(name, found, question) for name, found in rows))


def _left_end(rows: Sequence[tuple[str, ChannelFindings]], question: QuestionName) -> float:
    """Left of everything but null bands: a probe that is sure of itself does very badly on shuffled labels."""
    found = [bits_at(channel, side, question) for _, channel in rows for side, *_ in DRAWN]
    least = min((interval.lower for interval in found if interval is not None), default=0.0)
    most = max((channel.entropy_bits for _, channel in rows), default=1.0)
    return min(least, 0.0) - 0.12 * max(most, 0.1)


def _null_band(axes: Axes, position: float, null: NullBand | None, left: float) -> None:
    """The band, or an arrow at the edge where it lies beyond it."""
    if null is None:
        return
    # cut at the left edge: a wide band must not squeeze the bars
    start, end = max(null.lower, left), null.upper
    if end > left:
        axes.barh(position, end - start, left=start, height=0.4, color=MUTED, alpha=0.3, linewidth=0)
    else:
        axes.plot([left], [position], marker="<", markersize=5, color=MUTED, alpha=0.6, clip_on=False, linestyle="none")


def _mark(axes: Axes, position: float, value: float | None, colour: str, line: str) -> None:
    if value is not None:
        axes.plot([value, value], [position - 0.42, position + 0.42], color=colour, linewidth=1.4, linestyle=line)


def _in_words(name: str, found: ChannelFindings, question: QuestionName) -> str:
    answers = [(NAMES[side], bits_at(found, side, question)) for side in SIDES]
    told = ", ".join(f"{side} {bits.estimate:.3f}" for side, bits in answers if bits is not None)
    return f"{name}: {told} of {found.entropy_bits:.3f}"


def change_plot(report: AuditFindings) -> str:
    """Arrows from before to after (empty without before), as inline SVG: leakage as a share of H(c), and the task."""
    rows = list(_changes(report))[:MAX_ROWS]
    if not rows:
        return ""
    figure, (axes,) = new_figure(len(rows), 0.4)
    for position, (_, before, after) in enumerate(rows):
        for interval, (_, colour, sign) in zip((before, after), DRAWN, strict=True):
            whisker(axes, position + 0.12 * sign, interval.lower, interval.upper, colour)
        start, end = before.estimate, after.estimate
        # the arrow says which way, also where both intervals overlap
        axes.annotate(
            "", (end, position), (start, position),
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        axes.plot([start], [position], marker="o", markersize=5.5, color=BEFORE)
        axes.plot([end], [position], marker="o", markersize=5.5, color=AFTER)
    values = [value for _, *sides in rows for side in sides for value in (side.lower, side.upper, side.estimate)]
    known = [value for value in values if math.isfinite(value)]
    # 0 and 100 per cent are always in sight
    axes.set_xlim(min(-2, *known) - 3, max(100, *known) + 3)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("per cent (leakage: of H(c))")
    label_rows(axes, [name for name, _, _ in rows])
    said = [f"{name}: from {b.estimate:.1f} to {a.estimate:.1f} per cent" for name, b, a in rows]
    return to_svg(figure, "change", "Before and after", "; ".join(said))


def _changes(report: AuditFindings) -> Iterator[tuple[str, Interval, Interval]]:
    """Name, before and after in per cent."""
    for name, found in report.attributes.items():
        for question, _ in found.after.questions if found.entropy_bits else ():
            before, after = (bits_at(found, side, question) for side, *_ in DRAWN)
            if before is not None and after is not None:
                label = name + LABELS[question]
                yield label, _share(before, found.entropy_bits), _share(after, found.entropy_bits)
    old, new = report.task.before, report.task.after
    if isinstance(old, Accuracies) and isinstance(new, Accuracies):
        yield "task accuracy", _share(old.accuracy), _share(new.accuracy)
        worst = [_point(task.worst_group_accuracy) for task in (old, new) if task.worst_group_accuracy is not None]
        if len(worst) == 2:
            yield "worst group", _share(worst[0]), _share(worst[1])
    numbers = [task.r2 for task in (old, new) if isinstance(task, RegressionFindings)]
    if len(numbers) == 2 and all(math.isfinite(r2.estimate) for r2 in numbers):
        yield "R² of the task", _share(numbers[0]), _share(numbers[1])


def _point(value: float) -> Interval:
    """A figure that has no interval, such as the least of many cells."""
    return Interval(estimate=value, lower=math.nan, upper=math.nan)


def _share(interval: Interval, whole: float = 1.0) -> Interval:
    """In per cent of the whole."""
    bounds = (interval.estimate, interval.lower, interval.upper)
    estimate, lower, upper = (100 * value / whole for value in bounds)
    return Interval(estimate=estimate, lower=lower, upper=upper)


def group_plot(report: AuditFindings, attribute: str, channel: str, *, plot_id: str) -> str:
    """Dots of accuracy per (y, c) cell (of many the lowest) with Wilson intervals, before and after, as inline SVG."""
    cells = group_cells(report, attribute, channel)
    figure, (axes,) = new_figure(len(cells), 0.33)
    for position, (after, before) in enumerate(cells):
        for row, (_, colour, sign) in zip((before, after), DRAWN, strict=True):
            if row is not None and row.accuracy is not None:
                height = position + 0.15 * sign
                whisker(axes, height, row.lower, row.upper, colour)
                axes.plot([row.accuracy], [height], marker="o", markersize=4, color=colour)
        # small cells have wide intervals: n says why
        axes.text(1.04, position, f"n = {after.n}", fontsize=8.5, color=MUTED, va="center")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("accuracy")
    label_rows(axes, [f"{a.y} / {a.c}" for a, _ in cells])
    worst = min((a.accuracy for a, _ in cells if a.accuracy is not None), default=None)
    said = "no cell is large enough" if worst is None else f"{len(cells)} cells, the lowest at {worst:.3f}"
    return to_svg(figure, plot_id, f"Accuracy by target and {attribute} ({channel})", said)


def group_cells(report: AuditFindings, attribute: str, channel: str) -> list[tuple[GroupRow, GroupRow | None]]:
    """The cells that `group_plot` draws: counted ones, after and before; the MAX_CELLS lowest if more."""

    def cells(side: Side) -> dict[tuple[str, str], GroupRow]:
        task = report.task.at(side)
        rows = () if task is None else task.groups
        own = [r for r in rows if r.attribute == attribute and r.channel == channel and r.counted]
        return {(r.y, r.c): r for r in own if r.accuracy is not None}

    before, after = cells("before"), cells("after")
    # the lowest are what a reader looks for; they keep their order, so that before and after are easy to find
    lowest = set(sorted(after, key=lambda k: after[k].accuracy or 0.0)[:MAX_CELLS])
    return [(after[k], before.get(k)) for k in after if k in lowest]
