"""What a model card says of use and data: as far as a report knows, and what its author has to add."""

from __future__ import annotations

from mibias_cli.evaluation.task_findings import Accuracies
from mibias_cli.export.heads_file import ExportInfo
from mibias_cli.report.document import Report
from mibias_cli.report.markdown import escape_markdown, markdown_table
from mibias_cli.report.numbers import format_bits
from mibias_cli.report.tables import Table, line

__all__ = ["datasheet", "intended_use"]

_MOST_CELLS = 60
"""Groups that are listed; of more, report/ has all."""
_TO_ADD = """What mibias cannot know, for whoever shares the model to add ([Datasheets for
Datasets](https://arxiv.org/abs/1803.09010)):

- who collected the data, when, where and for what;
- how target and attributes were labelled, and by whom;
- whether people are shown, and what they agreed to;
- under which licence the data may be used, and where they can be had.
"""


def intended_use(report: Report | None) -> str:
    """What the features are for, and what nobody has shown of them."""
    names = [] if report is None else [escape_markdown(name) for name in report.attributes]
    hidden = f" ({', '.join(names)})" if names else ""
    return (
        "Features of new inputs that are like the audited ones, for models that should learn the task and not the bias "
        f"attribute{hidden}. {_held(report)} audit the model on your own (`mibias evaluate`) before you rely on it.\n\n"
        "Not meant for guessing the attribute of anybody. Low leakage is no certificate of fairness: attributes that "
        "were not audited may leak, and a model trained on these features may treat groups differently all the same.\n"
    )


def _held(report: Report | None) -> str:
    return "Nothing was measured:" if report is None else "The figures above hold for the audited data:"


def datasheet(info: ExportInfo, report: Report | None) -> str:
    """The data behind the figures: samples, target, attributes, groups, and what is left to say."""
    if report is None:
        return _TO_ADD
    samples, shape = report.samples, " × ".join(map(str, info.input_shape))
    lines = [
        f"- Inputs: {shape} numbers each, as the model reads them.",
        f"- Samples: {samples.train:,} that task heads were fitted on, {samples.audit:,} held out and audited.",
    ]
    if info.target_kind is not None and info.class_names:
        names = ", ".join(escape_markdown(name) for name in info.class_names)
        lines.append(f"- Target ({info.target_kind}): {names}.")
    # which data they were can be checked by whoever has them
    if isinstance(known := report.data_sha256, str):
        lines.append(f"- sha256 over the audited samples: `{known.replace('`', '')}`")
    parts = ["\n".join(lines), markdown_table(_attributes(report))]
    if groups := _groups(report):
        parts += ["Audited samples by group:", markdown_table(groups)]
    return "\n\n".join([*parts, _TO_ADD])


def _attributes(report: Report) -> Table:
    lines = [
        line(name, found.kind, f"{found.n_known:,}", format_bits(found.entropy_bits))
        for name, found in report.attributes.items()
    ]
    header = ("Attribute", "Kind", "Audited samples with a value", "H(c), bits")
    return Table(title="Attributes", caption="", header=header, lines=tuple(lines))


def _groups(report: Report) -> Table:
    task = report.task.after
    rows = task.groups if isinstance(task, Accuracies) else ()
    lines = [
        line(row.attribute if row.channel in ("", row.attribute) else f"{row.attribute}: {row.channel}",
             row.c, row.y, f"{row.n:,}")
        for row in rows
    ]  # fmt: skip
    header = ("Attribute", "Its value", "Target", "Samples")
    # a table of hundreds of cells belongs to the report
    kept = tuple(lines) if len(lines) <= _MOST_CELLS else ()
    return Table(title="Groups", caption="", header=header, lines=kept)
