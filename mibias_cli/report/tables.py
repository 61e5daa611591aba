"""Tables of a report as text in cells, made once for HTML, Markdown and model cards; empty where nothing was measured.

What leaks is here; what became of the task is in `task_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mibias_cli.evaluation.findings import (
    QUESTIONS,
    AuditFindings,
    ChannelFindings,
    ColumnFindings,
    Interval,
    Leakage,
    ProbeFindings,
    QuestionName,
    Side,
    Sides,
)
from mibias_cli.report.numbers import (
    ABSENT,
    format_bits,
    format_interval,
    format_p,
    format_percent,
    format_plain,
)
from mibias_cli.report.score import has_before

__all__ = [
    "LABELS",
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
    "leakage_cells",
    "leakage_rows",
    "line",
    "other_table",
    "probe_table",
    "sides_of",
    "titles",
]

LABELS: dict[QuestionName, str] = {"marginal": "", "conditional": ", given the target"}
"""What stands behind an attribute's name."""


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


def line(name: str, *cells: Cell | str, quiet: bool = False) -> Line:
    """A line from its heading and cells, or texts of cells."""
    return Line(cells=tuple(Cell(text=cell) if isinstance(cell, str) else cell for cell in (name, *cells)), quiet=quiet)


def sides_of(report: AuditFindings) -> tuple[Side, ...]:
    """`before` and `after`, or `after` alone."""
    return ("before", "after") if has_before(report) else ("after",)


def titles(sides: Sequence[Side], what: str = "") -> list[str]:
    """A column heading for each side."""
    return [f"{side}{f', {what}' if what else ''}".capitalize() for side in sides]


def bits_cell(interval: Interval | None) -> Cell:
    """An estimate in bits above its interval."""
    if interval is None:
        return Cell(text=ABSENT)
    small = format_interval(interval)
    return Cell(text=format_bits(interval.estimate), small="" if ABSENT in small else small)


def leakage_cells(found: ChannelFindings | Sides[Leakage], question: QuestionName, sides: Sequence[Side]) -> list[Cell]:
    """The answer to one question, side by side."""
    return [bits_cell(_bits(found.at(side), question)) for side in sides]


def _bits(leakage: Leakage | None, question: QuestionName) -> Interval | None:
    answer = None if leakage is None else leakage.answer(question)
    return None if answer is None else answer.leakage_bits


def leakage_rows(report: AuditFindings) -> list[tuple[str, ChannelFindings]]:
    """Name and findings of every channel, of the attribute itself where it has but one."""
    return [
        (f"{name}: {channel}" if channel else name, found)
        for name, attribute in report.attributes.items()
        for channel, found in (attribute.channels or {"": attribute}).items()
    ]


def headline_table(report: AuditFindings) -> Table:
    """Every attribute's leakage before and after, with the paired change."""
    sides = sides_of(report)
    lines = []
    for name, found in report.attributes.items():
        for question, _ in found.after.questions:
            change = None if found.change is None else found.change.answer(question)
            cells = leakage_cells(found, question, sides) + ([bits_cell(change)] if "before" in sides else [])
            lines.append(line(f"Leakage of {name}{LABELS[question]}", *cells))
    header = ("Leakage, bits", *titles(sides), *(["Change"] if "before" in sides else []))
    caption = f"Less is better. Small print: {100 * report.settings.confidence:g} % intervals."
    return Table(title="Leakage before and after", caption=caption, header=header, lines=tuple(lines))


def channel_table(report: AuditFindings) -> Table:
    """Leakage by attribute and channel, with what it is compared with."""
    sides = sides_of(report)
    lines = [
        line(
            name,
            *(cell for question in QUESTIONS for cell in leakage_cells(found, question, sides)),
            format_bits(found.entropy_bits),
            format_bits(found.target_attribute_bits),
        )
        for name, found in leakage_rows(report)
    ]
    header = ("Attribute", *titles(sides), *titles(sides, "given y"), "H(c)", "I(y; c)")
    caption = "Leakage in bits by attribute and channel, with H(c) and I(y; c) on the audited split."
    return Table(title="Leakage by channel", caption=caption, header=header, lines=tuple(lines))


def control_table(report: AuditFindings) -> Table:
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


def _control_lines(report: AuditFindings) -> Iterator[Line]:
    for name, found in leakage_rows(report):
        for side, leakage in [
            *((side, found.at(side)) for side in sides_of(report)),
            ("random extractor", found.random),
        ]:
            for question, answer in () if leakage is None else leakage.questions:
                controls = (answer.null, answer.p_value, answer.detectable_bits)
                # the random extractor is a control itself; a side without any has nothing to show
                if all(control is None for control in controls) and side != "random extractor":
                    continue
                null = answer.null
                band = Cell(text=ABSENT)
                if null is not None:
                    band = Cell(text=format_bits(null.mean), small=format_interval(null))
                yield line(
                    f"{name}, {side}{LABELS[question]}",
                    bits_cell(answer.leakage_bits),
                    band,
                    format_p(answer.p_value),
                    format_p(answer.p_value_holm),
                    format_bits(answer.detectable_bits),
                )


