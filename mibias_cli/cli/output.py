"""How commands print what they found: text for people, JSON for programs, tables; a leakage report, a dry run."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from mibias_cli.cli.options import ReportFormat
from mibias_cli.cli.progress import is_terminal
from mibias_cli.cli.streams import unescaped
from mibias_cli.output.text import one_line, wrapped
from mibias_cli.run_folder import NO_SIGNAL

if TYPE_CHECKING:
    from mibias_cli.evaluation.findings import Similarity
    from mibias_cli.evaluation.leakage_findings import Interval, Side
    from mibias_cli.evaluation.task_findings import Accuracies, RegressionFindings
    from mibias_cli.report.document import Report
    from mibias_cli.run.dry_run import DryRun

    Task: TypeAlias = Accuracies | RegressionFindings

__all__ = [
    "MAX_COLUMNS",
    "aligned",
    "count_table",
    "dry_run_lines",
    "plain_table",
    "print_found",
    "print_table",
    "print_words",
    "report_rows",
    "show_report",
]

MAX_COLUMNS = 12
"""Wider tables of samples are cut."""
MAX_WIDTH = 100
"""Characters of a line of words."""


def print_found(found: object, lines: Iterable[str], output: ReportFormat | None) -> None:
    """Print a result to stdout, as text or as JSON; without a wish, text on a terminal and JSON elsewhere."""
    if output == "text" or (output is None and is_terminal(sys.stdout, os.environ)):
        print("\n".join(_fitted(line, sys.stdout) for line in lines))
    else:
        print(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))


def aligned(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    """Rows as lines of text, their columns two spaces apart.

    Example:
        >>> aligned([["", "a"], ["row", "1"]])
        ['     a', 'row  1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = str.rjust if right else str.ljust
    return ["  ".join(map(pad, row, widths)).rstrip() for row in rows]


def count_table(classes: Sequence[str], rows: Iterable[tuple[str, Iterable[int]]]) -> list[str]:
    """Numbers of samples as lines of text: attribute classes across, a named row for each target class."""
    return aligned([["", *classes], *([name, *(f"{n:,}" for n in counts)] for name, counts in rows)], right=True)


def print_table(
    text: Iterable[str],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[Sequence[str]],
    below: Sequence[Sequence[str]] = (),
) -> None:
    """Print cells to stderr: by Rich on a terminal, each in its style, the first column left; as `text` elsewhere.

    What stands `below` the cells, for each of them or for none, is in fainter print on a terminal. One that is too
    narrow for a column's longest words has a line for each cell: a table would cut figures.
    """
    if not is_terminal(sys.stderr, os.environ):
        print("\n".join(map(one_line, text)), file=sys.stderr, flush=True)
        return
    lines = [header, *rows, *below]
    longest = (max(map(len, " ".join(column).split()), default=0) for column in zip(*lines, strict=True))
    if sum(longest) + 3 * (len(header) - 1) > (width := shutil.get_terminal_size().columns):
        for k, cells in enumerate(rows):
            smalls = [f" ({small})" if small else "" for small in below[k]] if below else [""] * len(cells)
            for name, figure, small in zip(["", *(f"  {name}: " for name in header[1:])], cells, smalls, strict=True):
                print(wrapped(one_line(name + figure + small), width), file=sys.stderr)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for k, name in enumerate(header):
        table.add_column(Text(one_line(name)), justify="right" if k else "left")
    # as Text: a cell may hold brackets, which Rich would read as markup
    for k, (cells, row_styles) in enumerate(zip(rows, styles, strict=True)):
        row = [Text(one_line(cell), style=style) for cell, style in zip(cells, row_styles, strict=True)]
        for cell, small in zip(row, below[k] if below else (), strict=bool(below)):
            if small:
                cell.append(f"\n{one_line(small)}", style="dim")
        table.add_row(*row)
    Console(file=unescaped(sys.stderr), highlight=False).print(table)


def print_words(sentence: str) -> None:
    """Print a sentence to stderr, broken between words, which a terminal does not do."""
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) if is_terminal(sys.stderr, os.environ) else MAX_WIDTH
    print(wrapped(one_line(sentence), max(width, 40)), file=sys.stderr, flush=True)


