"""The recipe's `backbone` and `representation`: the feature extractor, and which of its layers are debiased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from mibias_cli.recipe.values import Channels, Decay, Flag, Number, Pixels, Section, Turns, Width

__all__ = ["BackboneSection", "BottleneckSection", "RepresentationSection"]

_HIDDEN = [256]


def _size_form(value: object) -> str:
    """Which form of a size is meant, so that only what is wrong with that one is said."""
    return "sides" if isinstance(value, list | tuple) else "side"


_Size = Annotated[
    Annotated[Pixels, Tag("side")] | Annotated[tuple[Pixels, Pixels], Tag("sides")], Discriminator(_size_form)
]


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
        "features, dropout, last: relu or linear).",
    )
    input_size: _Size | None = Field(
        None, description="Side of the input in pixels, or [height, width]; null: what the model asks for."
    )
    in_chans: Channels | None = Field(
        None, description="Channels of images, under timm's name (older recipes: channels); null: as the model asks."
    )
    train: Literal["all", "none"] | list[str] = Field(
        "all", description="all, none, or the names of the stages (module prefixes) that train; others stay frozen."
    )
    cache: str = Field(
        "auto",
        description="Where stages before the first that trains are frozen, what they make of each image is computed "
        "once and kept: in the user's cache (auto), in a FOLDER, or not at all (off). Figures stay the same.",
    )
    cache_views: Turns = Field(
        1, description="With training.augment: augmented views kept of each image, of which every epoch draws one."
    )
    layer_decay: Annotated[float, Field(gt=0, le=1), Number] = Field(
        1.0, description="Learning-rate factor from each stage to the one before it (layer-wise learning rates)."
    )
    freeze_batchnorm: Flag = Field(False, description="Keep BatchNorm statistics and affine parameters as loaded.")
    grad_checkpointing: Flag = Field(
        False,
        description="Compute activations again in the backward pass instead of keeping them (timm's "
        "set_grad_checkpointing): up to half the memory, about a fifth more time. Not with debias.mix.",
    )
    licence: str | None = Field(
        None, description="Licence of the base weights, for the model card; null: as timm says."
    )

    # what the key was called when images had 1 or 3 channels; beside the new one it is unknown
    @model_validator(mode="before")
    @classmethod
    def _channels_is_in_chans(cls, value: object) -> object:
        if isinstance(value, Mapping) and "channels" in value and "in_chans" not in value:
            return {"in_chans" if key == "channels" else key: old for key, old in value.items()}
        return value

    @field_validator("train", mode="before")
    @classmethod
    def _train_names_stages(cls, value: object) -> object:
        if value in ("all", "none") or (isinstance(value, list) and all(isinstance(stage, str) for stage in value)):
            return value
        raise ValueError("must be all, none, or a list of stage names")


class BottleneckSection(Section):
    """A small MLP on the standardised pooled features; its last layer is linear, so that no narrow feature can die."""

    width: Width = Field(16, description="Width of its output, which is then the features.")
    hidden: list[Width] = Field(
        default_factory=_HIDDEN.copy,
        description="Widths of hidden layers; [] is a linear bottleneck, which exports into timm's own classifier.",
    )
    dropout: Decay = Field(0.5, description="Share of hidden units that are dropped in training.")
    input_dropout: Decay = Field(0.0, description="Share of pooled features that are dropped in training.")


def _bottleneck_form(value: object) -> str:
    """Which form of a bottleneck is meant, so that only what is wrong with that one is said."""
    return "mlp" if isinstance(value, dict | BottleneckSection) else "width"


_Bottleneck = Annotated[
    Annotated[Width, Tag("width")] | Annotated[BottleneckSection, Tag("mlp")], Discriminator(_bottleneck_form)
]


class RepresentationSection(Section):
    """What is audited and exported (the features), and which layers the MI penalty sees."""

    bottleneck: _Bottleneck | None = Field(
        None,
        description="Layers on the pooled features, whose output is then the features: a mapping is an MLP with a "
        "linear last layer ({} takes its defaults), a number the width of a linear + ReLU layer.",
    )
    layers: list[str] = Field(
        default_factory=lambda: ["features"],
        min_length=1,
        description="What is penalised: `features`, `output` (class probabilities), or names of inner modules.",
    )
    pool: Literal["none", "mean", "max"] = Field(
        "none", description="How maps of inner layers are penalised: flattened (none), or pooled over space or tokens."
    )
