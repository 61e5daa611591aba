"""The recipe's `data`: one section per source, chosen by `data.source`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mibias_cli.recipe.values import (
    Bins,
    Fraction,
    Integer,
    NonNegative,
    Pixels,
    Positive,
    Section,
    TargetKindName,
    Text,
    Width,
    text_of_number,
)

__all__ = [
    "DATA_SOURCES",
    "AttributeSection",
    "ColumnsSection",
    "DataSection",
    "DigitsData",
    "EmbeddingsData",
    "ImageFolderData",
    "ManifestData",
    "MnistData",
    "NewValue",
    "SplitsSection",
    "TableData",
    "WebDatasetData",
]


# as in data.files.tabular, which recipes do not import
_MISSING = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "Nan", "None", "null", "NULL", "Null", "-", "?")


NewValue = str | int | float | list[str] | None
"""What a cell is read as (`data.values`)."""


class AttributeSection(Section):
    """One bias attribute: which column holds it and how it is read."""

    column: Text | None = Field(None, description="Column that holds the attribute; default: the attribute's own name.")
    kind: Literal["categorical", "continuous"] = Field(
        "categorical", description="categorical: any value is a class; continuous: a number."
    )
    # fewer than two bins would leave a head or probe nothing to predict
    bins: Bins = Field(
        8, description="Continuous only: quantile bins for attribute heads and probes (edges from the training split)."
    )


class ColumnsSection(Section):
    """Names of the columns of a manifest."""

    path: Text = Field("path", description="Column with the image path, relative to `root`.")
    target: str | list[str] | None = Field(
        "target", description="Column with the target, or a list of columns of labels (0 and 1) or numbers; null: none."
    )
    split: Text | None = Field(None, description="Column with the split name; null: split by `splits.fractions`.")
    group: Text | None = Field(None, description="Column with a group id (patient, video): no group spans two splits.")
    forget: Text | None = Field(
        None, description="Column that marks training rows to be forgotten (yes, true or 1), by method: miu or retrain."
    )

    # checked by hand: pydantic would report each member of the union, three errors for one mistake
    @field_validator("target", mode="before")
    @classmethod
    def _target_names_columns(cls, value: object) -> object:
        names = [text_of_number(name) for name in (value if isinstance(value, list) else [value])]
        if value is None or (names and all(isinstance(name, str) for name in names)):
            return names if isinstance(value, list) else names[0]
        raise ValueError("must be a column, a list of columns, or null")


class SplitsSection(Section):
    """Which rows train, validate and are audited."""

    train: Text = Field("train", description="Value of the split column for training rows.")
    validation: Text = Field(
        "validation",
        description="Value of the split column for validation rows; (drawn from train): some of the training rows.",
    )
    audit: Text = Field("test", description="Value of the split column for the rows that are audited.")
    fractions: tuple[NonNegative, NonNegative, NonNegative] = Field(
        (0.7, 0.1, 0.2), description="Train, validation, audit: used where no split column is given."
    )

    # a tolerance for 0.7 + 0.1 + 0.2, which is not quite 1
    @field_validator("fractions")
    @classmethod
    def _fractions_sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1.0) > 1e-6:
            raise ValueError(f"must sum to 1, they sum to {sum(value):g}")
        return value


class _Files(Section):
    """What every source that reads the user's files shares."""

    splits: SplitsSection = SplitsSection()
    target_kind: TargetKindName | None = Field(
        None,
        description="classes, multilabel (columns of 0 and 1), regression (numbers), or none: features then stay close "
        "to the original's. null: none without a target column, classes for one, for a list what its values are.",
    )
    encoding: str = Field("utf-8", description="Encoding of a CSV file's text, as Python names it: cp1252, utf-16, ….")
    missing: list[Text] = Field(
        [*_MISSING],
        description="What a missing value is written as, exactly (a number: in any spelling); empty cells always are.",
    )
    values: dict[str, dict[str, NewValue]] = Field(
        {},
        description="By column, old values of cells and new ones: { Edema: { -1: 1 } }; null is a "
        "missing value, [] a list without a label, (left out) leaves the row out; (missing) names empty cells.",
    )
    attributes: dict[str, AttributeSection] = Field(
        description="Bias attributes by name, each with its column and kind; {} where `discover` is to find one."
    )

    # checked by hand: pydantic would report each member of the union
    @field_validator("values", mode="before")
    @classmethod
    def _values_are_cells(cls, value: object) -> object:
        for name, olds in value.items() if isinstance(value, dict) else [("", value)]:
            if not isinstance(olds, dict):
                raise ValueError("must be, for each column, old values with new ones: { Edema: { -1: 1 } }")
            for old, new in olds.items():
                listed = isinstance(new, list) and all(isinstance(item, str) for item in new)
                finite = not isinstance(new, float) or math.isfinite(new)
                if not listed and (
                    isinstance(new, bool) or not isinstance(new, str | int | float | None) or not finite
                ):
                    raise ValueError(f"{name}: {old}: must be text, a number, a list of texts, or null for missing")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        try:
            " ".encode(value)
        except LookupError:
            raise ValueError(f"no encoding of text is called {value!r}; usual ones are utf-8, cp1252, utf-16") from None
        return value


