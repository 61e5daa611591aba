"""The recipe: one frozen pydantic model per YAML section.

Every key that a recipe may hold is declared here with its default and a one-line description; the JSON Schema that
``mibias schema`` prints is made from these models. Names of data sources, estimators and probes are literals here and
keys of the tables in :mod:`mibias_cli.run.build`; a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from mibias_cli.recipe.sections.debias import DebiasSection
from mibias_cli.recipe.sections.discover import DiscoverSection
from mibias_cli.recipe.sections.evaluation import EvaluationSection
from mibias_cli.recipe.sections.gates import GateSection, gate_may_be_text
from mibias_cli.recipe.values import (
    Flag,
    FormatName,
    Fraction,
    Integer,
    NonNegative,
    Number,
    Positive,
    Rate,
    Section,
    TargetKindName,
    Text,
    Whole,
    text_of_number,
)

__all__ = [
    "DATA_SOURCES",
    "AttributeSection",
    "BackboneSection",
    "ColumnsSection",
    "DataSection",
    "DebiasSection",
    "DigitsData",
    "EmbeddingsData",
    "EvaluationSection",
    "ExportSection",
    "ImageFolderData",
    "ManifestData",
    "MnistData",
    "OriginalSection",
    "Recipe",
    "RepresentationSection",
    "SelectSection",
    "SplitsSection",
    "TableData",
    "TrainingSection",
]


# --- data -----------------------------------------------------------------------------------------------------------


class AttributeSection(Section):
    """One bias attribute: which column holds it and how it is read."""

    column: Text | None = Field(None, description="Column that holds the attribute; default: the attribute's own name.")
    kind: Literal["categorical", "continuous"] = Field(
        "categorical", description="categorical: any value is a class; continuous: a number."
    )
    bins: Annotated[int, Field(ge=2), Whole] = Field(
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

    @field_validator("target", mode="before")
    @classmethod
    def _target_names_columns(cls, value: Any) -> Any:
        names = [text_of_number(name) for name in (value if isinstance(value, list) else [value])]
        if value is None or (names and all(isinstance(name, str) for name in names)):
            return names if isinstance(value, list) else names[0]
        raise ValueError("must be a column, a list of columns, or null")


class SplitsSection(Section):
    """Which rows train, validate and are audited."""

    train: Text = Field("train", description="Value of the split column for training rows.")
    validation: Text = Field("validation", description="Value of the split column for validation rows.")
    audit: Text = Field("test", description="Value of the split column for the rows that are audited.")
    fractions: tuple[NonNegative, NonNegative, NonNegative] = Field(
        (0.7, 0.1, 0.2), description="Train, validation, audit: used where no split column is given."
    )

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
    attributes: dict[str, AttributeSection] = Field(
        description="Bias attributes by name, each with its column and kind; {} where `discover` is to find one."
    )


class ManifestData(_Files):
    """Images listed in a CSV or Parquet manifest."""

    source: Literal["manifest"]
    path: Path = Field(description="CSV or Parquet file, relative to the recipe.")
    root: Path | None = Field(None, description="Folder that image paths start from; default: the manifest's folder.")
    columns: ColumnsSection = ColumnsSection()


class ImageFolderData(_Files):
    """torchvision ImageFolder (class folders, or split folders with class folders) + a sidecar CSV of attributes."""

    source: Literal["imagefolder"]
    root: Path = Field(description="Folder with class folders, or with train/… split folders that hold class folders.")
    sidecar: Path = Field(description="CSV or Parquet with one row per image: its path below root and its attributes.")
    columns: ColumnsSection = ColumnsSection()


class _Coloured(Section):
    """The colour protocol that digits and MNIST share; the attribute is `colour`: 3 channels × 8 bins."""

    variance: NonNegative = Field(
        0.02, description="Variance σ² of colours around their digit's mean, in [0, 1] units."
    )
    colour_seed: Integer = Field(0, description="Seed of the colours (apart from the run's seed).")
    size: Positive | None = Field(None, description="Side in pixels to which digits are resized; null: as they are.")
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
    """Typed columns of a CSV or Parquet table: numbers are standardised, other values one-hot encoded."""

    source: Literal["table"]
    path: Path = Field(description="CSV or Parquet file, relative to the recipe.")
    columns: ColumnsSection = ColumnsSection()
    features: list[Text] | None = Field(
        None, description="Feature columns; null: every column that is no target, attribute, split or group."
    )
    ramps: Positive | None = Field(
        None, description="Numbers are also given as at most so many ramps over pieces of their range; null: not."
    )


class EmbeddingsData(_Files):
    """Stored embeddings: features of a safetensors, npz or Parquet file beside a table of columns."""

    source: Literal["embeddings"]
    path: Path = Field(description=".safetensors or .npz with an array (n, d), or .parquet with feature columns.")
    key: str = Field("features", description="Name of the array in a .safetensors or .npz file.")
    prefix: str = Field("z_", description="Parquet only: columns whose name starts so are the features.")
    manifest: Path | None = Field(
        None, description="CSV or Parquet with one row per embedding, in order; null: columns of the Parquet file."
    )
    columns: ColumnsSection = ColumnsSection()


DATA_SOURCES = ("manifest", "imagefolder", "digits", "mnist", "table", "embeddings")
"""Every value of `data.source`."""

DataSection = Annotated[
    ManifestData | ImageFolderData | DigitsData | MnistData | TableData | EmbeddingsData, Field(discriminator="source")
]


# --- model ----------------------------------------------------------------------------------------------------------


class BackboneSection(Section):
    """The feature extractor: any timm model, the paper's digit network, or an MLP for tables and embeddings."""

    name: str = Field(description="A timm model name, `digit_cnn`, or `mlp`.")
    weights: str = Field(
        "none",
        description="none, pretrained (timm's own), a .safetensors/.pth path, local-dir:FOLDER, or hf-hub:ORG/MODEL.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the model (digit_cnn: width, hidden, features, dropout; mlp: hidden, "
        "features, dropout).",
    )
    input_size: Positive | None = Field(None, description="Side of the input in pixels; null: what the model asks for.")
    channels: Literal[1, 3] | None = Field(None, description="Input channels; null: what the model asks for.")
    train: Literal["all", "none"] | list[str] = Field(
        "all", description="all, none, or the names of the stages (module prefixes) that train; others stay frozen."
    )
    layer_decay: Annotated[float, Field(gt=0, le=1), Number] = Field(
        1.0, description="Learning-rate factor from each stage to the one before it (layer-wise learning rates)."
    )
    freeze_batchnorm: Flag = Field(False, description="Keep BatchNorm statistics and affine parameters as loaded.")
    licence: str | None = Field(
        None, description="Licence of the base weights, for the model card; null: as timm says."
    )

    @field_validator("train", mode="before")
    @classmethod
    def _train_names_stages(cls, value: Any) -> Any:
        if value in ("all", "none") or (isinstance(value, list) and all(isinstance(stage, str) for stage in value)):
            return value
        raise ValueError("must be all, none, or a list of stage names")


