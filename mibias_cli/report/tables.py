"""Tables of a report as text in cells, made once for HTML, Markdown and model cards; empty where nothing was measured.

What leaks is here; what became of the task is in `task.tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import (
    QUESTIONS,
    SIDES,
    ChannelFindings,
    ColumnFindings,
    Finding,
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
    format_decimals,
    format_interval,
    format_p,
    format_percent,
    format_percent_interval,
)
from mibias_cli.report.task.score import Score, has_before, has_loaded

__all__ = [
    "LABELS", "NAMES", "Cell", "Line", "Table", "bits_at", "bits_cell", "channel_table", "column_table",
    "control_table", "fidelity_table", "head_sides", "headline_table", "layer_table", "leakage_rows", "line",
    "other_table", "percent_cell", "probe_table", "score_cell", "sides_of", "size_table", "titles",
]  # fmt: skip

LABELS: dict[QuestionName, str] = {"marginal": "", "conditional": ", given the target"}
"""What stands behind an attribute's name."""
NAMES: dict[Side, str] = {"loaded": "as loaded", "before": "before", "after": "after"}
"""What a side is called."""
_N_SIZES = 4


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: its text, what stands below it in small print, and where it leads, a relative address."""

    text: str
    small: str = ""
    link: str = ""


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


def line(*cells: Cell | str, quiet: bool = False) -> Line:
    """A line from its cells, or texts of cells; the first is its heading."""
    return Line(cells=tuple(Cell(text=cell) if isinstance(cell, str) else cell for cell in cells), quiet=quiet)


def sides_of(report: AuditFindings) -> tuple[Side, ...]:
    """`after`, behind the original and the loaded weights where there are such."""
    if not has_before(report):
        return ("after",)
    return SIDES if has_loaded(report) else ("before", "after")


def _within(report: AuditFindings) -> tuple[Side, ...]:
    """The sides whose inner layers are audited: not those of weights that nobody trained on the task."""
    return tuple(side for side in sides_of(report) if side != "loaded")


def head_sides(report: AuditFindings) -> tuple[Side, ...]:
    """The sides whose heads were trained, so that their own predictions are worth a figure."""
    head = report.head
    return () if head is None else tuple(side for side in sides_of(report) if head.task.at(side) is not None)


def titles(sides: Sequence[Side], what: str = "") -> list[str]:
    """A column heading for each side."""
    return [f"{NAMES[side]}{f', {what}' if what else ''}".capitalize() for side in sides]


def bits_cell(interval: Interval | None) -> Cell:
    """An estimate in bits above its interval."""
    if interval is None:
        return Cell(text=ABSENT)
    return _cell(format_bits(interval.estimate), format_interval(interval))


def percent_cell(share: float | None, lower: float | None, upper: float | None) -> Cell:
    """A share in per cent above its interval."""
    return _cell(format_percent(share), format_percent_interval(lower, upper))


def score_cell(found: Interval | Score | None) -> Cell:
    """A figure in per cent above its interval; a dash where there is none."""
    return Cell(text=ABSENT) if found is None else percent_cell(found.estimate, found.lower, found.upper)


def _cell(text: str, interval: str) -> Cell:
    """A figure without an interval has no small print."""
    return Cell(text=text, small="" if ABSENT in interval else interval)


def _answer(leakage: Leakage | None, question: QuestionName) -> Finding | None:
    return None if leakage is None else leakage.answer(question)


def bits_at(found: ChannelFindings | Sides[Leakage], side: Side, question: QuestionName) -> Interval | None:
    """The answer to one question on one side, in bits; None where there is none."""
    answer = _answer(found.at(side), question)
    return None if answer is None else answer.leakage_bits


def _all_bits(found: ChannelFindings | Sides[Leakage], sides: Sequence[Side]) -> list[Cell]:
    """Both answers: marginal leakage on every side, then conditional leakage on every side."""
    return [bits_cell(bits_at(found, side, question)) for question in QUESTIONS for side in sides]


def leakage_rows(report: AuditFindings) -> list[tuple[str, ChannelFindings]]:
    """Name and findings of every channel, of the attribute itself where it has only one."""
    # an attribute of one channel has no list of channels: its own findings are that channel's
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
            figures = [bits_at(found, side, question) for side in sides]
            # not the difference of both estimates: its interval is from the same resamples on both sides
            if "before" in sides:
                figures.append(None if found.change is None else found.change.answer(question))
            lines.append(line(f"Leakage of {name}{LABELS[question]}", *map(bits_cell, figures)))
    caption = f"Less is better. Small print: {100 * report.settings.confidence:g} % intervals."
    header = ("Leakage, bits", *titles(sides), *(["Change"] if "before" in sides else []))
    return Table(title="Leakage before and after", caption=caption, header=header, lines=tuple(lines))


def channel_table(report: AuditFindings) -> Table:
    """Leakage by attribute and channel, with what it is compared with."""
    sides = sides_of(report)
    lines = [
        line(name, *_all_bits(found, sides), format_bits(found.entropy_bits), format_bits(found.target_attribute_bits))
        for name, found in leakage_rows(report)
    ]
    caption = "Leakage in bits by attribute and channel, with H(c) and I(y; c) on the audited split."
    header = ("Attribute", *titles(sides), *titles(sides, "given y"), "H(c)", "I(y; c)")
    return Table(title="Leakage by channel", caption=caption, header=header, lines=tuple(lines))


def control_table(report: AuditFindings) -> Table:
    """The controls beside every headline: shuffled labels, a random extractor, and what would have gone unnoticed."""
    caption = (
        "Controls, in bits. Shuffled labels: mean and central band of the same probe's figure where the scored "
        "labels are shuffled; p: share of shuffles that reach the figure, and corrected over attributes, channels and "
        "probes (Holm). Detectable: the smallest leakage that this sample detects with 80 % power."
    )
    header = ("Attribute and side", "Leakage", "Shuffled labels", "p", "p (Holm)", "Detectable")
    return Table(title="Controls", caption=caption, header=header, lines=tuple(_control_lines(report)))


def _control_lines(report: AuditFindings) -> Iterator[Line]:
    for name, found in leakage_rows(report):
        for side, leakage in (
            *((NAMES[side], found.at(side)) for side in sides_of(report)),
            ("random extractor", found.random),
        ):
            for question, answer in () if leakage is None else leakage.questions:
                null = answer.null
                # the random extractor is a control itself; a side without any has nothing to show
                controls = (null, answer.p_value, answer.detectable_bits)
                if all(control is None for control in controls) and side != "random extractor":
                    continue
                yield line(
                    f"{name}, {side}{LABELS[question]}",
                    bits_cell(answer.leakage_bits),
                    ABSENT if null is None else Cell(text=format_bits(null.mean), small=format_interval(null)),
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
            cells = [_probe_cell(_answer(found.at(side), q), probe) for q in QUESTIONS for side in sides]
            # one probe has one accuracy, whichever question its bits answer
            scores = [_score_cell(_probe(_answer(found.at(side), "marginal"), probe)) for side in sides]
            chance = format_percent(found.after.chance_accuracy)
            lines.append(line(f"{name} · {probe.replace('_', ' ')}", *cells, *scores, chance))
    caption = (
        "By probe, in bits. The headline probe (marked) was chosen on held-out rows of the fitting part, never "
        "on the scored part. Chance is the majority class, and .5 for AUROC (of several classes the mean over each "
        "against the rest); regressors have R² in place of an accuracy. The probe head reads the trained "
        "head's scores, all others read features."
    )
    header = ("Attribute and probe", *titles(sides), *titles(sides, "given y"), *titles(sides, "accuracy"), "Chance")
    return Table(title="Leakage by probe", caption=caption, header=header, lines=tuple(lines))


def _probe(answer: Finding | None, probe: str) -> ProbeFindings | None:
    return answer.probes[probe] if answer is not None and probe in answer.probes else None


def _probe_cell(answer: Finding | None, probe: str) -> Cell:
    found = _probe(answer, probe)
    headline = answer is not None and answer.headline_probe == probe
    return Cell(text=format_bits(None if found is None else found.leakage_bits), small="headline" if headline else "")


def _score_cell(found: ProbeFindings | None) -> Cell:
    ranked = None if found is None else found.auroc
    return Cell(text=_score(found), small="" if ranked is None else f"AUROC {format_decimals(ranked, 3)}")


def _score(found: ProbeFindings | ColumnFindings | None) -> str:
    if found is None:
        return ABSENT
    return format_percent(found.accuracy) if found.r2 is None else f"R² {format_decimals(found.r2, 2)}"


def other_table(report: AuditFindings) -> Table:
    """Leakage of representations beside the audited one."""
    sides = _within(report)
    lines = [
        line(f"{name} in {representation}", *_all_bits(other, sides))
        for name, found in report.attributes.items()
        for representation, other in found.others.items()
    ]
    caption = "Leakage in bits of further representations."
    header = ("Attribute and representation", *titles(sides), *titles(sides, "given y"))
    return Table(title="Leakage of further representations", caption=caption, header=header, lines=tuple(lines))


def layer_table(report: AuditFindings) -> Table:
    """Leakage by inner layer, in the network's order."""
    sides = _within(report)
    lines = [
        line(
            f"{layer} · {name}",
            *(bits_cell(None if at is None else at.leakage_bits) for at in map(found.at, sides)),
            found.after.headline_probe.replace("_", " "),
            format_p(found.after.p_value),
            str(found.after.n_features),
        )
        for layer, attributes in report.layers.items()
        for name, found in attributes.items()
    ]
    caption = "Leakage in bits by inner layer, in the network's order: where the attribute sits."
    header = ("Layer and attribute", *titles(sides), "Probe", "p", "Features")
    return Table(title="Leakage by layer", caption=caption, header=header, lines=tuple(lines))


