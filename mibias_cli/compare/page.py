"""Several runs side by side as one self-contained HTML page."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from mibias_cli.compare.frontier import PLANES, Plane, frontier_plot, has_points
from mibias_cli.compare.methods import compares_methods, gain_table, protocol
from mibias_cli.compare.records import Comparison
from mibias_cli.compare.tables import group_table, head_table, run_table, shared_table
from mibias_cli.report.html import page_environment
from mibias_cli.report.plots.svg import standalone
from mibias_cli.report.write import refuse_others_files, write_files

__all__ = ["FrontierPlot", "frontier_plots", "refuse_comparison", "render_comparison", "write_comparison"]

_PAGE, _JSON = "compare.html", "compare.json"


class FrontierPlot(NamedTuple):
    """One plane of one attribute, as inline SVG."""

    attribute: str
    plane: Plane
    svg: Markup


def render_comparison(comparison: Comparison, folder: Path | None = None) -> str:
    """The page: the frontiers of every attribute, the groups with their spread over seeds, and every run.

    Of several methods it says first by what rule they were compared, and what each gains over plain training.

    Args:
        folder: Where the page will lie, from which it links to the runs' own reports; without one there are no links.
    """
    methods = compares_methods(comparison)
    return (
        page_environment()
        .get_template("compare.html.j2")
        .render(
            c=comparison,
            plots=frontier_plots(comparison),
            groups=group_table(comparison),
            heads=head_table(comparison),
            runs=run_table(comparison, _links(comparison, folder)),
            protocol=list(protocol(comparison)) if methods else [],
            gains=gain_table(comparison) if methods else None,
            shared=shared_table(comparison),
            has_spread=any(len(group.runs) > 1 for group in comparison.groups),
            linked=folder is not None and any(run.page for run in comparison.runs),
        )
    )


def _links(comparison: Comparison, folder: Path | None) -> list[str]:
    """From the page to each run's report, relative, so that a folder that holds both can be moved or mailed."""
    pages = [run.page for run in comparison.runs]
    return ["" if page is None or folder is None else os.path.relpath(page, folder) for page in pages]


def frontier_plots(comparison: Comparison) -> list[FrontierPlot]:
    """Every plane of every attribute in which a group has a place; the first one always."""
    return [
        FrontierPlot(name, plane, Markup(frontier_plot(comparison, name, plane=plane, plot_id=f"{plane.key}-{k}")))
        for k, name in enumerate(comparison.attributes)
        for plane in PLANES
        if plane is PLANES[0] or has_points(comparison, name, plane)
    ]


def refuse_comparison(folder: Path) -> None:
    """Raise a RunError where a comparison would be written over files that are none, before any run is trained."""
    plots = (path for plane in PLANES for path in folder.glob(f"{plane.key}-*.svg"))
    marker, keys = folder / _JSON, {"schema_version", "varied"}
    refuse_others_files([folder / _PAGE, marker, *plots], marker, lambda found: found.keys() >= keys)


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write compare.html, compare.json and an SVG of each plane, in place of those of an earlier comparison.

    A comparison holds nothing that the runs do not, so nothing is lost. Gives the path of compare.html.

    Raises:
        RunError: The folder cannot be written, or holds files of these names that no comparison wrote.
    """
    refuse_comparison(folder)
    page = folder / _PAGE
    # first what says that the others are a comparison's
    texts = {folder / _JSON: comparison.to_json(), page: render_comparison(comparison, folder)}
    for k, (name, plane, svg) in enumerate(frontier_plots(comparison)):
        # names of attributes may hold what names of files may not, and two of them may then be the same
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or str(k)
        path = folder / f"{plane.key}-{plain}.svg"
        texts[path if path not in texts else folder / f"{plane.key}-{plain}-{k}.svg"] = standalone(str(svg))
    write_files(texts, "comparison")
    return page
