"""The recipe's `backbone` and `representation`: the feature extractor, and which of its layers are debiased."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mibias_cli.recipe.values import Flag, Number, Positive, Section

__all__ = ["BackboneSection", "RepresentationSection"]


class BackboneSection(Section):
    """The feature extractor: any timm model, the paper's digit network, or an MLP for tables and embeddings."""

    name: str = Field(description="A timm model name, `digit_cnn`, or `mlp`.")
    weights: str = Field(
        "none",
        description="none, pretrained (timm's own), a .safetensors/.pth path, local-dir:FOLDER, or hf-hub:ORG/MODEL.",
    )
    # whatever the model's own constructor takes: only it knows the types
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the model (digit_cnn: width, hidden, features, dropout; mlp: hidden, "
        "features, dropout).",
    )
    input_size: Positive | None = Field(None, description="Side of the input in pixels; null: what the model asks for.")
    channels: Literal[1, 3] | None = Field(None, description="Image channels; null: what the model asks for.")
    train: Literal["all", "none"] | list[str] = Field(
        "all", description="all, none, or the names of the stages (module prefixes) that train; others stay frozen."
    )
    cache: str = Field(
        "auto",
        description="Where stages before the first that trains are frozen, what they make of each image is computed "
        "once and kept: in the user's cache (auto), in a FOLDER, or not at all (off). Figures stay the same.",
    )
    cache_views: Positive = Field(
        1, description="With training.augment: augmented views kept of each image, of which every epoch draws one."
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
    def _train_names_stages(cls, value: object) -> object:
        if value in ("all", "none") or (isinstance(value, list) and all(isinstance(stage, str) for stage in value)):
            return value
        raise ValueError("must be all, none, or a list of stage names")


class RepresentationSection(Section):
    """What is audited and exported (the features), and which layers the MI penalty sees."""

    bottleneck: Positive | None = Field(
        None, description="Width of a linear + ReLU layer on the pooled features; its output is then the features."
    )
    layers: list[str] = Field(
        default_factory=lambda: ["features"],
        min_length=1,
        description="What is penalised: `features`, `output` (class probabilities), or names of inner modules.",
    )
    pool: Literal["none", "mean", "max"] = Field(
        "none", description="How maps of inner layers are penalised: flattened (none), or pooled over space or tokens."
    )
