"""The backbone of a first recipe: one that suits the images, at a size that it takes, and what of it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mibias_cli.backbone.timm_config import HUB, LOCAL
from mibias_cli.backbone.timm_source import last_stages_of, read_by_stage, stem_of, takes_size, weights_to_fetch
from mibias_cli.errors import BackboneError
from mibias_cli.survey.survey import Survey

__all__ = ["ModelChoice", "choose_model"]

_SMALL_SIDE, _FULL_SIDE, _STEP = 128, 192, 32
_MANY_IMAGES = 2000
_LEAST_PRETRAINED_SIDE, _ENLARGED = 160, 1.25
"""Pretrained features know objects that fill 224 pixels or so: smaller images are enlarged, as far as time allows."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """The backbone of a first recipe, as `backbone` has it, and a remark for the recipe or empty text.

    Args:
        input_size: Side of images; None: the model's own.
        last_stages: Modules that train where weights are pretrained; else there are none.
        stem: The module that reads images, where weights are untrained and style tells attributes, not the target.
        stage_shape: Of the map or tokens of one image that the first of them reads; None: of neither kind, or unknown.
    """

    name: str
    weights: str
    input_size: int | None = None
    why: str = ""
    last_stages: tuple[str, ...] = ()
    stage_shape: tuple[int, ...] | None = None
    stem: str | None = None

    @property
    def stage_bytes(self) -> int:
        """Bytes of what the first of the last stages reads of an image; 0 where nobody can tell."""
        return 4 * math.prod(self.stage_shape) if self.stage_shape else 0

    @property
    def mixes(self) -> bool:
        """Whether channels have statistics there that can be moved between images: more than one value each."""
        return self.stage_shape is not None and math.prod(self.stage_shape) > max(self.stage_shape)


def choose_model(found: Survey, *, backbone: str | None, weights: str | None) -> ModelChoice:
    """The backbone for these data: the user's, or one that suits the images' number and size.

    Pretrained weights are chosen where this machine has them; nothing is to be downloaded that nobody asked for.

    Raises:
        BackboneError: There is no such model, or one is named for rows of numbers.
    """
    # rows of numbers need no pretrained model
    if found.layout.source in ("table", "embeddings"):
        if backbone not in (None, "mlp") or weights not in (None, "none"):
            raise BackboneError("rows of numbers go through an untrained mlp: leave --backbone and --weights out")
        return ModelChoice(name="mlp", weights="none")
    # the middle image stands for all; unknown sizes count as photographs
    side = min(found.image_sizes[1]) if found.image_sizes else _FULL_SIDE
    large = side >= _SMALL_SIDE and found.n_rows["train"] >= _MANY_IMAGES
    name = backbone or ("resnet50" if large else "resnet18")
    # small images are not blown up to the model's own size: a multiple of 32 suits every stride
    size = None if side >= _FULL_SIDE else max(_STEP, _STEP * round(side / _STEP))
    if name in ("digit_cnn", "mlp") or name.startswith(HUB):
        stem = _stem(found, "conv1") if name == "digit_cnn" and weights in (None, "none") else None
        return ModelChoice(name=name, weights=weights or "none", input_size=size, stem=stem)
    missing = None if name.startswith(LOCAL) else weights_to_fetch(name)  # an unknown name ends here
    if weights != "none" and (weights is not None or missing is None):
        return _pretrained(name, weights or "pretrained", side, size)
    if size is not None and not takes_size(name, size, weights=False):
        size = None
    why = ""
    if weights is None:
        why = f"pretrained is better, and fetches {missing}" if missing else "timm has no pretrained weights for it"
    stem = _stem(found, stem_of(name))
    return ModelChoice(name=name, weights="none", input_size=size, why=why, stem=stem)


def _stem(found: Survey, stem: str | None) -> str | None:
    """The module at whose input images are copied in the style of others, or None: style is not what the bias is."""
    fit = stem is not None and found.columns.target_kind in ("classes", "multilabel")
    return stem if fit and found.shows_in_channels() else None


def _pretrained(name: str, weights: str, side: int, size: int | None) -> ModelChoice:
    """A whole network learns shortcuts: most of it stays as it was pretrained."""
    last = last_stages_of(name)
    if last and size is not None:
        size = max(_LEAST_PRETRAINED_SIDE, _STEP * round(_ENLARGED * side / _STEP))
    if size is not None and not takes_size(name, size, weights=True):
        size = None
    shape = read_by_stage(name, last[0], size) if last else None
    return ModelChoice(name=name, weights=weights, input_size=size, last_stages=last, stage_shape=shape)
