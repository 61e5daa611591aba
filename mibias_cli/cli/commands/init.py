"""`mibias init`: a first recipe for one's own data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mibias_cli.cli.options import (
    DataArgument,
    FollowLinksOption,
    FormatOption,
    RootOption,
    SourceOption,
    TableOption,
    column_option,
    file_option,
)
from mibias_cli.cli.output import MAX_COLUMNS, count_table, print_found, print_words
from mibias_cli.errors import DataError
from mibias_cli.output.whole_files import is_device, write_atomically

if TYPE_CHECKING:
    from mibias_cli.survey.attributes import AttributeFound
    from mibias_cli.survey.survey import Survey

__all__ = ["init"]

_MOST_NAMES, _MOST_ROWS, _MOST_LETTERS = 20, 5, 500


def init(
    path: DataArgument,
    out: Annotated[Path, file_option("--out", help="The recipe to write; a file that exists stays.")] = Path(
        "recipe.yaml"
    ),
    target: Annotated[str | None, column_option("--target", help="Column that is to be predicted.")] = None,
    attributes: Annotated[
        list[str] | None, column_option("--attribute", help="Column that features should not reveal. Repeatable.")
    ] = None,
    split: Annotated[
        str | None, column_option("--split", help="Column that says which rows train and which are audited.")
    ] = None,
    group: Annotated[
        str | None, column_option("--group", help="Column of patients, videos, …: none is in two splits.")
    ] = None,
    table: TableOption = None,
    source: SourceOption = None,
    root: RootOption = None,
    follow_links: FollowLinksOption = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="ENDING", help="Which image to read where a shard's samples have several."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME", help="A timm model. [default: by number and size of images]"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", metavar="WEIGHTS", help="none, pretrained, a file, … [default: pretrained if on this machine]"
        ),
    ] = None,
    output: FormatOption = None,
) -> None:
    """Look at data, say what was found, and write a first recipe.

    Finds classes, columns that may be bias attributes, how many rows each pair has, and how much the target tells of
    the attribute. Columns that no option names are guessed, and the guesses are listed. Where no file lists the rows
    as a recipe reads them, a manifest is written beside the recipe.
    """
    from mibias_cli.recipe.load import parse_recipe
    from mibias_cli.recipe.shipped import add_schema
    from mibias_cli.survey.first_recipe import first_recipe, write_needed_manifest
    from mibias_cli.survey.model_choice import choose_model
    from mibias_cli.survey.roles import Wishes
    from mibias_cli.survey.survey import survey

    # looking at data may take minutes, so a file that is in the way is refused first
    _refuse_existing(out)
    wishes = Wishes(
        target=target,
        attributes=tuple(attributes or ()),
        split=split,
        group=group,
        table=table,
        source=source,
        root=root,
        follow_links=follow_links,
        image=image,
    )
    found = survey(path, wishes)
    model = choose_model(found, backbone=backbone, weights=weights)
    text, manifest = first_recipe(found, model, source=path, out=out)
    # what is written is valid: else nothing is written
    parse_recipe(text, path=str(out))
    # the manifest, where one is needed, before the recipe that names it
    written = [out]
    if manifest is not None:
        _refuse_existing(manifest)
        write_needed_manifest(found, manifest)
        written.append(manifest)
    out.parent.mkdir(parents=True, exist_ok=True)
    # the recipe last: one that is there is never written over, so a full disk must not leave it without the rest
    written += add_schema(out)
    write_atomically(out, text, new=True)
    print_found(_plain(found), survey_lines(found), output)
    typer.echo(f"wrote {', '.join(map(str, written))}", err=True)
    if model.why:
        print_words(f"backbone {model.name} starts from random weights: {model.why} (--weights pretrained)")
    typer.echo(f"next: mibias train {out} --dry-run", err=True)


def survey_lines(found: Survey) -> Iterator[str]:
    """What was found as text: rows, target, attributes with their cells in training, guesses and notes."""
    from mibias_cli.data.files.tabular import first_rows
    from mibias_cli.survey.uses import inputs_of

    yield found.layout.what
    yield f"  rows        {', '.join(f'{n:,} {split}' for split, n in found.n_rows.items())}"
    if found.image_sizes:
        smallest, middle, largest = (f"{w} × {h}" for w, h in found.image_sizes)
        channels = f", {found.in_chans} channels" if found.in_chans else ""
        sizes = f" ({smallest} to {largest})" if smallest != largest else ""
        yield f"  images      about {middle} pixels{sizes}{channels}"
    yield f"  target      {found.target_title}: {first_rows(found.class_names, _MOST_NAMES)}"
    for attribute in found.chosen:
        n_rows = sum(found.n_rows.values())
        missing = f", missing in {attribute.n_missing:,} of {n_rows:,} rows" if attribute.n_missing else ""
        yield f"  attribute   {attribute.name}: {len(attribute.classes)} classes, {attribute.kind}{missing}"
        yield f"              in training the target tells {attribute.told.replace(' of ', ' of its ')}"
        yield f"  training: target × {attribute.name}"
        # very wide tables are cut
        rows = list(zip(found.class_names, attribute.cells[:, :MAX_COLUMNS], strict=True))
        yield from (f"    {line}" for line in count_table(attribute.classes[:MAX_COLUMNS], rows[:_MOST_ROWS]))
        # a page is for reading: of a thousand classes the first, and how many more there are
        more = [f"{len(rows) - _MOST_ROWS} more classes of the target"] if len(rows) > _MOST_ROWS else []
        n_columns = len(attribute.classes)
        more += [f"{n_columns - MAX_COLUMNS} more of {attribute.name}"] if n_columns > MAX_COLUMNS else []
        if more:
            yield f"    … and {', '.join(more)} (--format json has them all)"
    # further columns, those first that the target tells most of
    # and not those that are the target once more
    if others := [a for a in found.candidates if not a.renames_target]:
        yield f"  may be attributes too: {', '.join(f'{a.name} ({a.told})' for a in others[:8])}"
    for title, names in inputs_of(found.uses).items():
        if names:
            yield f"  {title:<12}{first_rows(names, _MOST_NAMES)}"
    yield from (f"  guessed: {_short(guess)}" for guess in found.guesses)
    yield from (f"  note: {_short(note)}" for note in found.notes)


def _short(text: str) -> str:
    """At most five lines of a terminal: a finding may name files of any length."""
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}… (--format json has all)"


def _plain(found: Survey) -> dict[str, object]:
    """What was found as plain data."""

    def attribute(a: AttributeFound) -> dict[str, object]:
        names = [dict(zip(a.classes, map(int, row), strict=True)) for row in a.cells]
        return {
            "kind": a.kind,
            "classes": list(a.classes),
            "cells": dict(zip(found.class_names, names, strict=True)),
            "shared_bits": a.shared_bits,
            "entropy_bits": a.entropy_bits,
            "n_missing": a.n_missing,
        }

    return {
        "layout": found.layout.what,
        "source": found.layout.source,
        "rows": dict(found.n_rows),
        "target": found.columns.target,
        "target_kind": found.columns.target_kind,
        "classes": list(found.class_names),
        "split": found.columns.split,
        "group": found.columns.group,
        "columns": dict(found.uses),
        "attributes": {a.name: attribute(a) for a in found.chosen},
        "candidates": {a.name: attribute(a) for a in found.candidates},
        "in_chans": found.in_chans,
        "image_sizes": [list(size) for size in found.image_sizes],
        "guesses": list(found.guesses),
        "notes": list(found.notes),
    }


def _refuse_existing(path: Path) -> None:
    if path.exists() and not is_device(path):
        raise DataError(f"{path}: exists already, and is never written over; choose another --out, or remove it")
