"""A timm model whose own classifier is an affine map of its pooled features, so that timm alone applies it."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from mibias_cli.backbone.catalogue import Backbone

__all__ = ["with_classifier"]


def with_classifier(backbone: Backbone, module: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module | None:
    """A copy of `module`, an instance of this timm backbone, with a classifier of weight (k, n_features) and bias (k,).

    Returns:
        The model, in evaluation mode, its `num_classes` k; None where the classifier of this architecture is not one
        linear layer on the pooled features (two heads, a convolution, …).
    """
    # its first weights are all replaced: the caller's generator is left as it was
    with torch.random.fork_rng(devices=[]):
        arguments: dict[str, Any] = backbone.arguments
        model = timm.create_model(backbone.architecture, num_classes=len(bias), **arguments)
    name = getattr(model, "pretrained_cfg", {}).get("classifier")
    classifier = model.get_submodule(name) if isinstance(name, str) else None
    if not isinstance(classifier, nn.Linear) or classifier.weight.shape != weight.shape or classifier.bias is None:
        return None
    state = {**module.state_dict(), f"{name}.weight": weight, f"{name}.bias": bias}
    # some architectures have other layers too where they have a classifier
    if state.keys() != model.state_dict().keys():
        return None
    model.load_state_dict(state)
    return model.eval()