def size_table(report: AuditFindings) -> Table:
    """The headline probe's leakage by number of fitting rows, on both sides."""
    lines = []
    for name, found in report.attributes.items():
        for side in _within(report):
            curve = None if found.sizes is None else found.sizes.at(side)
            if curve is None:
                continue
            points = [bits_cell(point.leakage_bits) for point in curve.points]
            sizes = [f"{cell.small}; n = {p.n_fit}" for cell, p in zip(points, curve.points, strict=True)]
            # of small samples the least share has no point; the last points are always the half and all
            cells = [Cell(text=ABSENT)] * (_N_SIZES - len(points))
            cells += [Cell(text=cell.text, small=small) for cell, small in zip(points, sizes, strict=True)]
            # in the first column, which stays in sight where the others do not fit
            told = "unreliable: still grows with n" if curve.grows_with_n else "settled"
            heading = Cell(
                text=f"{name}, {NAMES[side]}{LABELS[curve.question]}",
                small=f"{curve.probe.replace('_', ' ')}; {told}",
            )
            lines.append(line(heading, *cells, bits_cell(curve.last_step_bits)))
    caption = (
        "The headline's probe (named below the attribute), fitted on growing shares of the fitting rows and scored on "
        "the same rows, in bits. It still grows with n where the paired interval of the last step lies above 1 % of "
        "H(c), or of H(c | y): then more audited samples would find more."
    )
    header = ("Attribute and probe", "An eighth", "A quarter", "Half", "All", "Last step")
    return Table(title="Leakage by number of samples", caption=caption, header=header, lines=tuple(lines))