_FOLLOW_LINKS = Field(
    None,
    description="A folder (a hub's cache, a data store): links of images to what lies below it are followed, though it "
    "is not below `root`.",
)


OnBadSampleName = Literal["error", "skip"]
_ON_BAD_SAMPLE: OnBadSampleName = Field(
    "error",
    description="What an image is that is missing or cannot be read: error, or skip: all images are read first, and "
    "such rows are left out, counted and listed.",
)


class ManifestData(_Files):
    """Images that a table lists."""

    source: Literal["manifest"]
    path: Path = Field(description="Table (.csv, .tsv, .parquet, .feather, .jsonl), relative to the recipe.")
    root: Path | None = Field(None, description="Folder that image paths start from; default: the manifest's folder.")
    follow_links: Path | None = _FOLLOW_LINKS
    on_bad_sample: OnBadSampleName = _ON_BAD_SAMPLE
    columns: ColumnsSection = ColumnsSection()


class ImageFolderData(_Files):
    """torchvision ImageFolder (class folders, or split folders with class folders) + a sidecar CSV of attributes."""

    source: Literal["imagefolder"]
    root: Path = Field(description="Folder with class folders, or with train/… split folders that hold class folders.")
    follow_links: Path | None = _FOLLOW_LINKS
    on_bad_sample: OnBadSampleName = _ON_BAD_SAMPLE
    sidecar: Path = Field(description="Table with one row per image: its path below root and its attributes.")
    columns: ColumnsSection = ColumnsSection()


class WebDatasetData(_Files):
    """Images in WebDataset's shards: uncompressed tar files with an image and its labels under one key."""

    source: Literal["webdataset"]
    path: Path = Field(
        description="A folder of .tar files, one of them, or a pattern: shards/train-{000000..000099}.tar."
    )
    image: Text | None = Field(
        None, description="Ending of the member that is the image where samples have several: jpg, or jpg;png."
    )
    on_bad_sample: OnBadSampleName = _ON_BAD_SAMPLE
    columns: ColumnsSection = ColumnsSection()


class _Coloured(Section):
    """The colour protocol that digits and MNIST share; the attribute is `colour`: 3 channels × 8 bins."""

    variance: NonNegative = Field(
        0.02, description="Variance σ² of colours around their digit's mean, in [0, 1] units."
    )
    colour_seed: Integer = Field(0, description="Seed of the colours (apart from the run's seed).")
    size: Pixels | None = Field(None, description="Side in pixels to which digits are resized; null: as they are.")
    validation_fraction: Fraction = Field(0.1, description="Share of the training images kept as biased validation.")


class DigitsData(_Coloured):
    """scikit-learn's 1,797 handwritten digits, coloured; needs no file and no network."""

    source: Literal["digits"]
    audit_fraction: Fraction = Field(0.3, description="Share of the digits that is audited under random colours.")


class MnistData(_Coloured):
    """MNIST from its IDX files, coloured: biased training images, audited under random colours."""

    source: Literal["mnist"]
    root: Path = Field(description="Folder with MNIST's four IDX files (.gz or not).")
    n_train: Positive | None = Field(None, description="Use only the first n training images; null: all.")


class TableData(_Files):
    """Typed columns of a table: numbers are standardised, other values one-hot encoded."""

    source: Literal["table"]
    path: Path = Field(description="Table (.csv, .tsv, .parquet, .feather, .jsonl), relative to the recipe.")
    columns: ColumnsSection = ColumnsSection()
    features: list[Text] | None = Field(
        None,
        description="Input columns; null: every column without another role, but for row numbers, ids, dates, prose, "
        "splits and empty columns (docs/data.md).",
    )
    categories: list[Text] = Field(
        [], description="Feature columns whose values are categories though they look like numbers (codes, say)."
    )
    unseen: Literal["error", "zeros"] = Field(
        "error",
        description="What a category that training rows do not have is to `embed` and `predict`: an error that names "
        "it, or all zeros, as it is in validation and audited rows.",
    )
    ramps: Width | None = Field(
        None,
        description="Also encode each number by at most this many ramps, each linear over one piece of its range and "
        "flat elsewhere; null: the number alone.",
    )


class EmbeddingsData(_Files):
    """Stored embeddings: features of a safetensors, npz or Parquet file beside a table of columns."""

    source: Literal["embeddings"]
    path: Path = Field(
        description=".safetensors, .npz or .npy with an array (n, d), or .parquet with feature columns or a column of "
        "lists; or a folder of such files (part-00000-of-00123.parquet, …)."
    )
    key: str = Field(
        "features", description="Name of the array in a .safetensors or .npz file, or of a Parquet column of lists."
    )
    prefix: str = Field("z_", description="Parquet only: columns whose names start with this are the features.")
    manifest: Path | None = Field(
        None, description="Table with one row per embedding, in order; null: columns of the Parquet file."
    )
    columns: ColumnsSection = ColumnsSection()


DATA_SOURCES = ("manifest", "imagefolder", "digits", "mnist", "table", "embeddings", "webdataset")
"""Every value of `data.source`."""

DataSection = Annotated[
    ManifestData | ImageFolderData | DigitsData | MnistData | TableData | EmbeddingsData | WebDatasetData,
    Field(discriminator="source"),
]
