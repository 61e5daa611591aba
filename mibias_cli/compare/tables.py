"""Runs and groups of runs as tables, for the page and for terminals: columns for what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from mibias_cli.compare.frontier import score_name
from mibias_cli.compare.methods import METHOD, compares_methods, reads_bias
from mibias_cli.compare.records import AttributeOfGroup, Comparison, Row, Spread, written
from mibias_cli.report.numbers import ABSENT, SPACE, format_bits, format_decimals, format_percent
from mibias_cli.report.tables import Cell, Table, bits_cell, line, score_cell
from mibias_cli.report.task.score import REFITTED

__all__ = ["group_table", "head_table", "run_table", "shared_table"]

STAR = "★"
CHOSEN, AS_GOOD = "◆", "◇"


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A heading and a cell for each line; `always`: shown, too, where all lines say the same."""

    heading: str
    cells: Sequence[Cell]
    always: bool = False


def group_table(comparison: Comparison, *, brief: bool = False) -> Table:
    """A line per group of runs that differ in seeds alone: means, with their spread or interval in small print.

    Args:
        brief: The headline figures alone, as a terminal has room for.
    """
    groups = comparison.groups
    columns = [_settings(comparison)]
    if compares_methods(comparison) and not brief:
        reads = _texts("Reads the bias", [reads_bias(group.settings[METHOD]) for group in groups])
        columns.append(replace(reads, always=True))
    columns += [
        _figures(_heading(comparison), [g.score for g in groups], format_percent),
        _figures("Worst group", [g.worst_group_accuracy for g in groups], format_percent),
    ]
    for name in comparison.attributes:
        columns += _attribute_columns(comparison, name, brief)
    # training writes net gains only where validation data allow it
    has_gain = any(group.net_gain_bits is not None for group in groups)
    marks = [
        f" {CHOSEN}"
        if group.number == comparison.chosen
        else f" {AS_GOOD}"
        if group.number in comparison.as_good
        else ""
        for group in groups
    ]
    columns.append(_figures("Net gain, bits", [g.net_gain_bits for g in groups], format_bits, marks))
    return _table("Groups of runs", _caption(comparison, has_gain), columns, _quiet(comparison))


def head_table(comparison: Comparison) -> Table:
    """The trained heads' own figures by group: what a method does to the head alone shows here; empty without heads."""
    groups = comparison.groups
    columns = [
        _settings(comparison),
        _figures("Accuracy", [g.head_accuracy for g in groups], format_percent),
        _figures("Worst group", [g.head_worst_group_accuracy for g in groups], format_percent),
    ]
    for name in comparison.attributes:
        parity = [group.of(name).head_demographic_parity_difference for group in groups]
        columns.append(_figures(f"Parity difference by {name}", parity, format_decimals))
    caption = "What the trained heads themselves predict, where the table above has heads that were fitted anew."
    table = _table("Trained heads", caption, columns, _quiet(comparison))
    return table if len(table.header) > 1 else replace(table, lines=())


def _caption(comparison: Comparison, has_gain: bool) -> str:
    grouped = any(len(group.runs) > 1 for group in comparison.groups)
    parts = [
        "Means over runs that differ in seeds alone; small print: standard deviation."
        if grouped
        else "Small print: intervals of the audit."
    ]
    if comparison.same_data:
        parts.append(f"{STAR}: no other leaks less at no less accuracy.")
    if has_gain:
        parts.append(
            "Net gain, on validation rows: information of the scores on the target beyond the attributes, less "
            "information of the features on the attributes beyond the target."
        )
    if comparison.chosen is not None:
        parts.append(f"{CHOSEN}: chosen by it, without unbiased data.")
    if comparison.as_good:
        parts.append(f"{AS_GOOD}: less than a standard error below it, so as good as far as the data can tell.")
    return " ".join(parts)


def _settings(comparison: Comparison) -> _Column:
    """What each group is."""
    cells = [
        Cell(
            text=comparison.label(group),
            small=f"{len(group.runs)} {'run' if len(group.runs) == 1 else 'runs'}"
            + (f", {group.collapsed} collapsed" if group.collapsed else ""),
        )
        for group in comparison.groups
    ]
    keys = comparison.settings
    return _Column(heading=keys[0] if len(keys) == 1 else "Setting", cells=cells, always=True)


def _quiet(comparison: Comparison) -> list[bool]:
    return [bool(group.collapsed) for group in comparison.groups]


def _attribute_columns(comparison: Comparison, name: str, brief: bool) -> list[_Column]:
    found = [group.of(name) for group in comparison.groups]
    marks = [f" {STAR}" if at.on_frontier else "" for at in found]

    def spreads(figure: Callable[[AttributeOfGroup], Spread | None]) -> list[Spread | None]:
        return [figure(at) for at in found]

    leakage = _figures(f"Leakage of {name}, bits", spreads(lambda at: at.leakage_bits), format_bits, marks)
    parities = spreads(lambda at: at.demographic_parity_difference)
    parity = _figures(f"Parity difference by {name}", parities, format_decimals)
    if brief:
        return [leakage, parity]
    given = spreads(lambda at: at.conditional_leakage_bits)
    odds = spreads(lambda at: at.equalized_odds_difference)
    return [
        leakage,
        _figures(f"Leakage of {name} given the target, bits", given, format_bits),
        parity,
        _figures(f"Equalized odds difference by {name}", odds, format_decimals),
    ]