def fidelity_table(report: AuditFindings) -> Table:
    """Effective rank and CKA: constant features leak nothing and are worth nothing."""
    found, sides = report.similarity, sides_of(report)
    ranks = {
        "loaded": (found.effective_rank_loaded, found.n_features_loaded),
        "before": (found.effective_rank_before, found.n_features_before),
        "after": (found.effective_rank_after, found.n_features_after),
    }
    cells = [
        Cell(text=format_decimals(rank, 2), small=f"of {n or ABSENT}") for rank, n in (ranks[side] for side in sides)
    ]
    # what is compared with the original says nothing of weights before it
    skipped = [ABSENT] * (len(sides) - 2)
    # rank beside dimensions, because a rank of 8 is much of 10 features and little of 2048
    lines = [line("Effective rank", *cells)]
    if "before" in sides:
        # the original is like itself in full, where likeness is defined at all
        cka = format_decimals(found.cka, 2)
        lines.append(line("CKA to the original", *skipped, ABSENT if cka == ABSENT else "1.00", cka))
        # only extractors without a target are judged by the original features, so others have no such line
        if found.original_r2 is not None:
            recovered = format_decimals(found.original_r2, 2)
            lines.append(line("Original recovered by a linear map, R²", *skipped, "1.00", recovered))
    caption = "What is left of the features: directions in use, and likeness to the original's."
    header = ("Fidelity", *titles(sides))
    return Table(title="Fidelity", caption=caption, header=header, lines=tuple(lines))


def column_table(report: AuditFindings) -> Table:
    """What the features still tell of columns that they should keep."""
    sides = sides_of(report)
    lines = [
        line(
            name,
            *(bits_cell(None if at is None else at.information_bits) for at in map(found.at, sides)),
            *(_score(at) for at in map(found.at, sides)),
            format_percent(found.after.chance_accuracy),
            format_bits(found.after.entropy_bits),
        )
        for name, found in report.fidelity.columns.items()
    ]
    caption = "What probes tell from the features of columns that should survive, in bits: more is better."
    header = ("Column", *titles(sides), *titles(sides, "accuracy"), "Chance", "Entropy")
    return Table(title="Columns that should survive", caption=caption, header=header, lines=tuple(lines))
