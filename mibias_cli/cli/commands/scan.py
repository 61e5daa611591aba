"""`mibias scan`: shortcuts to the target that nobody named, ranked, without any model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mibias_cli.cli.options import (
    DataArgument,
    FollowLinksOption,
    FormatOption,
    OfflineOption,
    RootOption,
    SourceOption,
    TableOption,
    column_option,
    folder_option,
)
from mibias_cli.cli.output import aligned, print_found
from mibias_cli.cli.progress import shown_progress

if TYPE_CHECKING:
    from mibias_cli.scan.findings import Scan

__all__ = ["scan", "scan_lines"]


def scan(
    path: DataArgument,
    table: TableOption = None,
    target: Annotated[
        str | None, column_option("--target", help="Column that is to be predicted. [default: guessed]")
    ] = None,
    group: Annotated[
        str | None, column_option("--group", help="Rows that belong together, such as a patient. [default: guessed]")
    ] = None,
    source: SourceOption = None,
    root: RootOption = None,
    follow_links: FollowLinksOption = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME", help="Also say what the features of this timm model tell."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="WEIGHTS", help="none, pretrained, a file, … [default: pretrained]"),
    ] = None,
    offline: OfflineOption = False,
    out: Annotated[
        Path | None, folder_option("--out", help="Folder for scan.html, scan.json, attributes.csv. [default: none]")
    ] = None,
    output: FormatOption = None,
) -> None:
    """Rank what image properties and columns tell of the target.

    Looks at properties of the images (brightness, blur, size, JPEG quality, borders, source folder, …) and at the
    table's columns, and lists those that tell more of the target than chance would. With --out a page with pictures
    is written, and the properties that were found as columns that a recipe can name.
    """
    from mibias_cli.backbone.catalogue import create_backbone
    from mibias_cli.scan.page import manifest_columns, refuse_scan, write_scan
    from mibias_cli.scan.scan import scan as scan_data
    from mibias_cli.survey.roles import Wishes

    if weights is not None and backbone is None:
        raise typer.BadParameter("--weights are of a --backbone, which is missing")
    if out is not None:
        refuse_scan(out)
    wishes = Wishes(target=target, group=group, table=table, source=source, root=root, follow_links=follow_links)
    # weights that cannot be had end the command before any image is read
    network = None if backbone is None else create_backbone(backbone, weights=weights or "pretrained", offline=offline)
    with shown_progress() as progress:
        scanned = scan_data(path, wishes, backbone=network, seed=0, progress=progress)
        written = [] if out is None else write_scan(out, scanned, progress)
    print_found(scanned.found.model_dump(mode="json"), scan_lines(scanned.found), output)
    for file in written:
        typer.echo(f"wrote {file}", err=True)
    manifest = next((file for file in written if file.suffix == ".csv"), None)
    if manifest is not None:
        roles = manifest_columns(scanned)
        # the file has the table's own columns, too
        named = scanned.found.shortcuts[0].name
        place = ["--root", str(scanned.rows.layout.root), "--target", str(roles.target), "--attribute", named]
        typer.echo(f"next: {shlex.join(['mibias', 'init', str(manifest), *place])}", err=True)


def scan_lines(found: Scan) -> Iterator[str]:
    """What a scan found as text: the ranking, then the lines that name it in a recipe."""
    from mibias_cli.report.numbers import format_bits, format_interval, format_p, format_percent
    from mibias_cli.scan.page import headline, looked_at

    yield f"{found.data}; target {found.target}; {looked_at(found)}"
    yield headline(found)
    if found.shortcuts:
        has_features = any(each.feature_bits is not None for each in found.shortcuts)
        header = ["", "target bits", "95 % interval", "of all", "p", *(["features tell", ""] if has_features else [])]
        rows = []
        for each in found.shortcuts:
            told = each.feature_bits
            features = [] if told is None else [format_bits(told.estimate), f"of {format_bits(each.entropy_bits)} bits"]
            share, bits = format_percent(each.share_of_target), format_bits(each.target_bits.estimate)
            rows.append([each.name, bits, format_interval(each.target_bits), share, format_p(each.p_value), *features])
        yield from (f"  {line}" for line in aligned([header, *rows]))
        yield "in a recipe (image properties are columns of the attributes.csv that --out writes):"
        yield "  data:"
        yield "    attributes:"
        yield from (f"      {each.attribute}" for each in found.shortcuts)
    yield from (f"  {each.name}: {each.remark}" for each in found.shortcuts if each.remark)
    # what was tested and told nothing is part of the answer
    if found.others:
        yield f"no more than chance: {', '.join(each.name for each in found.others)}"
    yield from (f"  note: {note}" for note in found.notes)