class RepresentationSection(Section):
    """What is audited and exported (the features), and which layers the MI penalty sees."""

    bottleneck: Positive | None = Field(
        None, description="Width of a linear + ReLU bottleneck on the pooled features; it then is the representation."
    )
    layers: list[str] = Field(
        default_factory=lambda: ["features"],
        min_length=1,
        description="What is penalised: `features`, `output` (class probabilities), or names of inner modules.",
    )
    pool: Literal["none", "mean", "max"] = Field(
        "none", description="Inner maps whole (flattened) or pooled over space or tokens."
    )


class OriginalSection(Section):
    """Plain training on the task alone, before debiasing: its result is the extractor that `before` speaks of."""

    epochs: Positive = Field(description="Epochs of plain training.")
    learning_rate: Rate | None = Field(None, description="Learning rate; null: training.learning_rate.")
    start_debiasing_from: Literal["original", "initial"] = Field(
        "original", description="Debiasing starts from the plainly trained weights or from those before it."
    )


# --- training -------------------------------------------------------------------------------------------------------


class SelectSection(Section):
    """Best-checkpoint choice and early stopping by a validation metric."""

    metric: str | None = Field(
        None, description="Name in metrics.jsonl, for example validation/balanced_accuracy; null: the last epoch."
    )
    mode: Literal["max", "min"] = Field("max", description="Whether larger or smaller is better.")
    patience: Positive | None = Field(None, description="Stop after so many epochs without improvement; null: never.")


