"""The report as Markdown: for model cards, pull requests and job summaries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import SIDES, Interval
from mibias_cli.report import tables
from mibias_cli.report.document import GateResult, Report
from mibias_cli.report.numbers import ABSENT, format_bits, format_interval
from mibias_cli.report.summary import headline_note
from mibias_cli.report.task import tables as task_tables
from mibias_cli.report.task.score import has_loaded

__all__ = ["escape_markdown", "gates_section", "leakage_table", "markdown_table", "measured_section", "render_markdown"]


def escape_markdown(text: str) -> str:
    """A name that a user chose, so that it shows as it is: in a table cell, with no markup and no HTML of its own.

    Example:
        >>> escape_markdown("a|b <script>")
        'a\\\\|b &lt;script&gt;'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~!$])", r"\\\1", re.sub(r"\s+", " ", text))


def _with_interval(interval: Interval | None) -> tables.Cell:
    if interval is None:
        return tables.Cell(text=ABSENT)
    return tables.Cell(text=format_bits(interval.estimate), small=format_interval(interval))


def leakage_table(report: AuditFindings) -> tables.Table:
    """The leakage of every attribute before and after, with the probe that found it."""
    lines = []
    # without an original there is a column of dashes, so that such tables look alike
    sides = SIDES if has_loaded(report) else SIDES[1:]
    for name, found in report.attributes.items():
        for question, after in found.after.questions:
            lines.append(
                tables.line(
                    name + tables.LABELS[question],
                    *(_with_interval(tables.bits_at(found, side, question)) for side in sides),
                    after.headline_probe,
                    format_bits(found.entropy_bits),
                    # what the target tells of the attribute bounds nothing once the target is given
                    format_bits(found.target_attribute_bits) if question == "marginal" else ABSENT,
                )
            )
    confidence = f"{100 * report.settings.confidence:g} %"
    headings = [f"{title} ({confidence} interval)" for title in tables.titles(sides)]
    header = ("Leakage, bits", *headings, "Probe", "H(c)", "I(y;c)")
    return tables.Table(title="Leakage", caption="", header=header, lines=tuple(lines))


def _channel_table(report: AuditFindings) -> tables.Table:
    lines = [
        tables.line(
            f"{name}: {channel}",
            _with_interval(tables.bits_at(found, "before", "marginal")),
            _with_interval(found.after.leakage_bits),
            _with_interval(found.after.conditional_leakage_bits),
            format_bits(found.entropy_bits),
        )
        for name, attribute in report.attributes.items()
        for channel, found in attribute.channels.items()
    ]
    header = ("Leakage, bits", "Before", "After", "After, given the target", "H(c)")
    return tables.Table(title="Channels", caption="", header=header, lines=tuple(lines))


def markdown_table(table: tables.Table) -> str:
    """A report's table as Markdown, what is small print in brackets; lines that do not count are marked."""
    header = [escape_markdown(name) for name in table.header]
    # numbers are compared digit by digit, so they stand flush right; headings do not
    rows = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for line in table.lines:
        cells = [escape_markdown(f"{c.text} ({c.small})" if c.small else c.text) for c in line.cells]
        rows.append([cells[0] + (" (too few)" if line.quiet else ""), *cells[1:]])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


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
    parts.append("\n".join(f"- {escape_markdown(sentence)}" for sentence in verdict.summary))
    parts += [f"⚠️ {escape_markdown(warning)}" for warning in report.warnings]
    parts += [escape_markdown(verdict.caution), gates_section(report), markdown_table(leakage_table(report))]
    parts.append(escape_markdown(headline_note(report)))
    parts += [markdown_table(task) for task in [task_tables.task_table(report)] if task]
    makers = (
        task_tables.head_table,
        task_tables.forgetting_table,
        tables.fidelity_table,
        tables.control_table,
        tables.size_table,
        task_tables.fairness_table,
        tables.layer_table,
        tables.column_table,
    )
    for table in [make(report) for make in makers]:
        if table:
            parts += [escape_markdown(table.caption), markdown_table(table)]
    return "\n\n".join(part for part in parts if part)


def _sections(made: Sequence[tables.Table]) -> str:
    """Tables that have a heading of their own."""
    return "".join(
        f"{part}\n\n"
        for table in made
        for part in (f"## {escape_markdown(table.title)}", escape_markdown(table.caption), markdown_table(table))
        if part
    )


def render_markdown(report: Report) -> str:
    """The whole report as Markdown."""
    samples = report.samples
    provenance = [f"- {key}: `{str(value).replace('`', '')}`" for key, value in report.provenance.items()]
    made = [*task_tables.crossing_tables(report), *task_tables.impact_tables(report)]
    if channels := _channel_table(report):
        made.insert(0, channels)
    return (
        "# Leakage report\n\n"
        f"{measured_section(report)}\n\n"
        f"{escape_markdown(report.verdict.text)}\n\n"
        f"{_sections(made)}"
        "## How it was measured\n\n"
        f"Probes were fitted on {samples.fit} audited samples and scored on {samples.score} others; task heads "
        f"were fitted on {samples.train} training samples and scored on all {samples.audit} audited ones. "
        "Leakage is what these probes extract, a lower bound on what the features hold.\n\n"
        "## Provenance\n\n" + "\n".join(provenance) + "\n"
    )