def probe_table(report: AuditFindings) -> Table:
    """Every probe family on both sides; the headline is marked."""
    sides = sides_of(report)
    lines = []
    for name, found in leakage_rows(report):
        for probe in found.after.marginal.probes:
            cells = [_probe_cell(found.at(side), question, probe) for question in QUESTIONS for side in sides]
            scores = [_probe_score(found.at(side), probe) for side in sides]
            chance = format_percent(found.after.chance_accuracy)
            lines.append(line(f"{name} · {probe.replace('_', ' ')}", *cells, *scores, chance))
    header = ("Attribute and probe", *titles(sides), *titles(sides, "given y"), *titles(sides, "accuracy"), "Chance")
    caption = (
        "By probe, in bits. The headline probe (marked) was chosen on held-out rows of the fitting part, never on the "
        "scored part. Chance is the majority class; regressors have R² in place of an accuracy."
    )
    return Table(title="Leakage by probe", caption=caption, header=header, lines=tuple(lines))


def _probe_cell(leakage: Leakage | None, question: QuestionName, probe: str) -> Cell:
    answer = None if leakage is None else leakage.answer(question)
    if answer is None:
        return Cell(text=ABSENT)
    bits = answer.probes[probe].leakage_bits if probe in answer.probes else None
    return Cell(text=format_bits(bits), small="headline" if answer.headline_probe == probe else "")


def _probe_score(leakage: Leakage | None, probe: str) -> str:
    if leakage is None or probe not in leakage.marginal.probes:
        return ABSENT
    return _score(leakage.marginal.probes[probe])


def _score(found: ProbeFindings | ColumnFindings) -> str:
    return format_percent(found.accuracy) if found.r2 is None else f"R² {format_plain(found.r2)}"


def other_table(report: AuditFindings) -> Table:
    """Leakage of representations beside the audited one."""
    sides = sides_of(report)
    lines = [
        line(
            f"{name} in {representation}",
            *(cell for question in QUESTIONS for cell in leakage_cells(other, question, sides)),
        )
        for name, found in report.attributes.items()
        for representation, other in found.others.items()
    ]
    header = ("Attribute and representation", *titles(sides), *titles(sides, "given y"))
    caption = "Leakage in bits of further representations."
    return Table(title="Leakage of further representations", caption=caption, header=header, lines=tuple(lines))


def layer_table(report: AuditFindings) -> Table:
    """Leakage by inner layer, in the network's order."""
    sides = sides_of(report)
    lines = []
    for layer, attributes in report.layers.items():
        for name, found in attributes.items():
            given = [found.at(side) for side in sides]
            lines.append(
                line(
                    f"{layer} · {name}",
                    *(bits_cell(None if side is None else side.leakage_bits) for side in given),
                    found.after.headline_probe.replace("_", " "),
                    format_p(found.after.p_value),
                    str(found.after.n_features),
                )
            )
    header = ("Layer and attribute", *titles(sides), "Probe", "p", "Features")
    caption = "Leakage in bits by inner layer, in the network's order: where the attribute sits."
    return Table(title="Leakage by layer", caption=caption, header=header, lines=tuple(lines))


def fidelity_table(report: AuditFindings) -> Table:
    """Effective rank and CKA: constant features leak nothing and are worth nothing."""
    similarity, sides = report.similarity, sides_of(report)

    def rank(value: float | None, n_features: int | None) -> Cell:
        return Cell(text=format_plain(value), small=f"of {n_features or ABSENT}")

    ranks = {
        "before": rank(similarity.effective_rank_before, similarity.n_features_before),
        "after": rank(similarity.effective_rank_after, similarity.n_features_after),
    }
    lines = [line("Effective rank", *(ranks[side] for side in sides))]
    if "before" in sides:
        same = ABSENT if format_plain(similarity.cka) == ABSENT else "1.00"
        lines.append(line("CKA to the original", same, format_plain(similarity.cka)))
        if similarity.original_r2 is not None:
            share = format_plain(similarity.original_r2)
            lines.append(line("Original recovered by a linear map, R²", "1.00", share))
    caption = "What is left of the features: directions in use, and likeness to the original's."
    return Table(title="Fidelity", caption=caption, header=("Fidelity", *titles(sides)), lines=tuple(lines))


def column_table(report: AuditFindings) -> Table:
    """What the features still tell of columns that they should keep."""
    sides = sides_of(report)
    lines = []
    for name, found in report.fidelity.columns.items():
        given = [found.at(side) for side in sides]
        bits = [bits_cell(None if side is None else side.information_bits) for side in given]
        scores = [ABSENT if side is None else _score(side) for side in given]
        after = found.after
        lines.append(line(name, *bits, *scores, format_percent(after.chance_accuracy), format_bits(after.entropy_bits)))
    header = ("Column", *titles(sides), *titles(sides, "accuracy"), "Chance", "Entropy")
    caption = "What probes tell from the features of columns that should survive, in bits: more is better."
    return Table(title="Columns that should survive", caption=caption, header=header, lines=tuple(lines))
