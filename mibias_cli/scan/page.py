"""What a scan found as one self-contained page with pictures, and as files: JSON, and the columns that it measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from mibias_cli.backbone.embed import spread_rows
from mibias_cli.data.files.images import BROKEN_IMAGE, resolve_paths
from mibias_cli.data.files.tabular import write_manifest
from mibias_cli.progress import Progress
from mibias_cli.report.html import page_environment
from mibias_cli.report.illustrations import data_address, thumbnail
from mibias_cli.report.numbers import format_bits, format_p, format_percent
from mibias_cli.report.plots.svg import AFTER, MUTED, label_rows, new_figure, to_svg, whisker
from mibias_cli.report.tables import Cell, Table, bits_cell, line
from mibias_cli.report.write import refuse_others_files, write_files
from mibias_cli.scan.columns import MISSING, folder_columns, measure_images
from mibias_cli.scan.findings import Scan, Shortcut, Tested
from mibias_cli.scan.pixels import colour_view
from mibias_cli.scan.scan import Scanned
from mibias_cli.survey.layout import Layout
from mibias_cli.survey.roles import Roles
from mibias_cli.survey.survey import as_manifest

__all__ = ["headline", "looked_at", "manifest_columns", "refuse_scan", "render_scan", "write_scan"]

_PAGE, _JSON, _MANIFEST = "scan.html", "scan.json", "attributes.csv"

_SIDE = 64
_PICTURES = 6
_MOST_VALUES = 4
_MOST_SHOWN = 12
"""Shortcuts with pictures: a page of more is too large to send, and the list above them has all."""


@dataclass(frozen=True, kw_only=True)
class _Picture:
    address: str
    y: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A few images with one value of a property."""

    name: str
    pictures: list[_Picture]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    found: Shortcut
    rows: list[_Row]
    table: Table


def headline(found: Scan) -> str:
    """What was found in a sentence."""
    if not found.shortcuts:
        n = len(found.others)
        return f"None of {n} properties tells more of {found.target} than the best of as many would by chance."
    first = found.shortcuts[0]
    share = format_percent(first.share_of_target)
    return (
        f"{len(found.shortcuts)} of {len(found.shortcuts) + len(found.others)} properties tell of {found.target} "
        f"beyond chance; {first.name} tells the most, {format_bits(first.target_bits.estimate)} bits "
        f"({share} of what there is)."
    )


def looked_at(found: Scan) -> str:
    """How many rows the figures are of."""
    drawn = f" of {found.n_available:,}, drawn at random" if found.n_rows < found.n_available else ""
    group = f", kept together by {found.group}" if found.group is not None else ""
    return f"{found.n_rows:,} rows{drawn}{group}"


def render_scan(scanned: Scanned) -> str:
    """The page: the ranking as plot and table, and for each shortcut its counts by class and a few of its images."""
    found = scanned.found
    return page_environment().get_template("scan.html.j2").render(
        title=f"Shortcuts to {found.target}",
        scan=found,
        looked_at=looked_at(found),
        headline=headline(found),
        entropy=format_bits(found.target_entropy_bits),
        plot=Markup(_plot(found)),
        ranking=_ranking(found),
        others=_others(found.others),
        shown=[_shown(each, scanned) for each in found.shortcuts[:_MOST_SHOWN]],
    )  # fmt: skip


def refuse_scan(folder: Path) -> None:
    """Raise a RunError where a scan would be written over files that no scan wrote, before anything is looked at."""
    marker = folder / _JSON
    refuse_others_files([folder / _PAGE, marker], marker, lambda found: found.keys() >= {"target", "shortcuts"})
    # people call their own table of attributes so, too
    refuse_others_files([folder / _MANIFEST], marker, _has_images)


def _has_images(found: dict[str, object]) -> bool:
    """Whether an earlier scan found image properties, for which it wrote attributes.csv."""
    shortcuts = found.get("shortcuts")
    return isinstance(shortcuts, list) and any(isinstance(k, dict) and k.get("kind") == "image" for k in shortcuts)


def write_scan(folder: Path, scanned: Scanned, progress: Progress) -> list[Path]:
    """Write scan.html and scan.json, in place of earlier ones, and attributes.csv where images have shortcuts.

    attributes.csv is a manifest of all rows with each image property that was found as a column.

    Raises:
        RunError: The folder cannot be written, or holds files of these names that no scan wrote.
    """
    refuse_scan(folder)
    names = [each.name for each in scanned.found.shortcuts if each.kind == "image"]
    if not names:
        # an earlier scan's: its columns are no longer what is found
        (folder / _MANIFEST).unlink(missing_ok=True)
    texts = {
        folder / _JSON: scanned.found.model_dump_json(indent=2) + "\n",
        folder / _PAGE: render_scan(scanned),
    }
    write_files(texts, "scan")
    written = list(texts)
    if names:
        written.append(folder / _MANIFEST)
        _write_attributes(written[-1], names, scanned, progress)
    return written


