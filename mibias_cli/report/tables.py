"""Tables of a report as text in cells, made once for HTML, Markdown and model cards; empty where nothing was measured.

What leaks is here; what became of the task is in `task_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mibias_cli.report.numbers import (
    ABSENT,
    format_bits,
    format_interval,
    format_p,
    format_percent,
    format_plain,
)
from mibias_cli.report.plots.leakage import leakage_rows
from mibias_cli.report.score import has_before

__all__ = [
    "Cell",
    "Line",
    "Table",
    "bits_cell",
    "channel_table",
    "column_table",
    "control_table",
    "fidelity_table",
    "headline_table",
    "layer_table",
    "other_table",
    "probe_table",
    "sides_of",
]

LEAKAGE = (("leakage_bits", ""), ("conditional_leakage_bits", ", given the target"))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: its text, and what stands below it in small print."""

    text: str
    small: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a table; the first cell is its heading. `quiet`: not counted in the figures."""

    cells: tuple[Cell, ...]
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its caption and one heading per column."""

    title: str
    caption: str
    header: tuple[str, ...]
    lines: tuple[Line, ...]

    def __bool__(self) -> bool:
        return bool(self.lines)


def bits_cell(interval: Mapping[str, Any] | None) -> Cell:
    """An estimate in bits above its interval."""
    return (
        Cell(text=ABSENT) if interval is None else Cell(text=format_bits(interval["estimate"]), small=_span(interval))
    )


def _span(interval: Mapping[str, Any]) -> str:
    return "" if interval.get("lower") is None or interval.get("upper") is None else format_interval(interval)


def sides_of(report: Mapping[str, Any]) -> tuple[str, ...]:
    """`before` and `after`, or `after` alone."""
    return ("before", "after") if has_before(report) else ("after",)


def _line(name: str, *cells: Cell | str, quiet: bool = False) -> Line:
    given = (Cell(text=cell) if isinstance(cell, str) else cell for cell in cells)
    return Line(cells=(Cell(text=name), *given), quiet=quiet)


def _titles(sides: Sequence[str], what: str = "") -> list[str]:
    return [f"{side}{f', {what}' if what else ''}".capitalize() for side in sides]


def _of(found: Mapping[str, Any], side: str, key: str) -> Mapping[str, Any] | None:
    return None if found.get(side) is None else found[side].get(key)


def headline_table(report: Mapping[str, Any]) -> Table:
    """Every attribute's leakage before and after, with the paired change."""
    sides = sides_of(report)
    lines = []
    for name, found in report["attributes"].items():
        for key, label in LEAKAGE:
            if found["after"].get(key) is None:
                continue
            cells = [bits_cell(_of(found, side, key)) for side in sides]
            change = [bits_cell(_of(found, "change", key))] if "before" in sides else []
            lines.append(_line(f"Leakage of {name}{label}", *cells, *change))
    header = ("Leakage, bits", *_titles(sides), *(["Change"] if "before" in sides else []))
    caption = f"Less is better. Small print: {100 * report['settings']['confidence']:g} % intervals."
    return Table(title="Leakage before and after", caption=caption, header=header, lines=tuple(lines))


def channel_table(report: Mapping[str, Any]) -> Table:
    """Leakage by attribute and channel, with what it is compared with."""
    sides = sides_of(report)
    lines = [
        _line(
            name,
            *(bits_cell(_of(found, side, key)) for key, _ in LEAKAGE for side in sides),
            format_bits(found["entropy_bits"]),
            format_bits(found["target_attribute_bits"]),
        )
        for name, found in leakage_rows(report)
    ]
    header = ("Attribute", *_titles(sides), *_titles(sides, "given y"), "H(c)", "I(y; c)")
    caption = "Leakage in bits by attribute and channel, with H(c) and I(y; c) on the audited split."
    return Table(title="Leakage by channel", caption=caption, header=header, lines=tuple(lines))


def control_table(report: Mapping[str, Any]) -> Table:
    """The controls beside every headline: shuffled labels, a random extractor, and what would have gone unnoticed."""
    lines = list(_control_lines(report))
    power = "Detectable: the smallest leakage that this sample detects with 80 % power."
    caption = (
        "Controls, in bits. Shuffled labels: mean and central band of the same probe's figure where the scored labels "
        "are shuffled; p: share of shuffles that reach the figure, and corrected over attributes, channels and probes "
        f"(Holm). {power}"
    )
    header = ("Attribute and side", "Leakage", "Shuffled labels", "p", "p (Holm)", "Detectable")
    return Table(title="Controls", caption=caption, header=header, lines=tuple(lines))


def _control_lines(report: Mapping[str, Any]) -> Iterator[Line]:
    for name, found in leakage_rows(report):
        sides = [(side, found.get(side)) for side in sides_of(report)]
        for side, at in [*sides, ("random extractor", found.get("random"))]:
            for (key, label), prefix in zip(LEAKAGE, ("", "conditional_"), strict=True):
                figures = [] if at is None else [at.get(prefix + k) for k in ("null", "p_value", "detectable_bits")]
                if (
                    at is None
                    or at.get(key) is None
                    or (all(figure is None for figure in figures) and side != "random extractor")
                ):
                    continue
                null = at.get(f"{prefix}null")
                band = Cell(text=ABSENT)
                if null is not None:
                    band = Cell(text=format_bits(null["mean"]), small=format_interval(null))
                yield _line(
                    f"{name}, {side}{label}",
                    bits_cell(at[key]),
                    band,
                    format_p(at.get(f"{prefix}p_value")),
                    format_p(at.get(f"{prefix}p_value_holm")),
                    format_bits(at.get(f"{prefix}detectable_bits")),
                )