def _fitted(line: str, stream: TextIO) -> str:
    """A line as it is; on a terminal broken between words, which a terminal does not do."""
    text, width = one_line(line), shutil.get_terminal_size().columns
    return wrapped(text, width) if is_terminal(stream, os.environ) and len(text) > width >= 40 else text


Row: TypeAlias = tuple[str, ...]
"""One line of the table: title, as loaded (where that is a side), before, after."""


def show_report(report: Report, warned: Collection[str] = ()) -> None:
    """Print the verdict in words and the headline figures to stderr: a Rich table on a terminal, else aligned text.

    Warnings that the command has `warned` of already are not said again.
    """
    from mibias_cli.report.training import as_sentence

    rows = report_rows(report)
    said = {each.line for each in report.training_warnings if each.told in warned} | set(map(as_sentence, warned))
    for warning in (each for each in report.warnings if each not in said):
        print(_fitted(f"warning: {warning}", sys.stderr), file=sys.stderr, flush=True)
    told = {each.told for each in report.training_warnings}
    for text in (each for each in warned if NO_SIGNAL in each and each not in told):
        print_words(f"note: less is left than before, so the penalty worked, though training warned of this: {text}")
    for sentence in report.verdict.summary:
        print_words(sentence)
    styles = ("", "yellow", "red", "green")
    print_table(plain_table(rows), ("", *_names(rows)), rows, [(styles[0], *styles[1 - len(row) :]) for row in rows])


def report_rows(report: Report) -> list[Row]:
    """The report's headline figures, task first, then each attribute."""
    from mibias_cli.report.task.score import REFITTED, has_loaded

    sides: tuple[Side, ...] = ("loaded", "before", "after") if has_loaded(report) else ("before", "after")
    # the task's figures decide its rows: accuracies, errors, or none without a target
    rows = _task([report.task.at(side) for side in sides])
    if report.head is not None:
        rows = [(f"{REFITTED}: {title.removeprefix('task ')}", *cells) for title, *cells in rows]
        # accuracy alone, or R²: what more a trained head does is in the report
        own = _task([report.head.task.at(side) for side in sides])
        rows += [(f"trained head: {title.removeprefix('task ')}", *cells) for title, *cells in (own[:1] + own[2:])]
    rows += _forgetting(report, sides)
    for name, found in report.attributes.items():
        for question, _ in found.after.questions:
            # a model that was not debiased by mibias has no side `before`
            answers = [None if (at := found.at(side)) is None else at.answer(question) for side in sides]
            given = "" if question == "marginal" else " given the target"
            cells = [_interval(None if answer is None else answer.leakage_bits) for answer in answers]
            rows.append((f"{name}: leakage{given} (bits)", *cells))
        # what the leakage is to be compared with; both belong to the data, so they are the same on every side
        most, told = f"{found.entropy_bits:.3f}", f"{found.target_attribute_bits:.3f}"
        rows.append((f"{name}: most it could leak, H(c) (bits)", *[most] * len(sides)))
        if report.task.after is not None:
            rows.append((f"{name}: what the target alone gives away, I(y;c) (bits)", *[told] * len(sides)))
    return rows + _fidelity(report.similarity, sides)


def _task(given: Sequence[Task | None]) -> list[Row]:
    """Accuracies, or of a target of numbers R² and errors, on each side."""
    from mibias_cli.evaluation.task_findings import Accuracies, RegressionFindings
    from mibias_cli.report.task.tables import DEVIATIONS

    def row(title: str, value: Callable[[Any], float | None], written: Callable[[float | None], str]) -> Row:
        return title, *(written(None if side is None else value(side)) for side in given)

    if isinstance(given[-1], Accuracies):
        return [
            row("task accuracy", lambda side: side.accuracy.estimate, _percent),
            row("task balanced accuracy", lambda side: side.balanced_accuracy, _percent),
            row("task accuracy in the worst group", lambda side: side.worst_group_accuracy, _percent),
        ]
    if isinstance(given[-1], RegressionFindings):
        unit = DEVIATIONS if given[-1].in_deviations else ""
        return [
            row("task R²", lambda side: side.r2.estimate, _plain),
            row(f"task mean absolute error{unit}", lambda side: side.mae.estimate, _plain),
            row(f"task mean absolute error in the worst group{unit}", lambda side: side.worst_group_mae, _plain),
        ]
    return []


