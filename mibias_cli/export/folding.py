"""What stands behind the backbone, folded into timm's own classifier, where all of it is affine."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mibias_cli.backbone.bottleneck import StandardFeatures
from mibias_cli.backbone.catalogue import Backbone
from mibias_cli.backbone.extractor import Extractor
from mibias_cli.backbone.weights.classifier import with_classifier
from mibias_cli.methods.erasers.linear_eraser import LinearEraser

__all__ = ["FOLDED_TOLERANCE", "affine_map", "folded", "relative_difference"]

FOLDED_TOLERANCE = 1e-5
"""Largest difference of folded features, relative to the largest feature (or to 1): float32 sums in another order."""
_AFFINE = (nn.Linear, nn.Dropout, StandardFeatures, LinearEraser)


def folded(backbone: Backbone, extractor: Extractor, sample_inputs: Tensor) -> nn.Module | None:
    """A timm model that gives the extractor's representation by itself: bottleneck and eraser are its classifier.

    Both on the CPU, in evaluation mode. None where there is nothing to fold, it is not affine, the architecture's
    classifier is no linear layer on pooled features, images are filtered before it, or rounding would show on the
    sample inputs (n, …).
    """
    foldable = backbone.kind == "timm" and extractor.filter is None
    behind = affine_map(extractor) if foldable else None
    model = None if behind is None else with_classifier(backbone, extractor.backbone, *behind)
    if model is None:
        return None
    with torch.no_grad():
        close = relative_difference(extractor(sample_inputs).features, model(sample_inputs)) <= FOLDED_TOLERANCE
    return model if close else None


@torch.no_grad()
def affine_map(extractor: Extractor) -> tuple[Tensor, Tensor] | None:
    """Weight (d, n_features) and bias (d,) of all that stands behind the pooled features; None: nothing, or not affine.

    Example:
        >>> extractor = Extractor(nn.Identity(), 3)
        >>> extractor.eraser = LinearEraser.identity(3)
        >>> affine_map(extractor)[0].tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    layers = [*(extractor.bottleneck or ()), *([] if extractor.eraser is None else [extractor.eraser])]
    if not layers or not all(isinstance(layer, _AFFINE) for layer in layers):
        return None
    # an affine map is known by what it makes of 0 and of the unit vectors; in float64, so that nothing is lost
    behind = copy.deepcopy(nn.Sequential(*layers)).double().eval()
    bias = behind(torch.zeros(1, extractor.n_features, dtype=torch.float64))
    weight = behind(torch.eye(extractor.n_features, dtype=torch.float64)) - bias
    return weight.T.float().contiguous(), bias[0].float()


def relative_difference(wanted: Tensor, given: Tensor) -> float:
    """Largest difference, relative to the largest feature or to 1; not a number where a feature is none."""
    return float((wanted - given).abs().max() / wanted.abs().max().clamp_min(1.0))
