"""Static SVG plots of a report. Colours are CSS variables of the page, so that one picture serves light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["group_cells", "group_plot", "leakage_plot"]

# stand-ins that become var(--…) in the SVG; drawn for nothing else
COLOURS = {"#010203": "--ink", "#040506": "--muted", "#070809": "--before", "#0a0b0c": "--after", "#0d0e0f": "--rule"}
INK, MUTED, BEFORE, AFTER, RULE = COLOURS
WIDTH = 4.8  # inches at 72 dpi: about as wide as a phone, so that text stays readable there
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mibias",
    "text.parse_math": False,  # a `$` in a user's name is a `$`
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
MAX_CELLS = 24


def leakage_plot(report: Mapping[str, Any], key: str, *, plot_id: str) -> str:
    """Bars of leakage before and after with intervals, one row per attribute and channel, as inline SVG.

    Args:
        report: In the form of leakage.json.
        key: `leakage_bits` or `conditional_leakage_bits`.
        plot_id: Prefix of every id in the SVG, unlike that of any other plot on the page.
    """
    rows = _leakage_rows(report, key)
    figure, axes = _figure(len(rows), 0.66)
    for position, (_, before, after, entropy, target) in enumerate(rows):
        sides = [(after, AFTER, 0.2)] if before is None else [(before, BEFORE, -0.2), (after, AFTER, 0.2)]
        for interval, colour, offset in sides:
            axes.barh(position + offset, interval["estimate"], height=0.3, color=colour, linewidth=0)
            _whisker(axes, position + offset, interval["lower"], interval["upper"])
        if key == "leakage_bits":
            axes.plot([target, target], [position - 0.42, position + 0.42], color=INK, linewidth=1.2, linestyle=":")
        axes.plot([entropy, entropy], [position - 0.42, position + 0.42], color=MUTED, linewidth=1.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("bits")
    _label_rows(axes, [row[0] for row in rows])
    title = "Leakage in bits" if key == "leakage_bits" else "Leakage in bits given the target"
    said = [
        f"{name}: " + ("" if b is None else f"before {b['estimate']:.3f}, ") + f"after {a['estimate']:.3f} of {h:.3f}"
        for name, b, a, h, _ in rows
    ]
    return _svg(figure, plot_id, title, "; ".join(said))


def _leakage_rows(report: Mapping[str, Any], key: str) -> list[tuple[str, Any, Any, float, float]]:
    rows = []
    for name, found in report["attributes"].items():
        channels = found["channels"] or {"": found}
        for channel, c in channels.items():
            before = None if c["before"] is None else c["before"][key]
            label = f"{name}: {channel}" if channel else name
            rows.append((label, before, c["after"][key], c["entropy_bits"], c["target_attribute_bits"]))
    return rows


def group_plot(report: Mapping[str, Any], attribute: str, channel: str, *, plot_id: str) -> str:
    """Dots of accuracy per (y, c) cell with Wilson intervals, before and after, as inline SVG.

    Where there are many cells, the lowest.

    Args:
        report: In the form of leakage.json.
        attribute, channel: Whose cells.
        plot_id: Prefix of every id in the SVG.
    """
    cells = group_cells(report, attribute, channel)
    figure, axes = _figure(len(cells), 0.33)
    for position, (after, before) in enumerate(cells):
        for row, colour, offset in ((before, BEFORE, -0.15), (after, AFTER, 0.15)):
            if row is not None:
                _whisker(axes, position + offset, row["lower"], row["upper"], colour)
                axes.plot([row["accuracy"]], [position + offset], marker="o", markersize=4, color=colour)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("accuracy")
    _label_rows(axes, [f"{a['y']} / {a['c']} (n = {a['n']})" for a, _ in cells])
    worst = min((a["accuracy"] for a, _ in cells), default=None)
    said = "no cell is large enough" if worst is None else f"{len(cells)} cells, the lowest at {worst:.3f}"
    return _svg(figure, plot_id, f"Accuracy by target and {attribute} ({channel})", said)


def group_cells(
    report: Mapping[str, Any], attribute: str, channel: str
) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """The cells that `group_plot` draws: counted ones, after and before; the MAX_CELLS lowest if more."""

    def cells(task: Mapping[str, Any] | None) -> dict[tuple[str, str], Mapping[str, Any]]:
        rows = [] if task is None else task["groups"]
        own = [r for r in rows if r["attribute"] == attribute and r["channel"] == channel and r["counted"]]
        return {(r["y"], r["c"]): r for r in own}

    before, after = cells(report["task"]["before"]), cells(report["task"]["after"])
    lowest = sorted(after, key=lambda k: after[k]["accuracy"])[:MAX_CELLS]
    return [(after[k], before.get(k)) for k in after if k in set(lowest)]


def _figure(n_rows: int, row_height: float) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.65 + row_height * max(n_rows, 1)), layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _whisker(axes: Axes, position: float, lower: float, upper: float, colour: str = INK) -> None:
    axes.plot([lower, upper], [position, position], color=colour, linewidth=1.2, solid_capstyle="butt")


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    short = [name if len(name) <= 28 else name[:27] + "…" for name in names]
    axes.set_yticks(range(len(names)), short)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)


def _svg(figure: Figure, plot_id: str, title: str, description: str) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that matplotlib's own font lacks: the browser has them
        figure.savefig(
            buffer, format="svg", transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for stand_in, variable in COLOURS.items():
        text = text.replace(stand_in, f"var({variable})")
    text = re.sub(r'\bid="([^"]*)"', rf'id="{plot_id}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{plot_id}-", text)
    text = re.sub(r"font: ([^;\"]*)px [^;\"]*", r"font: \1px var(--font)", text)
    head = re.match(r"<svg[^>]*>", text)
    assert head is not None
    box = re.search(r'viewBox="([^"]*)"', head.group(0))
    assert box is not None
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box.group(1)}" '
        f'role="img" aria-labelledby="{plot_id}-title {plot_id}-desc">'
        f'<title id="{plot_id}-title">{escape(title)}</title>'
        f'<desc id="{plot_id}-desc">{escape(description)}</desc>'
    )
    return opening + text[head.end() :]
