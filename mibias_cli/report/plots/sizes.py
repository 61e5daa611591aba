"""Leakage by number of fitting rows: whether more audited samples would find more."""

from __future__ import annotations

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import SizeCurve
from mibias_cli.report.plots.svg import DRAWN, INK, RULE, new_figure, to_svg

__all__ = ["size_plot"]


def size_plot(report: AuditFindings, attribute: str, *, plot_id: str) -> str:
    """Leakage of one attribute by number of fitting rows, with intervals, as inline SVG; empty where there is none."""
    sizes = report.attributes[attribute].sizes
    if sizes is None:
        return ""
    figure, (axes,) = new_figure(1, 1.7)
    sides = [(side, colour, sign, curve) for side, colour, sign in DRAWN if (curve := sizes.at(side)) is not None]
    for _, colour, sign, curve in sides:
        # rows double from point to point; sides stand a little apart, so that intervals do not hide each other
        x = [point.n_fit * (1 + 0.012 * sign * (len(sides) - 1)) for point in curve.points]
        axes.plot(
            x, [p.leakage_bits.estimate for p in curve.points], color=colour, linewidth=1.3, marker="o", markersize=4
        )
        for place, point in zip(x, curve.points, strict=True):
            ends = [point.leakage_bits.lower, point.leakage_bits.upper]
            axes.plot([place, place], ends, color=colour, linewidth=1.2, solid_capstyle="butt")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_xscale("log", base=2)
    marks = [point.n_fit for point in sizes.after.points]
    axes.set_xticks(marks, [f"{n:,}" for n in marks])
    axes.minorticks_off()
    axes.set_xlabel("samples that the probe was fitted on")
    axes.set_ylabel("bits")
    said = "; ".join(f"{side}: {_said(curve)}" for side, _, _, curve in sides)
    return to_svg(figure, plot_id, f"Leakage of {attribute} by number of samples", said)


def _said(curve: SizeCurve) -> str:
    return ", ".join(f"{p.leakage_bits.estimate:.3f} bits of {p.n_fit} samples" for p in curve.points)