def _forgetting(report: Report, sides: Sequence[Side]) -> list[Row]:
    """What the trained heads make of rows that were to be forgotten, where there were such."""
    found = report.forgetting
    if found is None:
        return []
    given = [found.at(side) for side in sides]
    shares = {
        f"accuracy on {found.n_forgotten} forgotten rows": "forgotten_accuracy",
        "accuracy on alike audited rows": "alike_accuracy",
        f"accuracy on {found.n_retained} retained rows": "retained_accuracy",
    }
    rows: list[Row] = [
        (f"trained head: {title}", *(_percent(None if at is None else getattr(at, key)) for at in given))
        for title, key in shares.items()
    ]
    areas = [None if at is None else at.membership_auroc for at in given]
    return [*rows, ("membership of forgotten rows (AUROC, .5: not told)", *map(_interval, areas))]


def _names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Headings of the sides."""
    return ("as loaded", "before", "after")[1 - len(rows[0]) :]


def plain_table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of aligned text.

    Example:
        >>> print(*plain_table([("task accuracy", "40.0 %", "80.0 %")]), sep="\\n")
                       before     after
        task accuracy  40.0 %  →  80.0 %
    """
    *names, last = _names(rows)
    return aligned([("", *names, "", last), *((*row[:-1], "→", row[-1]) for row in rows)])


def _fidelity(similarity: Similarity, sides: Sequence[Side]) -> list[Row]:
    """Effective rank and CKA: constant features leak nothing and are worth nothing."""
    ranks = {
        "loaded": _rank(similarity.effective_rank_loaded, similarity.n_features_loaded),
        "before": _rank(similarity.effective_rank_before, similarity.n_features_before),
        "after": _rank(similarity.effective_rank_after, similarity.n_features_after),
    }
    rows: list[Row] = [("features: effective rank", *(ranks[side] for side in sides))]
    # the original is compared with itself on the side `before`, and with nothing that came before it
    skipped = ["–"] * (len(sides) - 2)
    for title, value in (
        ("features: CKA to the original", similarity.cka),
        ("features: original recovered linearly (R²)", similarity.original_r2),
    ):
        if value is not None and math.isfinite(value):
            rows.append((title, *skipped, "1.000", f"{value:.3f}"))
    return rows


def _rank(rank: float | None, n_features: int | None) -> str:
    return "–" if rank is None or math.isnan(rank) else f"{rank:.2f} of {n_features}"


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def _plain(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def _interval(value: Interval | None) -> str:
    return "–" if value is None else f"{value.estimate:.3f} [{value.lower:.3f}, {value.upper:.3f}]"


def dry_run_lines(found: DryRun) -> Iterator[str]:
    """The findings line by line: figures first, then the cells of every split."""
    figures = {f"{split} samples": f"{n:,}" for split, n in found["splits"].items()} | {
        "parameters": f"{found['n_parameters']:,}",
        "trainable": f"{found['n_trainable']:,}",
        "steps": f"{found['steps']:,}",
        "seconds per step": f"{found['step_seconds']:.3f}",
        "training would take": _duration(found["estimated_training_seconds"]),
        "peak memory": f"{found['peak_memory_bytes'] / 2**20:,.0f} MiB",
    }
    yield from aligned(list(figures.items()))
    # then a table for every split and attribute channel
    for split, channels in found["cells"].items():
        for channel, rows in channels.items():
            yield ""
            yield f"{split}: target × {channel}"
            # very wide tables are cut, with a note
            names = list(next(iter(rows.values()), {}))
            shown = names[:MAX_COLUMNS]
            counts = ((target, [row[name] for name in shown]) for target, row in rows.items())
            yield from (f"  {line}" for line in count_table(shown, counts))
            if len(names) > len(shown):
                yield f"  … and {len(names) - len(shown)} more classes (--format json has them all)"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
