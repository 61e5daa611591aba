"""Several runs side by side as one self-contained HTML page, and as tables for terminals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup
from pydantic import JsonValue

from mibias_cli.compare.comparison import Comparison, Spread
from mibias_cli.compare.frontier import frontier_plot, score_name
from mibias_cli.report.html import page_environment
from mibias_cli.report.numbers import ABSENT, format_bits, format_decimals, format_percent
from mibias_cli.report.plots.svg import standalone
from mibias_cli.report.tables import Cell, Table, bits_cell, line, score_cell
from mibias_cli.report.write import write_files

__all__ = ["frontier_plots", "group_table", "render_comparison", "run_table", "write_comparison"]


def render_comparison(comparison: Comparison) -> str:
    """The page: the frontier of every attribute, the groups with their spread over seeds, and every run."""
    page = page_environment().get_template("compare.html.j2")
    return page.render(
        c=comparison,
        plots=[(name, Markup(svg)) for name, svg in frontier_plots(comparison).items()],
        groups=group_table(comparison),
        runs=run_table(comparison),
        has_spread=any(len(group.runs) > 1 for group in comparison.groups),
    )


def frontier_plots(comparison: Comparison) -> dict[str, str]:
    """The frontier of every attribute, as inline SVG."""
    names = comparison.attributes
    return {name: frontier_plot(comparison, name, plot_id=f"frontier-{k}") for k, name in enumerate(names)}


def group_table(comparison: Comparison) -> Table:
    """A line per group of runs that differ in seeds alone: means, with their spread in small print."""
    names = comparison.attributes
    # training writes net gains only where validation data allow it
    has_gain = any(group.net_gain_bits is not None for group in comparison.groups)
    lines = []
    for group in comparison.groups:
        collapsed = f"{group.collapsed} of {len(group.runs)} collapsed" if group.collapsed else ""
        cells = [_spread(group.score, format_percent), _spread(group.worst_group_accuracy, format_percent)]
        for name in names:
            found = group.attributes.get(name)
            bits = None if found is None else found.leakage_bits
            cells.append(_spread(bits, format_bits, " ★" if found is not None and found.on_frontier else ""))
        if has_gain:
            mark = " ◆" if group.number == comparison.chosen else ""
            cells.append(_spread(group.net_gain_bits, format_bits, mark))
        heading = Cell(text=f"{group.number}: {group.name}", small=collapsed)
        lines.append(line(heading, str(len(group.runs)), *cells, quiet=bool(group.collapsed)))
    choice = ""
    if has_gain:
        choice = (
            " Net gain, on validation rows: information of the scores on the target beyond the attributes, less "
            "information of the features on the attributes beyond the target. ◆: chosen by it, without unbiased data."
        )
    leakage = [f"Leakage of {name}, bits" for name in names]
    caption = (
        "Means over runs that differ in seeds alone; small print: standard deviation, least to greatest. "
        f"★: no other group leaks less at no less accuracy.{choice}"
    )
    header = ("Setting", "Runs", _heading(comparison), "Worst group", *leakage, *["Net gain, bits"] * has_gain)
    return Table(title="Groups of runs", caption=caption, header=header, lines=tuple(lines))


def _spread(found: Spread | None, written: Callable[[float], str], mark: str = "") -> Cell:
    if found is None:
        return Cell(text=ABSENT + mark)
    # a single run has no spread
    small = "" if found.sd is None else f"± {written(found.sd)}, {written(found.min)} to {written(found.max)}"
    return Cell(text=written(found.mean) + mark, small=small)


def run_table(comparison: Comparison) -> Table:
    """A line per run, before → after."""
    names = comparison.attributes
    has_gain = any(run.net_gain_bits is not None for run in comparison.runs)
    lines = []
    for run in comparison.runs:
        scores = [score_cell(score) for score in (run.score.before, run.score.after)]
        worst = None if run.task.after is None else run.task.after.worst_group_accuracy
        # every run has the same columns, also one that was audited for other attributes
        leakage: list[Cell] = []
        for name in names:
            found = run.attributes.get(name)
            sides = (None, None) if found is None else (found.before, found.after)
            leakage += [bits_cell(None if side is None else side.leakage_bits) for side in sides]
        gains = [format_bits(bits) for bits in (run.gain_over_bias_bits, run.leakage_given_target_bits)]
        lines.append(
            line(
                Cell(text=run.name, small="collapsed" if run.collapsed else ""),
                *(_written(run.settings[key]) for key in comparison.varied),
                *scores,
                format_percent(worst),
                *leakage,
                *(gains if has_gain else ()),
                format_decimals(run.effective_rank, 2),
                format_decimals(run.cka, 2),
                run.gates or ABSENT,
                quiet=run.collapsed,
            )
        )
    header = (
        "Run",
        *comparison.varied,
        f"{_heading(comparison)}, before",
        "after",
        "Worst group",
        *(f"{name}, {side}" for name in names for side in ("before", "after")),
        *(("Gain over bias", "Leakage given target") if has_gain else ()),
        "Rank",
        "CKA",
        "Gates",
    )
    caption = "Every run: leakage in bits with intervals, task accuracy, effective rank, CKA to its original."
    return Table(title="Runs", caption=caption, header=header, lines=tuple(lines))


def _heading(comparison: Comparison) -> str:
    name = score_name(comparison)
    return "Accuracy" if name == "task accuracy" else name[0].upper() + name[1:]


def _written(value: JsonValue) -> str:
    # as YAML writes them
    return ABSENT if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write compare.html, compare.json and frontier-ATTRIBUTE.svg, in place of those of an earlier comparison.

    A comparison holds nothing that the runs do not, so nothing is lost. Gives the path of compare.html.

    Raises:
        RunError: The folder cannot be written.
    """
    page = folder / "compare.html"
    texts = {page: render_comparison(comparison), folder / "compare.json": comparison.to_json()}
    for k, (name, svg) in enumerate(frontier_plots(comparison).items()):
        # names of attributes may hold what names of files may not, and two of them may then be the same
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or str(k)
        path = folder / f"frontier-{plain}.svg"
        texts[path if path not in texts else folder / f"frontier-{plain}-{k}.svg"] = standalone(svg)
    write_files(texts, "comparison")
    return page
