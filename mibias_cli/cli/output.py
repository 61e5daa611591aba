"""How commands print what they found: text for people, JSON for programs, and tables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence

from mibias_cli.cli.options import ReportFormat
from mibias_cli.cli.progress import is_terminal

__all__ = ["aligned", "count_table", "print_found", "print_table"]


def print_found(found: object, lines: Iterable[str], output: ReportFormat | None) -> None:
    """Print a result to stdout, as text or as JSON; without a wish, text on a terminal and JSON elsewhere."""
    if output == "text" or (output is None and is_terminal(sys.stdout, os.environ)):
        print("\n".join(lines))
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
    text: Iterable[str], header: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Sequence[str]]
) -> None:
    """Print cells to stderr: by Rich on a terminal, each in its style, the first column left; as `text` elsewhere."""
    if not is_terminal(sys.stderr, os.environ):
        print("\n".join(text), file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for k, name in enumerate(header):
        table.add_column(name, justify="right" if k else "left")
    # as Text: a cell may hold brackets, which Rich would read as markup
    for cells, row_styles in zip(rows, styles, strict=True):
        table.add_row(*map(Text, cells, row_styles))
    Console(stderr=True, highlight=False).print(table)
