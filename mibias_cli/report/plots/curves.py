"""Training curves from the records of metrics.jsonl: loss, accuracy, and what the critic thinks that it finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from matplotlib.axes import Axes

from mibias_cli.report.illustrations import MetricsRecord
from mibias_cli.report.plots.svg import AFTER, BEFORE, INK, MUTED, new_figure, to_svg

__all__ = ["MAX_POINTS", "curves_plot"]

MAX_POINTS = 200
"""Points of a line: more are thinned, which keeps the page small."""
MAX_PANELS = 6
_LINES = (AFTER, BEFORE, MUTED)
Line: TypeAlias = tuple[str, list[float], list[float]]
"""Label, steps and values."""
Placed: TypeAlias = tuple[float, MetricsRecord]
"""A record with its place on the axis."""


def curves_plot(metrics: Sequence[MetricsRecord], *, plot_id: str) -> str:
    """Panels of curves over the run's steps, one below the other, as inline SVG; empty where nothing was recorded."""
    records, starts = _on_one_axis(metrics)
    panels = [(title, lines) for title, lines in _panels(records) if lines][:MAX_PANELS]
    if not panels:
        return ""
    figure, axes_list = new_figure(1, 1.1, n_panels=len(panels), height=0.75)
    # one range for all panels, so that what happens at the same step stands at the same place
    steps = [x for _, lines in panels for _, line, _ in lines for x in line]
    margin = 0.02 * (max(steps) - min(steps)) or 1.0
    for axes, (title, lines) in zip(axes_list, panels, strict=True):
        _draw(axes, title, lines, starts)
        axes.set_xlim(min(steps) - margin, max(steps) + margin)
    axes_list[-1].set_xlabel("training step")
    said = "; ".join(f"{title}: {_said(lines)}" for title, lines in panels)
    return to_svg(figure, plot_id, "Training curves", said)


def _on_one_axis(metrics: Sequence[MetricsRecord]) -> tuple[list[Placed], list[float]]:
    """Records with the step that they have if stages follow one another, and where stages but the first begin."""
    placed: list[Placed] = []
    starts: list[float] = []
    offset, last, stage = 0.0, 0.0, None
    for record in metrics:
        # a record without a stage, such as the choice that is written after training, belongs to the one before it
        now = record.stage or stage
        if stage is not None and now != stage:
            # stages count their own steps; where they count on, nothing is shifted
            offset = last if record.step + offset < last else offset
            starts.append(last)
        stage = now
        last = max(last, record.step + offset)
        placed.append((record.step + offset, record))
    return placed, starts


def _panels(records: Sequence[Placed]) -> Iterator[tuple[str, list[Line]]]:
    def line(label: str, kind: str, key: str) -> list[Line]:
        found = [(x, y) for x, r in records if r.kind == kind and (y := r.figure(key)) is not None]
        # every k-th point, so that each one shown was measured
        thin = found[:: max(1, -(-len(found) // MAX_POINTS))]
        return [(label, [x for x, _ in thin], [y for _, y in thin])] if found else []

    yield "task loss", line("training", "train", "task_loss") + line("validation", "validation", "validation/loss")
    accuracies = ("accuracy", "balanced_accuracy", "weighted_accuracy")
    yield (
        "validation accuracy",
        [found for key in accuracies for found in line(key.replace("_", " "), "validation", f"validation/{key}")],
    )
    yield "validation R²", line("R²", "validation", "validation/r2")
    end = "/mi_bits"
    # in the order in which training names them
    for name in dict.fromkeys(key.removesuffix(end) for _, r in records for key in r.names if key.endswith(end)):
        # what the critic believes while it trains, beside what heads read from held-out rows
        found = line("critic, training", "train", f"{name}{end}")
        heads = line("heads, validation", "validation", f"validation/{name}/leakage_bits")
        held_out = line("critic, validation", "validation", f"validation/{name}/critic_bits")
        yield f"critic's bits of {name}", found + heads + held_out
    yield "weight of the penalty, λ", line("λ", "train", "mi_weight")


def _draw(axes: Axes, title: str, lines: Sequence[Line], starts: Sequence[float]) -> None:
    for (label, x, y), colour in zip(lines, _LINES, strict=False):
        # so few points make no line that can be seen
        marker = "o" if len(x) < 3 else None
        axes.plot(x, y, color=colour, linewidth=1.3, marker=marker, markersize=3, label=label)
    for start in starts:
        axes.axvline(start, color=INK, linewidth=0.8, linestyle=":")
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")


def _said(lines: Sequence[Line]) -> str:
    return ", ".join(f"{label} from {y[0]:.3g} to {y[-1]:.3g}" for label, _, y in lines)