def _figures(
    heading: str, spreads: Sequence[Spread | None], form: Callable[[float], str], marks: Sequence[str] = ()
) -> _Column:
    marks = marks or [""] * len(spreads)
    cells = [_spread(found, form, mark) for found, mark in zip(spreads, marks, strict=True)]
    return _Column(heading=heading, cells=cells, always=True)


def _spread(found: Spread | None, form: Callable[[float], str], mark: str) -> Cell:
    if found is None:
        return Cell(text=ABSENT)
    small = ""
    if found.sd is not None:
        small = f"± {form(found.sd)}"
    elif found.interval is not None:
        # a single run has no spread, but its audit has intervals; the unit stands once
        small = f"{form(found.interval.lower).removesuffix(f'{SPACE}%')} to {form(found.interval.upper)}"
    return Cell(text=form(found.mean) + mark, small=small)


def run_table(comparison: Comparison, links: Sequence[str] = ()) -> Table:
    """A line per run, before → after; `links` lead to each run's own report, where there is one (else empty)."""
    runs = comparison.runs
    links = links or [""] * len(runs)
    columns = [
        _Column(heading="Run", cells=[_name(run, link) for run, link in zip(runs, links, strict=True)], always=True),
        *(
            _Column(heading=key, cells=[Cell(text=written(run.settings[key])) for run in runs], always=True)
            for key in comparison.varied
        ),
        _Column(heading=f"{_heading(comparison)}, before", cells=[score_cell(run.score.before) for run in runs]),
        _Column(heading=f"{_heading(comparison)}, after", cells=[score_cell(r.score.after) for r in runs], always=True),
        _texts("Worst group", [_worst(run) for run in runs]),
    ]
    for name in comparison.attributes:
        columns += _columns_of(runs, name)
    columns += [
        _texts("Gain over bias", [format_bits(run.gain_over_bias_bits) for run in runs]),
        _texts("Leakage given target", [format_bits(run.leakage_given_target_bits) for run in runs]),
        _texts("Rank", [format_decimals(run.effective_rank, 2) for run in runs]),
        _texts("CKA", [format_decimals(run.cka, 2) for run in runs]),
        _texts("Gates", [run.gates or ABSENT for run in runs]),
    ]
    caption = (
        "Leakage in bits with intervals, task accuracy, effective rank, likeness to the original (CKA); information on "
        "validation rows in bits."
    )
    return _table("Runs", caption, columns, [run.collapsed for run in runs])


def _worst(run: Row) -> str:
    return format_percent(None if run.task.after is None else run.task.after.worst_group_accuracy)


def _columns_of(runs: Sequence[Row], name: str) -> list[_Column]:
    """Of one attribute; every run has the same columns, also one that was audited for other attributes."""
    before = [bits_cell(run.leakage_of(name, "before")) for run in runs]
    after = [bits_cell(run.leakage_of(name, "after")) for run in runs]
    return [
        _Column(heading=f"{name}, before", cells=before),
        _Column(heading=f"{name}, after", cells=after, always=True),
        _Column(heading=f"Parity difference by {name}", cells=[_parity(run, name) for run in runs]),
    ]


def _parity(run: Row, name: str) -> Cell:
    return bits_cell(run.fairness_of(name).demographic_parity_difference)


def _name(run: Row, link: str) -> Cell:
    return Cell(text=run.name, small="collapsed" if run.collapsed else "", link=quote(link))


def _texts(heading: str, texts: Sequence[str]) -> _Column:
    return _Column(heading=heading, cells=[Cell(text=text) for text in texts])


def _table(title: str, caption: str, columns: Sequence[_Column], quiet: Sequence[bool]) -> Table:
    """The columns as a table, without those that hold nothing; what is the same in all lines is said in the caption."""
    known = [column for column in columns if any(cell.text != ABSENT for cell in column.cells)]
    same = [c for c in known if len(c.cells) > 1 and not c.always and all(cell == c.cells[0] for cell in c.cells)]
    if same:
        caption += f" The same in all: {', '.join(f'{c.heading} {c.cells[0].text}' for c in same)}."
    shown = [column for column in known if column not in same]
    rows = zip(*(column.cells for column in shown), strict=True)
    lines = tuple(line(*cells, quiet=dull) for cells, dull in zip(rows, quiet, strict=True))
    return Table(title=title, caption=caption, header=tuple(column.heading for column in shown), lines=lines)


def shared_table(comparison: Comparison) -> Table:
    """The settings that all runs share."""
    return Table(
        title="Settings of all runs",
        caption="What every run's recipe says, defaults included.",
        header=("Setting", "Value"),
        lines=tuple(line(key, written(value)) for key, value in comparison.shared.items()),
    )


def _heading(comparison: Comparison) -> str:
    name = score_name(comparison)
    title = "Accuracy" if name == "task accuracy" else name[0].upper() + name[1:]
    # the trained heads' own stands in a table, and a plane, of its own
    has_heads = any(group.head_accuracy is not None for group in comparison.groups)
    return f"{title} ({REFITTED})" if has_heads else title
