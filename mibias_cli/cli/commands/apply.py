"""Commands that use an extractor on new data: embed, predict. They import torch, and so only when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mibias_cli.cli.options import Device, DeviceOption, OfflineOption, file_option
from mibias_cli.cli.progress import shown_progress

__all__ = ["embed", "predict"]

TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="An exported folder, a run, or a timm model name.")
]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="FILE_OR_FOLDER",
        help="New data, as the model was trained: images (folder, manifest, shards), a table, or stored embeddings.",
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="R", help="Recipe whose data section says how to read. [default: as in training]"),
]


def embed(
    target: TargetArgument,
    data: DataOption,
    out: Annotated[Path, file_option("--out", help="A new .parquet or .safetensors file.")],
    recipe: RecipeOption = None,
    device: DeviceOption = None,
    offline: OfflineOption = False,
) -> None:
    """Write debiased features of new data.

    Columns z_0, z_1, …, one row per input, in their order, behind its path or row. Neither targets nor attributes are
    needed.
    """
    _apply(target, data, out, recipe, device, offline, predict=False)


def predict(
    target: TargetArgument,
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
    target: str, data: Path, out: Path, recipe: Path | None, device: Device | None, offline: bool, *, predict: bool
) -> None:
    from mibias_cli.recipe.load import load_recipe
    from mibias_cli.run.apply import apply

    loaded = None if recipe is None else load_recipe(recipe)
    wanted = device or "auto"
    with shown_progress() as progress:
        rows = apply(
            target, data, out, predict=predict, recipe=loaded, device=wanted, offline=offline, progress=progress
        )
    typer.echo(f"{len(rows.ids)} rows: {out}", err=True)
