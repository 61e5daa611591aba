"""Commands that use an extractor on new data: embed, predict. They import torch, and so only when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mibias_cli.cli.options import DeviceOption, OfflineOption, file_option
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
        help="New data, as the model was trained: a folder of images or a manifest, a table, or stored embeddings.",
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
    from mibias_cli.recipe.load import load_recipe
    from mibias_cli.run.apply import embed_file

    loaded = None if recipe is None else load_recipe(recipe)
    with shown_progress() as progress:
        rows = embed_file(target, data, out, recipe=loaded, device=device or "auto", offline=offline, progress=progress)
    typer.echo(f"{len(rows.ids)} rows of {rows.features.shape[1]} features: {out}", err=True)


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
    from mibias_cli.recipe.load import load_recipe
    from mibias_cli.run.apply import predict_file

    loaded = None if recipe is None else load_recipe(recipe)
    with shown_progress() as progress:
        rows = predict_file(
            target, data, out, recipe=loaded, device=device or "auto", offline=offline, progress=progress
        )
    typer.echo(f"{len(rows.ids)} rows: {out}", err=True)