def probe_table(report: Mapping[str, Any]) -> Table:
    """Every probe family on both sides; the headline is marked."""
    sides = sides_of(report)
    lines = []
    for name, found in leakage_rows(report):
        for probe in found["after"]["probes"]:
            cells = [_probe_bits(found, side, probe, prefix) for prefix in ("", "conditional_") for side in sides]
            scores = [_probe_score(found, side, probe) for side in sides]
            chance = format_percent(found["after"].get("chance_accuracy"))
            lines.append(_line(f"{name} · {probe.replace('_', ' ')}", *cells, *scores, chance))
    header = ("Attribute and probe", *_titles(sides), *_titles(sides, "given y"), *_titles(sides, "accuracy"), "Chance")
    caption = (
        "By probe, in bits. The headline probe (marked) was chosen on held-out rows of the fitting part, never on the "
        "scored part. Chance is the majority class; regressors have R² in place of an accuracy."
    )
    return Table(title="Leakage by probe", caption=caption, header=header, lines=tuple(lines))


def _probe(found: Mapping[str, Any], side: str, probe: str, prefix: str) -> Mapping[str, Any]:
    at = found.get(side) or {}
    probes: Mapping[str, Any] = at.get(f"{prefix}probes") or {}
    return probes.get(probe) or {}


def _probe_bits(found: Mapping[str, Any], side: str, probe: str, prefix: str) -> Cell:
    marked = (found.get(side) or {}).get(f"{prefix}headline_probe") == probe
    bits = _probe(found, side, probe, prefix).get("leakage_bits")
    return Cell(text=format_bits(bits), small="headline" if marked else "")


def _probe_score(found: Mapping[str, Any], side: str, probe: str) -> str:
    figures = _probe(found, side, probe, "")
    r2 = figures.get("r2")
    return f"R² {format_plain(r2)}" if r2 is not None else format_percent(figures.get("accuracy"))


def other_table(report: Mapping[str, Any]) -> Table:
    """Leakage of representations beside the audited one."""
    sides = sides_of(report)
    lines = [
        _line(
            f"{name} in {representation}",
            *(bits_cell(_of(other, side, key)) for key, _ in LEAKAGE for side in sides),
        )
        for name, found in report["attributes"].items()
        for representation, other in found.get("others", {}).items()
    ]
    header = ("Attribute and representation", *_titles(sides), *_titles(sides, "given y"))
    caption = "Leakage in bits of further representations."
    return Table(title="Leakage of further representations", caption=caption, header=header, lines=tuple(lines))


def layer_table(report: Mapping[str, Any]) -> Table:
    """Leakage by inner layer, in the network's order."""
    sides = sides_of(report)
    lines = [
        _line(
            f"{layer} · {name}",
            *(bits_cell(_of(found, side, "leakage_bits")) for side in sides),
            Cell(text=str(found["after"]["headline_probe"]).replace("_", " ")),
            format_p(found["after"].get("p_value")),
            str(found["after"]["n_features"]),
        )
        for layer, attributes in (report.get("layers") or {}).items()
        for name, found in attributes.items()
    ]
    header = ("Layer and attribute", *_titles(sides), "Probe", "p", "Features")
    caption = "Leakage in bits by inner layer, in the network's order: where the attribute sits."
    return Table(title="Leakage by layer", caption=caption, header=header, lines=tuple(lines))


def fidelity_table(report: Mapping[str, Any]) -> Table:
    """Effective rank and CKA: constant features leak nothing and are worth nothing."""
    similarity, sides = report.get("similarity") or {}, sides_of(report)

    def cells(key: str) -> list[Cell]:
        return [
            Cell(
                text=format_plain(similarity.get(f"{key}_{side}")),
                small=f"of {similarity.get(f'n_features_{side}') or ABSENT}",
            )
            for side in sides
        ]

    lines = [_line("Effective rank", *cells("effective_rank"))] if similarity else []
    if "before" in sides and similarity:
        same = "1.00" if similarity.get("cka") is not None else ABSENT
        lines.append(_line("CKA to the original", same, format_plain(similarity.get("cka"))))
        if similarity.get("original_r2") is not None:
            share = format_plain(similarity["original_r2"])
            lines.append(_line("Original recovered by a linear map, R²", "1.00", share))
    caption = "What is left of the features: directions in use, and likeness to the original's."
    return Table(title="Fidelity", caption=caption, header=("Fidelity", *_titles(sides)), lines=tuple(lines))


def column_table(report: Mapping[str, Any]) -> Table:
    """What the features still tell of columns that they should keep."""
    sides = sides_of(report)
    lines = []
    for name, found in (report.get("fidelity") or {}).get("columns", {}).items():
        after = found["after"]
        score = [
            ABSENT if found.get(side) is None
            else f"R² {format_plain(found[side]['r2'])}" if found[side].get("r2") is not None
            else format_percent(found[side].get("accuracy"))
            for side in sides
        ]  # fmt: skip
        bits = [bits_cell(_of(found, side, "information_bits")) for side in sides]
        chance = format_percent(after.get("chance_accuracy"))
        lines.append(_line(name, *bits, *score, chance, format_bits(after.get("entropy_bits"))))
    header = ("Column", *_titles(sides), *_titles(sides, "accuracy"), "Chance", "Entropy")
    caption = "What probes tell from the features of columns that should survive, in bits: more is better."
    return Table(title="Columns that should survive", caption=caption, header=header, lines=tuple(lines))
