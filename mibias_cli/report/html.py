"""The report as one self-contained HTML page: no network, no script, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mibias_cli.evaluation.findings import AuditFindings
from mibias_cli.evaluation.leakage_findings import QuestionName
from mibias_cli.report import tables
from mibias_cli.report.document import Report
from mibias_cli.report.illustrations import Illustrations, data_address
from mibias_cli.report.plots.confusion import confusion_plot
from mibias_cli.report.plots.curves import curves_plot
from mibias_cli.report.plots.layers import layer_plot
from mibias_cli.report.plots.leakage import change_plot, group_cells, group_plot, leakage_plot
from mibias_cli.report.plots.sizes import size_plot
from mibias_cli.report.summary import headline_note
from mibias_cli.report.task import tables as task_tables
from mibias_cli.report.task.score import has_before, has_loaded, kind_of

__all__ = ["MAX_BYTES", "page_environment", "render_html"]

MAX_BYTES = 1_000_000
"""A page that people open on phones and attach to mails; what makes it larger is left out, leakage.json has it all."""


class _Level(NamedTuple):
    """How much a page shows: examples or not, attributes whose groups are plotted, lines in a table of cells."""

    examples: bool
    n_plotted: int
    n_lines: int


# from all to what always fits: images go first, because they are large and say least
_LEVELS = (
    _Level(True, 1000, task_tables.MAX_LINES),
    _Level(False, 1000, task_tables.MAX_LINES),
    _Level(False, 8, 40),
    _Level(False, 2, 0),
)


class _Plot(NamedTuple):
    """A plot with its heading; `key` says which question it answers."""

    key: str
    title: str
    plot: Markup


@dataclass(frozen=True, kw_only=True)
class _Group:
    """What the page shows of one attribute's groups: plots of the headline channel, and a table of every cell."""

    name: str
    channel: str
    plot: Markup
    confusion: Markup
    n_shown: int
    n_counted: int
    n_cells: int
    table: tables.Table
    errors: tables.Table


def page_environment() -> Environment:
    """Jinja as our pages need it: everything is escaped but what is marked as markup."""
    return Environment(
        loader=PackageLoader("mibias_cli.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def render_html(report: Report, illustrations: Illustrations | None = None) -> str:
    """The page.

    Everything that a user names is escaped by the template; only the plots, escaped where they are made, are not.
    """
    shown = illustrations or Illustrations()
    # plots are drawn once: only the choice of what to show is made again below
    page = page_environment().get_template("leakage.html.j2")
    # from whether a figure may be trusted to the details
    makers = (tables.control_table, tables.channel_table, tables.probe_table, tables.other_table)
    parts: dict[str, object] = {
        "r": report,
        **{key: report.provenance.get(key) for key in ("backbone", "created")},
        "has_before": has_before(report),
        "has_loaded": has_loaded(report),
        "kind": kind_of(report),
        "has_null": any(found.after.marginal.null for found in report.attributes.values()),
        "has_random": any(found.random for found in report.attributes.values()),
        "confidence": f"{100 * report.settings.confidence:g} %",
        "headline": tables.headline_table(report),
        "headline_note": headline_note(report),
        "task": task_tables.task_table(report),
        "head": task_tables.head_table(report),
        "forgetting": task_tables.forgetting_table(report),
        "fidelity": tables.fidelity_table(report),
        "leakage": list(_leakage_plots(report)),
        "leakage_tables": [table for table in (make(report) for make in makers) if table],
        "change": Markup(change_plot(report)),
        "layers": [
            _Plot("", name, Markup(plot))
            for k, name in enumerate(report.attributes)
            if (plot := layer_plot(report, name, plot_id=f"layers-{k}"))
        ],
        "layer_table": tables.layer_table(report),
        "sizes": [
            _Plot("before" if found.sizes is not None and found.sizes.before is not None else "", name, Markup(plot))
            for k, (name, found) in enumerate(report.attributes.items())
            if (plot := size_plot(report, name, plot_id=f"sizes-{k}"))
        ],
        "size_table": tables.size_table(report),
        "fairness": task_tables.fairness_table(report),
        "impact": task_tables.impact_tables(report),
        "crossings": task_tables.crossing_tables(report),
        "columns": tables.column_table(report),
        "curves": Markup(curves_plot(shown.metrics, plot_id="curves")),
    }
    groups = list(_groups(report))
    for level in _LEVELS:
        # a page that is too large is made again with less on it
        examples = (
            [(cell, [data_address(image, cell.media_type) for image in cell.images]) for cell in shown.examples]
            if level.examples
            else []
        )
        cut = [_cut(group, k, report, level) for k, group in enumerate(groups)]
        text = page.render(
            **parts, groups=cut, examples=examples,
            examples_left_out=bool(shown.examples) and not examples,
            groups_left_out=cut != groups,
        )  # fmt: skip
        if len(text.encode()) <= MAX_BYTES:
            break
    return text


def _cut(group: _Group, k: int, report: AuditFindings, level: _Level) -> _Group:
    """A group without its plots where others come first, and with a shorter table."""
    if level.n_lines < task_tables.MAX_LINES and group.n_cells > level.n_lines:
        group = replace(group, table=task_tables.cell_table(report, group.name, limit=level.n_lines))
    return group if k < level.n_plotted else replace(group, plot=Markup(), confusion=Markup())


_TITLES: dict[QuestionName, str] = {
    "marginal": "Leakage, I(z; c)",
    "conditional": "Leakage given the target, I(z; c | y)",
}


def _leakage_plots(report: AuditFindings) -> Iterator[_Plot]:
    for question, title in _TITLES.items():
        if any(found.after.answer(question) is not None for found in report.attributes.values()):
            yield _Plot(question, title, Markup(leakage_plot(report, question, plot_id=f"{question}-leakage")))


def _groups(report: AuditFindings) -> Iterator[_Group]:
    """Per attribute: the plots of the headline channel's cells, and a table of every cell that is not empty."""
    task = report.task.after
    for k, (name, found) in enumerate(report.attributes.items()):
        # of several channels only the headline's is drawn; the table has all of them
        channel = found.after.marginal.headline_channel
        rows = [] if task is None else [row for row in task.groups if row.attribute == name and row.n]
        # a target of numbers has errors by group in place of accuracies by cell
        errors = task_tables.error_table(report, name)
        if not rows and not errors:
            continue
        yield _Group(
            name=name,
            channel=channel if found.channels else "",
            plot=Markup(group_plot(report, name, channel, plot_id=f"groups-{k}")),
            confusion=Markup(confusion_plot(task, name, channel, plot_id=f"confusion-{k}")),
            n_shown=len(group_cells(report, name, channel)),
            n_counted=sum(row.counted for row in rows if row.channel == channel),
            n_cells=len(rows),
            table=task_tables.cell_table(report, name),
            errors=errors,
        )
