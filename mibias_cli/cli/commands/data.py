"""Commands that turn data sets as they are distributed into manifests and shards that recipes read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mibias_cli.cli.options import FormatOption, ReportFormat, column_option, folder_option, seed_option
from mibias_cli.cli.output import print_found

if TYPE_CHECKING:
    from mibias_cli.datasets.manifests import WrittenManifests

__all__ = ["data_app"]

data_app = typer.Typer(
    help="Turn data sets into manifests and shards that recipes read.", no_args_is_help=True, rich_markup_mode=None
)

# options that several of the commands share
_Out = Annotated[Path, folder_option("--out", help="Folder to write manifests to.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace manifests that exist in --out.")]
_Seed = Annotated[int, seed_option(help="Seed of the split.")]
_Bins = Annotated[
    str | None,
    typer.Option(
        "--age-bins",
        metavar="A,B,…",
        help="Edges of the age bins; the last bin has no end. [default: 0,20,25,30,35,40,45,50,55,60,65,70,120]",
    ),
]


@data_app.command("faces")
def faces(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images named age_sex_race_date.jpg, as in UTKFace.")],
    out: _Out,
    age_bins: _Bins = None,
    min_age: Annotated[int, typer.Option("--min-age", metavar="N", min=0, help="Leave younger people out.")] = 0,
    seed: _Seed = 0,
    overwrite: _Overwrite = False,
    output: FormatOption = None,
) -> None:
    """Write eb1.csv and eb2.csv: faces where age gives the sex away.

    EB1 trains on women of 0 to 29 and men from 40, EB2 on women from 40 and men of 0 to 29. The split column of each
    has train, validation, other_extreme (the pairs that training never shows) and balanced (as many of each pair).
    """
    from mibias_cli.datasets.manifests import make_faces

    made = make_faces(folder, out, edges=_edges(age_bins), min_age=min_age, seed=seed, overwrite=overwrite)
    _show(made, output)


@data_app.command("imdb")
def imdb(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="CSV or Parquet with path, age and sex.")],
    out: _Out,
    root: Annotated[
        Path | None, folder_option("--root", help="Where image paths start. [default: MANIFEST's folder]")
    ] = None,
    path_column: Annotated[str, column_option("--path-column", help="Image paths.")] = "path",
    age_column: Annotated[str, column_option("--age-column", help="Ages in years.")] = "age",
    sex_column: Annotated[str, column_option("--sex-column", help="Sexes.")] = "sex",
    identity_column: Annotated[
        str | None, column_option("--identity-column", help="Column with the person: nobody is in two splits.")
    ] = None,
    female: Annotated[
        str | None,
        typer.Option(
            "--female", metavar="VALUE", help="The sex that means female (0 in IMDB-WIKI). [default: female, f, woman]"
        ),
    ] = None,
    age_bins: _Bins = None,
    seed: _Seed = 0,
    overwrite: _Overwrite = False,
    output: FormatOption = None,
) -> None:
    """Write eb1.csv and eb2.csv from a table of people.

    They are what `mibias data faces` writes.
    """
    from mibias_cli.datasets.manifests import PeopleColumns, make_imdb

    columns = PeopleColumns(path=path_column, age=age_column, sex=sex_column, identity=identity_column, female=female)
    made = make_imdb(manifest, out, root=root, columns=columns, edges=_edges(age_bins), seed=seed, overwrite=overwrite)
    _show(made, output)


@data_app.command("celeba")
def celeba(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="CelebA: list_attr_celeba, list_eval_partition, images.")
    ],
    out: _Out,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="NAME", help="Attributes to write, or `all`. Repeatable. [default: Blond_Hair, Male]"
        ),
    ] = None,
    overwrite: _Overwrite = False,
    output: FormatOption = None,
) -> None:
    """Write celeba.csv: attributes and split by image.

    Attributes are yes and no, the split is CelebA's partition; tables are joined by image id.
    """
    from mibias_cli.datasets.manifests import make_celeba

    # the pair that is usual in work on bias
    names = columns or ["Blond_Hair", "Male"]
    _show(make_celeba(folder, out, attributes=None if names == ["all"] else names, overwrite=overwrite), output)


@data_app.command("waterbirds")
def waterbirds(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds metadata.csv and the images.")],
    out: _Out,
    overwrite: _Overwrite = False,
    output: FormatOption = None,
) -> None:
    """Write waterbirds.csv: metadata.csv in words."""
    from mibias_cli.datasets.manifests import make_waterbirds

    _show(make_waterbirds(folder, out, overwrite=overwrite), output)


@data_app.command("shards")
def shards(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Parquet or Arrow with images in it, or a folder of these.")
    ],
    out: Annotated[Path, folder_option("--out", help="Folder to write shards to.")],
    image: Annotated[
        str | None, column_option("--image", help="Column with the images. [default: the only one]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace shards that exist in --out.")] = False,
    output: FormatOption = None,
) -> None:
    """Write images that lie within tables to WebDataset's shards.

    It is for Parquet and Arrow as data set hubs store images. One .tar for each file: the bytes of its images as they
    are, and a .json of the other columns beside each.
    """
    from mibias_cli.datasets.hub_images import write_hub_shards

    made = write_hub_shards(path, out, image=image, overwrite=overwrite)
    counts = {str(shard): n for shard, n in made.counts.items()}
    lines = [f"{shard}  {n:,} images" for shard, n in counts.items()]
    print_found({"files": counts, "left_out": made.left_out}, lines, output)
    if made.left_out:
        names = ", ".join(f"{name} ({kind})" for name, kind in made.left_out.items())
        typer.echo(f"note: columns left out, which hold no single value: {names}", err=True)
    typer.echo(f"next: mibias init {out}", err=True)


def _edges(text: str | None) -> tuple[int, ...]:
    from mibias_cli.datasets.extremes import AGE_EDGES

    # without the option, the edges that its help names
    if text is None:
        return AGE_EDGES
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers", param_hint="--age-bins") from error


def _show(made: WrittenManifests, output: ReportFormat | None) -> None:
    """Counts on stdout; what was left out, and where the manifests are, on stderr."""
    # a line for every split: its rows, and those of every cell
    lines = []
    for path, splits in made.counts.items():
        lines.append(str(path))
        for split, cells in splits.items():
            of_cells = ", ".join(f"{name}: {n:,}" for name, n in cells.items())
            lines.append(f"  {split:14} {sum(cells.values()):>8,}   {of_cells}")
    counts = {str(path): splits for path, splits in made.counts.items()}
    print_found({"root": str(made.root), "files": counts, "notes": made.notes}, lines, output)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {', '.join(map(str, made.counts))}; data.root of a recipe is {made.root}", err=True)