class TrainingSection(Section):
    """Optimisation, precision and logging."""

    epochs: Positive = Field(10, description="Epochs of debiasing.")
    batch_size: Positive = Field(128, description="Samples per step.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adamw", description="Optimizer of extractor and task head.")
    learning_rate: Rate = Field(1e-3, description="Peak learning rate.")
    weight_decay: NonNegative = Field(0.0, description="Weight decay.")
    momentum: NonNegative = Field(0.9, description="Momentum of sgd.")
    beta1: Annotated[float, Field(ge=0, lt=1), Number] = Field(
        0.9, description="Decay of adam's mean gradient; 0.5 steadies the game against a critic."
    )
    schedule: Literal["cosine", "constant"] = Field("cosine", description="Learning-rate schedule.")
    warmup_epochs: NonNegative = Field(0.0, description="Epochs over which the learning rate rises linearly.")
    final_share: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        None,
        description="Share of the peak learning rate at which cosine ends; null: 0, or 0.2 with `debias.budget_bits`, "
        "as features that no longer move do not follow λ.",
    )
    clip_norm: Rate | None = Field(None, description="Largest gradient norm; null: no clipping.")
    max_skipped_steps: Annotated[int, Field(ge=0), Whole] = Field(
        10, description="Steps in a row that may be skipped, as something in them is not finite; more end the run."
    )
    average_decay: Annotated[float, Field(ge=0, lt=1), Number] | None = Field(
        None,
        description="Decay per step of a moving average of the weights, which is evaluated and exported; null: no "
        "average, or 0.99 with `debias.budget_bits`.",
    )
    augment: Flag = Field(False, description="timm's training transforms (crop, flip) in place of the evaluation ones.")
    precision: Annotated[Literal["32", "64", "bf16", "16", "auto"], BeforeValidator(text_of_number)] = Field(
        "32",
        description="Floating-point precision (mixed for bf16 and 16); auto: bf16 where the device computes in it, "
        "else 32.",
    )
    channels_last: Flag = Field(
        False, description="Channels innermost in memory: convolutions in half precision take a third of the time."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    num_workers: Annotated[int, Field(ge=0), Whole] = Field(0, description="Processes that read data.")
    deterministic: Flag = Field(False, description="Deterministic kernels on the GPU (the CPU has no others).")
    log_every_steps: Positive = Field(50, description="Steps between two records of metrics.jsonl.")
    checkpoint_every_steps: Positive | None = Field(
        None, description="Steps between two checkpoints; null: one at the end of each epoch."
    )
    select: SelectSection = SelectSection()


def _safetensors_alone() -> list[FormatName]:
    return ["safetensors"]


class ExportSection(Section):
    """What `train` exports at its end."""

    formats: list[FormatName] = Field(
        default_factory=_safetensors_alone, min_length=1, description="safetensors always; onnx is an extra."
    )


class Recipe(Section):
    """A whole recipe."""

    version: Literal[1] = Field(description="Version of the recipe format.")
    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the folder below runs/.")
    seed: Annotated[int, Field(ge=0, lt=2**31), Whole] = Field(0, description="Seed of all but the colours.")
    data: DataSection
    backbone: BackboneSection
    representation: RepresentationSection = RepresentationSection()
    original: OriginalSection | None = Field(None, description="Plain training first; null: none.")
    discover: DiscoverSection | None = Field(
        None, description="Find a bias attribute where nobody knows the bias; null: attributes are those of the data."
    )
    debias: DebiasSection = DebiasSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    gates: list[GateSection] = Field(
        default_factory=list,
        description="Conditions under which the audit fails: texts, or fail_on and inconclusive.",
        json_schema_extra=gate_may_be_text,
    )
    export: ExportSection = ExportSection()
