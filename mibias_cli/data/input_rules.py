"""How new data are read as the training data were: what an export keeps beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mibias_cli.data.files.tabular import AS_USUAL, Reading
from mibias_cli.data.table_encoder import TableEncoder

__all__ = ["EmbeddingRules", "ImageRules", "InputRules", "TableRules", "Unseen"]

Unseen = Literal["error", "zeros"]
"""What a category that training does not have is in new data."""


@dataclass(frozen=True, kw_only=True)
class ImageRules:
    """Images: a manifest's path column and how its text is read.

    Args:
        image: Ending of the member of shards that is the image; None: the one that is an image.
        fills_frame: Images are resized whole, without the crop of the backbone's transform, as digits are.
    """

    kind: Literal["images"] = "images"
    path: str = "path"
    image: str | None = None
    fills_frame: bool = False
    reading: Reading = AS_USUAL


@dataclass(frozen=True, kw_only=True)
class TableRules:
    """Columns of a table: everything that was fitted on training rows, in the inputs' order."""

    kind: Literal["table"] = "table"
    encoder: TableEncoder
    unseen: Unseen = "error"
    reading: Reading = AS_USUAL


@dataclass(frozen=True, kw_only=True)
class EmbeddingRules:
    """Stored embeddings: the array's name, and the beginning of the names of Parquet columns."""

    kind: Literal["embeddings"] = "embeddings"
    key: str = "features"
    prefix: str = "z_"


InputRules: TypeAlias = ImageRules | TableRules | EmbeddingRules
