"""The report as Markdown: for model cards, pull requests and job summaries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mibias_cli.evaluation.findings import AuditFindings, Interval
from mibias_cli.report import tables, task_tables
from mibias_cli.report.document import GateResult, Report
from mibias_cli.report.numbers import format_bits, format_interval

__all__ = [
    "escape_markdown",
    "gates_section",
    "leakage_table",
    "markdown_table",
    "measured_section",
    "render_markdown",
    "task_table",
]


def escape_markdown(text: str) -> str:
    """A name that a user chose, so that it shows as it is: in a table cell, with no markup and no HTML of its own.

    Example:
        >>> escape_markdown("a|b <script>")
        'a\\\\|b &lt;script&gt;'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~!$])", r"\\\1", re.sub(r"\s+", " ", text))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def _with_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{format_bits(interval.estimate)} ({format_interval(interval)})"


def leakage_table(report: AuditFindings) -> str:
    """The leakage of every attribute before and after, as a Markdown table."""
    rows = []
    for name, found in report.attributes.items():
        for question, after in found.after.questions:
            before = None if found.before is None else found.before.answer(question)
            shared = format_bits(found.target_attribute_bits) if question == "marginal" else "–"
            rows.append(
                [
                    escape_markdown(name) + tables.LABELS[question],
                    _with_interval(None if before is None else before.leakage_bits),
                    _with_interval(after.leakage_bits),
                    escape_markdown(after.headline_probe),
                    format_bits(found.entropy_bits),
                    shared,
                ]
            )
    confidence = f"{100 * report.settings.confidence:g} %"
    sides = [f"{side} ({confidence} interval)" for side in ("Before", "After")]
    header = ["Leakage, bits", *sides, "Probe", "H(c)", "I(y;c)"]
    return _table(header, rows)


def task_table(report: AuditFindings) -> str:
    """The task figures before and after, as a Markdown table."""
    return markdown_table(task_tables.task_table(report))


def markdown_table(table: tables.Table) -> str:
    """A report's table as Markdown, what is small print in brackets; lines that do not count are marked."""
    rows = []
    for line in table.lines:
        cells = [f"{c.text} ({c.small})" if c.small else c.text for c in line.cells]
        rows.append(
            [escape_markdown(cells[0]) + (" (too few)" if line.quiet else ""), *map(escape_markdown, cells[1:])]
        )
    return _table([escape_markdown(name) for name in table.header], rows)


def gates_section(report: Report) -> str:
    """What became of the gates, as a Markdown list; empty where there were none."""
    signs = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "error": "❌"}

    def line(gate: GateResult) -> str:
        expression = gate.expression.replace("`", "")
        return f"- {signs[gate.status]} **{gate.status}** `{expression}`: {escape_markdown(gate.message)}"

    return "\n".join(map(line, report.gates))


def measured_section(report: Report) -> str:
    """What was measured, for model cards and job summaries: verdict, gates, every table but those of single cells."""
    verdict = report.verdict
    parts = [f"**{escape_markdown(verdict.headline)}**" if verdict.headline else ""]
    if verdict.collapsed:
        parts.append("Features that hold nothing leak nothing, so low leakage below is no success.")
    parts.append(escape_markdown(verdict.caution))
    task = task_table(report) if task_tables.task_table(report) else ""
    parts += [gates_section(report), leakage_table(report), task]
    makers = (
        tables.fidelity_table,
        tables.control_table,
        task_tables.fairness_table,
        tables.layer_table,
        tables.column_table,
    )
    for table in [make(report) for make in makers]:
        if table:
            parts += [f"{escape_markdown(table.caption)}", markdown_table(table)]
    return "\n\n".join(part for part in parts if part)


def _channel_table(report: AuditFindings) -> str:
    rows = []
    for name, found in report.attributes.items():
        for channel, c in found.channels.items():
            values = [
                _with_interval(None if c.before is None else c.before.leakage_bits),
                _with_interval(c.after.leakage_bits),
                _with_interval(c.after.conditional_leakage_bits),
                format_bits(c.entropy_bits),
            ]
            rows.append([f"{escape_markdown(name)}: {escape_markdown(channel)}", *values])
    if not rows:
        return ""
    header = ["Leakage, bits", "Before", "After", "After, given the target", "H(c)"]
    return f"## Channels\n\n{_table(header, rows)}\n\n"


def _crossings(report: AuditFindings) -> str:
    found = task_tables.crossing_tables(report)
    return "".join(
        f"## {escape_markdown(table.title)}\n\n{escape_markdown(table.caption)}\n\n{markdown_table(table)}\n\n"
        for table in found
    )


def render_markdown(report: Report) -> str:
    """The whole report as Markdown."""
    samples = report.samples
    provenance = [f"- {key}: `{str(value).replace('`', '')}`" for key, value in report.provenance.items()]
    return (
        "# Leakage report\n\n"
        f"{measured_section(report)}\n\n"
        f"{escape_markdown(report.verdict.text)}\n\n"
        f"{_channel_table(report)}"
        f"{_crossings(report)}"
        "## How it was measured\n\n"
        f"Probes were fitted on {samples.fit} audited samples and scored on {samples.score} others; task heads "
        f"were fitted on {samples.train} training samples and scored on all {samples.audit} audited ones. "
        "Leakage is what these probes extract, a lower bound on what the features hold.\n\n"
        "## Provenance\n\n" + "\n".join(provenance) + "\n"
    )
