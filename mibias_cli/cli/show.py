"""A leakage report on the terminal: before → after at one glance."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mibias_cli.cli.progress import is_terminal

__all__ = ["Row", "plain_table", "report_rows", "show_report"]

_TITLES = ("", "before", "after")
_TASK = {
    "accuracy": "task accuracy",
    "balanced_accuracy": "task balanced accuracy",
    "worst_group_accuracy": "task accuracy in the worst group",
}
_NUMBERS = {
    "r2": "task R²",
    "mae": "task mean absolute error",
    "worst_group_mae": "task mean absolute error in the worst group",
}
_LEAKAGE = {"leakage_bits": "leakage", "conditional_leakage_bits": "leakage given the target"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table, as text."""

    title: str
    before: str
    after: str


def show_report(report: Mapping[str, Any]) -> None:
    """Print the report's headline figures to stderr: a Rich table on a terminal, aligned text elsewhere.

    Args:
        report: The content of leakage.json.
    """
    rows = report_rows(report)
    if not is_terminal(sys.stderr, os.environ):
        print(plain_table(rows), file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, justify="left" if not title else "right")
    for row in rows:
        table.add_row(Text(row.title), Text(row.before, style="red"), Text(row.after, style="green"))
    Console(stderr=True, highlight=False).print(table)


def report_rows(report: Mapping[str, Any]) -> list[Row]:
    """The report's headline figures, task first, then each attribute.

    Example:
        >>> report_rows({"task": {"before": None, "after": {"accuracy": 0.5}}, "attributes": {}})
        [Row(title='task accuracy', before='–', after='50.0 %')]
    """
    rows = []
    before, after = (report["task"].get(side) or {} for side in ("before", "after"))
    for key, title in _TASK.items():
        if key in before or key in after:
            rows.append(Row(title=title, before=_percent(before.get(key)), after=_percent(after.get(key))))
    for key, title in _NUMBERS.items():
        if key in before or key in after:
            rows.append(Row(title=title, before=_plain(before.get(key)), after=_plain(after.get(key))))
    for name, findings in report["attributes"].items():
        before, after = (findings.get(side) or {} for side in ("before", "after"))
        for key, title in _LEAKAGE.items():
            if before.get(key) is not None or after.get(key) is not None:
                text = f"{name}: {title} (bits)"
                rows.append(Row(title=text, before=_interval(before.get(key)), after=_interval(after.get(key))))
        rows.extend(_references(name, findings, has_target=report["task"].get("after") is not None))
    return rows + _fidelity(report.get("similarity") or {})


def plain_table(rows: Sequence[Row]) -> str:
    """The rows as aligned text.

    Example:
        >>> print(plain_table([Row(title="task accuracy", before="40.0 %", after="80.0 %")]))
                       before     after
        task accuracy  40.0 %  →  80.0 %
    """
    wide = max((len(row.title) for row in rows), default=0)
    middle = max([len("before"), *(len(row.before) for row in rows)])
    lines = [f"{'':{wide}}  {'before':<{middle}}     after"]
    lines += [f"{row.title:{wide}}  {row.before:<{middle}}  →  {row.after}" for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _references(name: str, findings: Mapping[str, Any], *, has_target: bool) -> list[Row]:
    """H(c) and I(y; c): what the leakage is to be compared with; both belong to the data, not to a model."""
    titles = {
        "entropy_bits": f"{name}: most it could leak, H(c) (bits)",
        "target_attribute_bits": f"{name}: what the target alone gives away, I(y;c) (bits)",
    }
    if not has_target:
        del titles["target_attribute_bits"]
    return [
        Row(title=title, before=f"{findings[key]:.3f}", after=f"{findings[key]:.3f}")
        for key, title in titles.items()
        if findings.get(key) is not None
    ]


def _fidelity(similarity: Mapping[str, Any]) -> list[Row]:
    """Effective rank and CKA: constant features leak nothing and are worth nothing."""
    rows = []
    if similarity.get("effective_rank_after") is not None:
        ranks = (_rank(similarity, side) for side in ("before", "after"))
        rows.append(Row(title="features: effective rank", before=next(ranks), after=next(ranks)))
    if similarity.get("cka") is not None:
        rows.append(Row(title="features: CKA to the original", before="1.000", after=f"{similarity['cka']:.3f}"))
    if similarity.get("original_r2") is not None:
        share = f"{similarity['original_r2']:.3f}"
        rows.append(Row(title="features: original recovered linearly (R²)", before="1.000", after=share))
    return rows


def _rank(similarity: Mapping[str, Any], side: str) -> str:
    rank = similarity.get(f"effective_rank_{side}")
    return "–" if rank is None else f"{rank:.2f} of {similarity[f'n_features_{side}']}"


def _percent(value: Any) -> str:
    value = value.get("estimate") if isinstance(value, Mapping) else value
    return "–" if value is None else f"{100 * value:.1f} %"


def _plain(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}"


def _interval(value: Any) -> str:
    return "–" if value is None else f"{value['estimate']:.3f} [{value['lower']:.3f}, {value['upper']:.3f}]"