def manifest_columns(scanned: Scanned) -> Roles:
    """Which column of attributes.csv has which role."""
    return _as_listed(scanned)[1]


def _as_listed(scanned: Scanned) -> tuple[Layout, Roles]:
    """The data set as a manifest lists it."""
    layout, roles = scanned.rows.layout, scanned.rows.roles
    return as_manifest(layout, roles) if layout.source == "imagefolder" else (layout, roles)


def _write_attributes(path: Path, names: list[str], scanned: Scanned, progress: Progress) -> None:
    """The data set's rows with these properties of all their images as columns."""
    layout, _ = _as_listed(scanned)
    table = layout.table
    assert layout.path is not None, "only images have properties of images"
    assert layout.root is not None, "only images have properties of images"
    # the sample was drawn from training rows, a recipe needs all
    images = dict(scanned.images)
    if len(scanned.positions) < len(table):
        paths, _ = resolve_paths(table, layout.path, layout.root, layout.follow_links)
        progress.begin("images", len(paths))
        images = folder_columns(table.columns[layout.path], table.columns)
        images |= measure_images(paths, advance=progress.advance).columns
        progress.end()
    columns = {**table.columns, **{name: images[name] for name in names}}
    write_manifest(path, {name: ["" if v is None else str(v) for v in values] for name, values in columns.items()})


def _plot(found: Scan) -> str:
    """Bits with their intervals, strongest first."""
    shown = found.shortcuts[:_MOST_SHOWN]
    if not shown:
        return ""
    figure, (axes,) = new_figure(len(shown), 0.3)
    for k, each in enumerate(shown):
        whisker(axes, k, each.target_bits.lower, each.target_bits.upper)
        axes.plot([each.target_bits.estimate], [k], "o", color=AFTER, markersize=6)
    axes.axvline(found.target_entropy_bits, color=MUTED, linewidth=1, linestyle="--")
    axes.set_xlim(left=0)
    axes.set_xlabel("bits of the target")
    label_rows(axes, [each.name for each in shown])
    described = "; ".join(f"{each.name} {format_bits(each.target_bits.estimate)} bits" for each in shown)
    return to_svg(figure, "shortcuts", "What tells of the target", described)


def _ranking(found: Scan) -> Table:
    has_features = any(each.feature_bits is not None for each in found.shortcuts)
    lines = []
    for each in found.shortcuts:
        features: list[Cell | str] = []
        if has_features:
            features = [bits_cell(each.feature_bits), format_bits(each.entropy_bits)]
        share = format_percent(each.share_of_target)
        lines.append(line(each.name, bits_cell(each.target_bits), share, *features, format_p(each.p_value)))
    names = ["Features tell of it (bits)", "of at most"] if has_features else []
    header = ("Property", "Tells of the target (bits)", "of all", *names, "p")
    caption = (
        f"Listed where p is at most {found.level:g}: the chance that the best of all that were tested tells so much "
        "of shuffled targets."
    )
    return Table(title="Shortcuts", caption=caption, header=header, lines=tuple(lines))


def _others(others: tuple[Tested, ...]) -> Table:
    lines = tuple(line(each.name, bits_cell(each.target_bits), format_p(each.p_value)) for each in others)
    return Table(title="Other properties", caption="", header=("Property", "Bits", "p"), lines=lines)


def _shown(found: Shortcut, scanned: Scanned) -> _Shown:
    lines = tuple(line(label, *(f"{n:,}" for n in row)) for label, row in found.counts.items())
    table = Table(
        title=f"Rows by {found.name}",
        caption=f"Rows by class (down) and {found.name} (across).",
        header=(scanned.found.target, *found.values),
        lines=lines,
    )
    return _Shown(found=found, rows=list(_pictures(found, scanned)) if found.kind == "image" else [], table=table)


def _pictures(found: Shortcut, scanned: Scanned) -> Iterator[_Row]:
    """Images with the commonest values of a property, or with a number's lowest and highest."""
    column = scanned.columns[found.name]
    sizes = np.bincount(column.codes, minlength=len(column.names))
    known = len(column.names) - (column.names[-1] == MISSING)
    values = [0, known - 1] if column.is_number else sorted(np.argsort(-sizes, kind="stable")[:_MOST_VALUES].tolist())
    for value in values:
        rows = np.flatnonzero(column.codes == value)
        # spread over the rows, so that neither one class nor one folder fills the line
        rows = rows[spread_rows(len(rows), _PICTURES)]
        pictures = [
            _Picture(address=address, y=scanned.y.names[scanned.y.codes[row]])
            for row in rows.tolist()
            if (address := _address(scanned.paths[row])) is not None
        ]
        yield _Row(name=column.names[value], pictures=pictures)


def _address(path: str) -> str | None:
    """A small picture of a file, None where it cannot be read."""
    try:
        pixels = colour_view(path)
    except BROKEN_IMAGE:
        return None
    return data_address(thumbnail(Image.fromarray((pixels.permute(1, 2, 0).numpy() * 255).astype(np.uint8)), _SIDE))
