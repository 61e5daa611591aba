"""Leakage by layer: where in the network an attribute sits, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibias_cli.report.plots.svg import AFTER, BEFORE, INK, MUTED, label_rows, new_figure, to_svg, whisker

__all__ = ["layer_plot"]

MAX_LAYERS = 40


def layer_plot(report: Mapping[str, Any], attribute: str, *, plot_id: str) -> str:
    """Leakage of one attribute from every layer, one row each from input to output, as inline SVG.

    Empty where no layer was measured.

    Args:
        report: In the form of leakage.json.
        attribute: Whose leakage.
        plot_id: Prefix of every id in the SVG.
    """
    layers = report.get("layers") or {}
    rows = [(name, found[attribute]) for name, found in layers.items() if attribute in found][:MAX_LAYERS]
    if not rows:
        return ""
    figure, (axes,) = new_figure(len(rows), 0.36)
    for side, colour, offset in (("before", BEFORE, -0.1), ("after", AFTER, 0.1)):
        points = [(k, found[side]) for k, (_, found) in enumerate(rows) if found.get(side) is not None]
        x = [found["leakage_bits"]["estimate"] for _, found in points]
        axes.plot(x, [k + offset for k, _ in points], color=colour, linewidth=1.2, marker="o", markersize=4)
        for k, found in points:
            whisker(axes, k + offset, found["leakage_bits"]["lower"], found["leakage_bits"]["upper"], colour)
    entropy = report["attributes"].get(attribute, {}).get("entropy_bits")
    if entropy is not None:
        axes.axvline(entropy, color=MUTED, linewidth=1.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("bits")
    label_rows(axes, [name for name, _ in rows])
    said = "; ".join(f"{name}: {_said(found)}" for name, found in rows)
    return to_svg(figure, plot_id, f"Leakage of {attribute} by layer", said)


def _said(found: Mapping[str, Any]) -> str:
    sides = [(side, found[side]) for side in ("before", "after") if found.get(side) is not None]
    return ", ".join(f"{side} {at['leakage_bits']['estimate']:.3f}" for side, at in sides)
