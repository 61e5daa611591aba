"""Leakage by layer: where in the network an attribute sits, before and after."""

from __future__ import annotations

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import LayerFindings, Sides
from mibias_cli.report.plots.svg import DRAWN, INK, MUTED, label_rows, new_figure, to_svg, whisker

__all__ = ["layer_plot"]

MAX_LAYERS = 40


def layer_plot(report: AuditFindings, attribute: str, *, plot_id: str) -> str:
    """Leakage of one attribute from every layer, from input to output, as inline SVG; empty where none was measured."""
    rows = [(name, found[attribute]) for name, found in report.layers.items() if attribute in found][:MAX_LAYERS]
    if not rows:
        return ""
    figure, (axes,) = new_figure(len(rows), 0.36)
    for side, colour, sign in DRAWN:
        offset = 0.1 * sign
        # the line shows where along the network leakage rises, so it joins only layers that were measured
        points = [(k, at) for k, (_, found) in enumerate(rows) if (at := found.at(side)) is not None]
        x = [at.leakage_bits.estimate for _, at in points]
        axes.plot(x, [k + offset for k, _ in points], color=colour, linewidth=1.2, marker="o", markersize=4)
        for k, at in points:
            whisker(axes, k + offset, at.leakage_bits.lower, at.leakage_bits.upper, colour)
    axes.axvline(report.attributes[attribute].entropy_bits, color=MUTED, linewidth=1.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("bits")
    label_rows(axes, [name for name, _ in rows])
    said = "; ".join(f"{name}: {_said(found)}" for name, found in rows)
    return to_svg(figure, plot_id, f"Leakage of {attribute} by layer", said)


def _said(found: Sides[LayerFindings]) -> str:
    before = "" if found.before is None else f"before {found.before.leakage_bits.estimate:.3f}, "
    return f"{before}after {found.after.leakage_bits.estimate:.3f}"
