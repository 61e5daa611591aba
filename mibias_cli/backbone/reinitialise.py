"""The same architecture with weights drawn anew: the control that shows what leaks without any training."""

from __future__ import annotations

from mibias_cli.backbone.catalogue import BUILT_IN, Backbone, build_built_in
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.timm_source import TimmSource, build_timm

__all__ = ["reinitialised_extractor"]


def reinitialised_extractor(extractor: Extractor, backbone: Backbone, *, seed: int) -> Extractor:
    """An extractor of the same shape, bottleneck included, whose weights are all drawn anew; nothing is fetched.

    What standardises features in front of an MLP bottleneck is to be fitted to the new features: `fit_input_scale`.
    """
    if backbone.kind in BUILT_IN:
        module = build_built_in(backbone.kind, backbone.arguments, seed=seed)
    else:
        # the arguments hold channels and input size already, as the backbone was built with them
        source = TimmSource(
            name=backbone.architecture, weights="none", architecture=backbone.architecture,
            pretrained_cfg=backbone.pretrained_cfg, model_args=backbone.arguments,
        )  # fmt: skip
        module, _, _ = build_timm(source, options={}, channels=None, input_size=None, offline=True, seed=seed)
    return Extractor(module, extractor.n_features, bottleneck=extractor.bottleneck_shape, seed=seed)
