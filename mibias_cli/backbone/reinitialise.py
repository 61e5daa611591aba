"""The same architecture with weights drawn anew: the control that says what leaks without any training."""

from __future__ import annotations

from torch import nn

from mibias_cli.backbone.catalogue import BUILT_IN, Backbone, build_built_in
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.timm_source import TimmSource, build_timm

__all__ = ["reinitialised", "reinitialised_extractor"]


def reinitialised(backbone: Backbone, *, seed: int) -> nn.Module:
    """A network of the backbone's architecture and arguments, its weights drawn from a seed; nothing is fetched."""
    if backbone.kind in BUILT_IN:
        return build_built_in(backbone.kind, backbone.arguments, seed=seed)
    source = TimmSource(
        name=backbone.architecture, weights="none", architecture=backbone.architecture,
        pretrained_cfg=backbone.pretrained_cfg, model_args=backbone.arguments,
    )  # fmt: skip
    return build_timm(source, options={}, channels=None, input_size=None, offline=True, seed=seed)[0]


def reinitialised_extractor(extractor: Extractor, backbone: Backbone, *, seed: int) -> Extractor:
    """An extractor like this one around a reinitialised backbone, with a bottleneck of its own if this one has one.

    Args:
        extractor: What is to be imitated.
        backbone: Its backbone as it was built.
        seed: Of all weights.
    """
    bottleneck = None if extractor.bottleneck is None else extractor.features_dim
    return Extractor(reinitialised(backbone, seed=seed), extractor.n_features, bottleneck=bottleneck, seed=seed)
