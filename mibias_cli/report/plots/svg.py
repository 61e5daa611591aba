"""Static SVG for reports: figures by matplotlib whose colours are CSS variables of the page that holds them."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mibias_cli.evaluation.leakage_findings import Side

__all__ = [
    "AFTER", "BEFORE", "DRAWN", "INK", "MUTED", "PAPER", "RULE", "WIDTH", "label_rows", "new_figure", "shorten",
    "standalone", "to_svg", "whisker",
]  # fmt: skip

# stand-ins that become var(--…) in the SVG; drawn for nothing else
COLOURS = {
    "#010203": "--ink",
    "#040506": "--muted",
    "#070809": "--before",
    "#0a0b0c": "--after",
    "#0d0e0f": "--rule",
    "#101112": "--paper",
}
INK, MUTED, BEFORE, AFTER, RULE, PAPER = COLOURS
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
LIGHT = "--paper:#fff;--ink:#1c2024;--muted:#5b6470;--rule:#d5dae0;--before:#b4530a;--after:#0a6bb4"
DARK = "--paper:#15181c;--ink:#e8eaed;--muted:#a3adb8;--rule:#3a424b;--before:#f0a35e;--after:#6db7f2"
MAX_LABEL = 28


def new_figure(n_rows: int, row_height: float, *, n_panels: int = 1, height: float = 0.65) -> tuple[Figure, list[Axes]]:
    """A figure as wide as the page's column: panels one below the other, each of rows and a margin.

    `row_height`, and `height`, which a panel needs beside its rows, are in inches.
    """
    with matplotlib.rc_context(STYLE):
        size = (WIDTH, n_panels * (height + row_height * max(n_rows, 1)))
        figure = Figure(figsize=size, layout="constrained")
        panels = [figure.add_subplot(n_panels, 1, k + 1) for k in range(n_panels)]
    # rows are read across: lines from top to bottom help, a frame does not
    for axes in panels:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


DRAWN: tuple[tuple[Side, str, int], ...] = (("before", BEFORE, -1), ("after", AFTER, 1))
"""Both sides of a row: colour, and whether it stands above (−1) or below (1) the row's middle."""


def whisker(axes: Axes, position: float, lower: float | None, upper: float | None, colour: str = INK) -> None:
    """A horizontal interval; nothing where a bound is missing."""
    if lower is not None and upper is not None and math.isfinite(lower) and math.isfinite(upper):
        axes.plot([lower, upper], [position, position], color=colour, linewidth=1.2, solid_capstyle="butt")


def shorten(name: str, n: int) -> str:
    """A name of at most n characters."""
    return name if len(name) <= n else name[: n - 1] + "…"


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names of the rows, from the top, cut short where they are long."""
    axes.set_yticks(range(len(names)), [shorten(name, MAX_LABEL) for name in names])
    # matplotlib counts from below, tables from above
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)


def to_svg(figure: Figure, plot_id: str, title: str, description: str) -> str:
    """A figure as SVG to put into a page, the same bytes each time.

    `plot_id` is the prefix of every id in it, unlike that of any other plot on the page; title and description are for
    screen readers.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that matplotlib's own font lacks: the browser has them
        for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
            patch.set(facecolor="none", edgecolor="none")
        # `savefig` lays the figure out in a pass of its own, and again here
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    # inline in a page there is no XML declaration, and metadata would date the file
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # the page sets the variables, so one SVG serves light and dark
    for stand_in, variable in COLOURS.items():
        text = text.replace(stand_in, f"var({variable})")
    # several plots stand in one page, so ids and what points at them need a prefix of their own
    text = re.sub(r'\bid="([^"]*)"', rf'id="{plot_id}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{plot_id}-", text)
    # the page's font, whatever matplotlib measured with
    text = re.sub(r"font: ([^;\"]*)px [^;\"]*", r"font: \1px var(--font)", text)
    # the size in points goes, the box stays: the page decides how wide a plot is
    head = re.match(r"<svg[^>]*viewBox=\"([^\"]*)\"[^>]*>", text)
    assert head is not None, "matplotlib writes a viewBox"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{head.group(1)}" '
        f'role="img" aria-labelledby="{plot_id}-title {plot_id}-desc">'
        f'<title id="{plot_id}-title">{escape(title)}</title>'
        f'<desc id="{plot_id}-desc">{escape(description)}</desc>'
    )
    return opening + text[head.end() :]


def standalone(svg: str) -> str:
    """An SVG of `to_svg` as a file of its own: with the colours that the page would give it, light and dark."""
    end = svg.index(">") + 1
    style = (
        f"<style>svg{{{LIGHT};--font:system-ui,sans-serif;background:var(--paper)}}"
        f"@media (prefers-color-scheme:dark){{svg{{{DARK}}}}}</style>"
    )
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + svg[:end] + style + svg[end:] + "\n"
