"""Commands that use an extractor on new data: embed, predict. They import torch, and so only when they are called."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from mibias_cli.cli.options import Device, DeviceOption, OfflineOption, file_option
from mibias_cli.cli.progress import shown_progress
from mibias_cli.cli.ranks import joined, run_ranks
from mibias_cli.cli.stopping import on_stop
from mibias_cli.progress import Silent
from mibias_cli.ranks.place import find_place

__all__ = ["embed", "predict"]

FeatureFormat = Literal["parquet", "safetensors"]
TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="An exported folder, a run, or a timm model name.")
]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="FILE_OR_FOLDER",
        help="New data of the kind that trained the model: images (folder, manifest, shards), a table, or embeddings.",
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe", metavar="R", help="Recipe whose data section says how to read --data. [default: as in training]"
    ),
]


def embed(
    target: TargetArgument,
    data: DataOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE_OR_FOLDER",
            help="A new .parquet or .safetensors file; with --rows-per-shard, a folder.",
        ),
    ],
    rows_per_shard: Annotated[
        int | None, typer.Option("--rows-per-shard", metavar="N", min=1, help="Write files of N rows to a folder.")
    ] = None,
    output: Annotated[
        FeatureFormat | None, typer.Option("--format", help="Format of shards. [default: parquet]", show_default=False)
    ] = None,
    recipe: RecipeOption = None,
    device: DeviceOption = None,
    devices: Annotated[
        int | None,
        typer.Option("--devices", metavar="N", min=1, help="GPUs (or CPU processes) that write shards side by side."),
    ] = None,
    num_workers: Annotated[
        int, typer.Option("--num-workers", metavar="N", min=0, help="Processes that read images, for each device.")
    ] = 0,
    offline: OfflineOption = False,
) -> None:
    """Write debiased features of new data.

    One row per input, in their order: its path or row number, then z_0, z_1, …. Neither targets nor attributes are
    needed.

    With --rows-per-shard they go to part-00000-of-00123.parquet and so on. Shards that are there stay, so the same
    command goes on after an interruption. Processes of --devices, torchrun or srun share the work.
    """
    if rows_per_shard is None:
        if devices is not None or output is not None:
            raise typer.BadParameter("--devices and --format are about shards: add --rows-per-shard N")
        place = find_place(os.environ)
        if place is not None:
            raise typer.BadParameter(
                f"{place.by} has started {place.size} processes, and one file is written by one: add --rows-per-shard N"
            )
        _apply(target, data, out, recipe, device, offline, predict=False, num_workers=num_workers)
        return
    _embed_shards(target, data, out, rows_per_shard, output, recipe, device, devices, num_workers, offline)


def predict(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="An exported folder or a run.")],
    data: DataOption,
    out: Annotated[Path, file_option("--out", help="A new .csv file.")],
    recipe: RecipeOption = None,
    device: DeviceOption = None,
    offline: OfflineOption = False,
) -> None:
    """Write what the debiased model predicts of new data.

    A header and one row per input, in their order: the class and a probability of each, a probability of each label, or
    numbers in the target's units.
    """
    _apply(target, data, out, recipe, device, offline, predict=True)


def _apply(
    target: str,
    data: Path,
    out: Path,
    recipe: Path | None,
    device: Device | None,
    offline: bool,
    *,
    predict: bool,
    num_workers: int = 0,
) -> None:
    from mibias_cli.recipe.load import load_recipe
    from mibias_cli.run.apply import apply

    loaded = None if recipe is None else load_recipe(recipe)
    wanted = device or "auto"
    with shown_progress() as progress:
        rows = apply(
            target,
            data,
            out,
            predict=predict,
            recipe=loaded,
            device=wanted,
            offline=offline,
            num_workers=num_workers,
            progress=progress,
        )
    typer.echo(f"{len(rows.ids)} rows: {out}", err=True)


def _embed_shards(
    target: str,
    data: Path,
    out: Path,
    rows_per_shard: int,
    output: FeatureFormat | None,
    recipe: Path | None,
    device: Device | None,
    devices: int | None,
    num_workers: int,
    offline: bool,
) -> None:
    place = joined(devices)
    with on_stop(lambda: "shards that are whole stay; the same command goes on from there"):
        if place is None and devices is not None and devices > 1:
            if code := run_ranks(sys.argv[1:], devices=devices, nodes=1):
                raise typer.Exit(code)
        else:
            from mibias_cli.recipe.load import load_recipe
            from mibias_cli.run.apply import embed_shards

            loaded = None if recipe is None else load_recipe(recipe)
            with shown_progress() if place is None or place.rank == 0 else nullcontext(Silent()) as progress:
                embed_shards(
                    target,
                    data,
                    out,
                    rows_per_shard=rows_per_shard,
                    suffix=f".{output or 'parquet'}",
                    recipe=loaded,
                    device=device or "auto",
                    offline=offline,
                    num_workers=num_workers,
                    progress=progress,
                )
    # under torchrun and srun no rank knows when the others have ended
    if place is None:
        from mibias_cli.export.feature_shards import described_shards

        shards = described_shards(out)
        typer.echo(f"{shards.n_rows} rows in {len(shards)} shards: {out}", err=True)
