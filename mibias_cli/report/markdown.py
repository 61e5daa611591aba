"""The report as Markdown: for model cards, pull requests and job summaries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mibias_cli.report.numbers import (
    format_bits,
    format_interval,
    format_percent,
    format_percent_interval,
    format_plain,
)

__all__ = ["escape_markdown", "leakage_table", "render_markdown", "task_table"]


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


def _with_interval(interval: Mapping[str, float] | None) -> str:
    return "–" if interval is None else f"{format_bits(interval['estimate'])} ({format_interval(interval)})"


def leakage_table(report: Mapping[str, Any]) -> str:
    """The leakage of every attribute before and after, as a Markdown table.

    Args:
        report: In the form of leakage.json.
    """
    rows = []
    for name, found in report["attributes"].items():
        for label, key in (("", "leakage_bits"), (", given the target", "conditional_leakage_bits")):
            before = None if found["before"] is None else found["before"][key]
            probe = found["after"]["headline_probe" if not label else "conditional_headline_probe"]
            rows.append(
                [
                    escape_markdown(name) + label,
                    _with_interval(before),
                    _with_interval(found["after"][key]),
                    escape_markdown(probe),
                    format_bits(found["entropy_bits"]),
                    "–" if label else format_bits(found["target_attribute_bits"]),
                ]
            )
    confidence = f"{100 * report['settings']['confidence']:g} %"
    sides = [f"{side} ({confidence} interval)" for side in ("Before", "After")]
    header = ["Leakage, bits", *sides, "Probe", "H(c)", "I(y;c)"]
    return _table(header, rows)


def task_table(report: Mapping[str, Any]) -> str:
    """The task figures before and after, as a Markdown table."""
    before, after = report["task"]["before"], report["task"]["after"]

    def cells(key: str) -> list[str]:
        return ["–" if task is None else format_percent(task[key]) for task in (before, after)]

    def accuracy(task: Mapping[str, Any] | None) -> str:
        if task is None:
            return "–"
        interval = task["accuracy_interval"]
        return f"{format_percent(task['accuracy'])} ({format_percent_interval(interval['lower'], interval['upper'])})"

    rows = [
        ["Accuracy", accuracy(before), accuracy(after)],
        ["Balanced accuracy", *cells("balanced_accuracy")],
        ["Worst group", *cells("worst_group_accuracy")],
        ["Trained head", *cells("head_accuracy")],
    ]
    return _table(["Task", "Before", "After"], rows)


def _channel_table(report: Mapping[str, Any]) -> str:
    rows = []
    for name, found in report["attributes"].items():
        for channel, c in found["channels"].items():
            before = None if c["before"] is None else c["before"]["leakage_bits"]
            values = [_with_interval(before), _with_interval(c["after"]["leakage_bits"])]
            values += [_with_interval(c["after"]["conditional_leakage_bits"]), format_bits(c["entropy_bits"])]
            rows.append([f"{escape_markdown(name)}: {escape_markdown(channel)}", *values])
    if not rows:
        return ""
    header = ["Leakage, bits", "Before", "After", "After, given the target", "H(c)"]
    return f"## Channels\n\n{_table(header, rows)}\n\n"


def render_markdown(report: Mapping[str, Any]) -> str:
    """The whole report as Markdown.

    Args:
        report: In the form of leakage.json.
    """
    similarity, samples = report["similarity"], report["samples"]
    fidelity = [
        ["Features", str(similarity["n_features_before"] or "–"), str(similarity["n_features_after"])],
        [
            "Effective rank",
            format_plain(similarity["effective_rank_before"]),
            format_plain(similarity["effective_rank_after"]),
        ],
        ["CKA to the original", "1.00" if similarity["cka"] is not None else "–", format_plain(similarity["cka"])],
    ]
    provenance = [f"- {key}: `{str(value).replace('`', '')}`" for key, value in report["provenance"].items()]
    return (
        "# Leakage report\n\n"
        f"{escape_markdown(report['verdict']['text'])}\n\n"
        f"{leakage_table(report)}\n\n{task_table(report)}\n\n"
        f"{_channel_table(report)}"
        f"## Fidelity\n\n{_table(['Fidelity', 'Before', 'After'], fidelity)}\n\n"
        "## How it was measured\n\n"
        f"Probes were fitted on {samples['fit']} audited samples and scored on {samples['score']} others; task heads "
        f"were fitted on {samples['train']} training samples and scored on all {samples['audit']} audited ones. "
        "Leakage is what these probes extract, a lower bound on what the features hold.\n\n"
        "## Provenance\n\n" + "\n".join(provenance) + "\n"
    )
