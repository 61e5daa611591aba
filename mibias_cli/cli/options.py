"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "CheckFilesOption",
    "DataArgument",
    "Device",
    "DeviceOption",
    "DevicesOption",
    "DryRunOption",
    "ExamplesOption",
    "ExportFormat",
    "FollowLinksOption",
    "FormatOption",
    "JobsOption",
    "NodesOption",
    "OfflineOption",
    "PrecisionOption",
    "ReportFormat",
    "RootOption",
    "SetOption",
    "SourceOption",
    "TableOption",
    "UnfinishedOption",
    "column_option",
    "file_option",
    "folder_option",
    "seed_option",
]

# options by the kind of their value
column_option = partial(typer.Option, metavar="COLUMN")
folder_option = partial(typer.Option, metavar="DIR")
file_option = partial(typer.Option, metavar="FILE")
seed_option = partial(typer.Option, "--seed", metavar="N", min=0, max=2**31 - 1)

# As in the recipe, whose models are not imported for the names: that would cost --help its speed.
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["32", "64", "bf16", "16", "auto"]
ReportFormat = Literal["text", "json"]


class ExportFormat(StrEnum):
    """export.formats of the recipe; an enumeration, as typer takes no list of literals."""

    safetensors = "safetensors"
    onnx = "onnx"


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value of the recipe, for example debias.weight=2. Repeatable."
    ),
]
# what `init` and `scan` look at
DataArgument = Annotated[
    Path, typer.Argument(metavar="PATH", help="A folder of images, a manifest, a table, or stored embeddings.")
]
TableOption = Annotated[
    Path | None,
    file_option("--table", help="Table of labels of the images, or embeddings. [default: looked for]"),
]
SourceOption = Annotated[
    Literal["table", "manifest"] | None,
    typer.Option(
        "--source",
        help="Whether PATH's columns are inputs, or it lists images. [default: by what it holds]",
    ),
]
RootOption = Annotated[
    Path | None, folder_option("--root", help="Where a manifest's image paths start. [default: looked for]")
]
FollowLinksOption = Annotated[
    Path | None,
    folder_option("--follow-links", help="Follow links of images to what lies below this folder (a hub's cache)."),
]
DeviceOption = Annotated[
    Device | None, typer.Option("--device", help="Where to compute; auto: on a GPU if there is one.")
]
DevicesOption = Annotated[
    int | None, typer.Option("--devices", metavar="N", min=1, help="GPUs (or CPU processes) of each machine.")
]
NodesOption = Annotated[
    int | None, typer.Option("--num-nodes", metavar="M", min=1, help="Machines that train together.")
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="Bits of floating point; auto: bf16 where the device computes in it."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, take a few steps, estimate time and memory; write no run.")
]
FormatOption = Annotated[
    ReportFormat | None, typer.Option("--format", help="Output format. [default: text on a terminal, json elsewhere]")
]
# at most 20 each: the images are stored in the report's page
ExamplesOption = Annotated[
    int,
    typer.Option(
        "--examples", metavar="N", min=0, max=20, help="Example images of each target × attribute cell in the report."
    ),
]
CheckFilesOption = Annotated[
    bool, typer.Option("--check-files", help="Read every image before training, not only some of the audited ones.")
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", metavar="N", min=1, help="Processes that fit the audit's probes. [default: one a core]"),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Refuse every download, and say what would have been fetched.")
]
UnfinishedOption = Annotated[
    bool, typer.Option("--unfinished", help="Take a run that has not ended as it is, and say so in what is written.")
]
