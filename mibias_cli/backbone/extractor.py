"""From an input to what is audited, exported and penalised: pooled features, a bottleneck, inner layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mibias_cli.backbone.bottleneck import BottleneckShape, StandardFeatures, make_bottleneck, width_of
from mibias_cli.backbone.layers import Pool, layer_outputs, unknown_layer
from mibias_cli.backbone.prefix import Prefix

__all__ = ["NOT_INNER", "Extractor", "Representation", "evaluating"]

NOT_INNER = ("features", "output")
"""Layers that are no inner module: the representation itself, and class probabilities, which the task head gives."""


@dataclass(frozen=True, kw_only=True)
class Representation:
    """What an extractor gives for a batch.

    Args:
        features: The representation (n, features_dim): the bottleneck's output, or the pooled features, and what an
            eraser leaves of them.
        backbone_features: The backbone's pooled features (n, n_features).
        taps: Inner layers by name, each (n, d): flattened or pooled.
    """

    features: Tensor
    backbone_features: Tensor
    taps: dict[str, Tensor]


class Extractor(nn.Module):
    """A backbone, an optional bottleneck on its pooled features, and taps at inner layers.

    Which layer is penalised decides whether debiasing succeeds: the last layer must keep the target and with it what
    the target tells of the bias, an earlier map need not. Inner maps are taken whole (`pool="none"`) or pooled over
    space or tokens.

    Args:
        backbone: A module whose forward gives pooled features (n, n_features).
        bottleneck: Layers on the pooled features, whose output then is the representation: the width of a linear + ReLU
            layer, or the shape of an MLP with a linear last layer; None: none.
        layers: `features`, `output`, or names of the backbone's inner modules; the latter are tapped.
        pool: none (flattened), mean or max.

    Raises:
        BackboneError: A layer that the backbone does not have.

    Example:
        >>> from mibias_cli.backbone.digit_cnn import DigitCNN
        >>> extractor = Extractor(DigitCNN(width=8), 64, bottleneck=4, layers=["pool2"], pool="mean")
        >>> found = extractor(torch.zeros(2, 3, 28, 28))
        >>> found.features.shape, found.taps["pool2"].shape
        (torch.Size([2, 4]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        backbone: nn.Module,
        n_features: int,
        *,
        bottleneck: int | BottleneckShape | None = None,
        layers: Sequence[str] = ("features",),
        pool: Pool = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.n_features = n_features
        self.features_dim = n_features if bottleneck is None else width_of(bottleneck)
        self.bottleneck_shape = bottleneck
        self.pool: Pool = pool
        self.inner_layers = tuple(dict.fromkeys(name for name in layers if name not in NOT_INNER))
        self.bottleneck: nn.Sequential | None = None
        if bottleneck is not None:
            # drawn from its own seed: the caller's generator is left as it was
            with torch.random.fork_rng(devices=[]):
                torch.random.default_generator.manual_seed(seed)
                self.bottleneck = make_bottleneck(n_features, bottleneck)
        self.filter: nn.Module | None = None
        """What images (n, channels, height, width) pass before the backbone, to images of that shape, or None."""
        self.eraser: nn.Module | None = None
        """A last layer (n, features_dim) → (n, features_dim) that was fitted after training, or None."""
        self.kept_in_eval: frozenset[str] = frozenset()
        """Names of the backbone's modules that stay in evaluation mode in training: see `trainable`."""
        self.computed: Prefix | None = None
        """The frozen part of the backbone whose outputs come in place of inputs; None: inputs come."""
        # a wrong layer is said when the model is built, not at the first batch
        modules = dict(backbone.named_modules())
        for name in self.inner_layers:
            if not name or name not in modules:
                also = ", beside `features` and `output`"
                raise unknown_layer("representation.layers", name, backbone, modules, also=also)

    def forward(self, x: Tensor) -> Representation:
        """The representation of a batch of inputs (n, …), or of what the frozen prefix in `computed` made of them."""
        with layer_outputs(self.backbone, self.inner_layers, self.pool, setting="representation.layers") as taps:
            pooled = self.pooled(x)
        return Representation(
            features=self.refined(pooled),
            backbone_features=pooled,
            # in the recipe's order, not in that of the forward pass
            taps={name: taps[name] for name in self.inner_layers},
        )

    def filtered(self, x: Tensor) -> Tensor:
        """The inputs (n, …) that the backbone gets."""
        return x if self.filter is None else self.filter(x)

    def pooled(self, x: Tensor) -> Tensor:
        """The backbone's pooled features (n, n_features) of inputs, or of what the frozen prefix made of them."""
        if self.computed is not None:
            return self.computed.resume(self.backbone, x)
        found: Tensor = self.backbone(self.filtered(x))
        return found

    @property
    def is_bare(self) -> bool:
        """Whether the representation is the backbone's pooled features themselves."""
        return self.bottleneck is None and self.eraser is None

    @property
    def input_scale(self) -> StandardFeatures | None:
        """What standardises the pooled features in front of an MLP bottleneck; None: nothing does."""
        first = None if self.bottleneck is None else self.bottleneck[0]
        return first if isinstance(first, StandardFeatures) else None

    def refined(self, pooled: Tensor) -> Tensor:
        """The representation (n, features_dim) of pooled features (n, n_features): bottleneck, then eraser."""
        features = pooled if self.bottleneck is None else self.bottleneck(pooled)
        return features if self.eraser is None else self.eraser(features)

    def train(self, mode: bool = True) -> Extractor:
        """Training mode, but for frozen stages and frozen BatchNorm, which stay in evaluation mode."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if name in self.kept_in_eval:
                module.training = False
        return self


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the scope; afterwards each submodule is back in the mode it was in."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        # one by one: `train()` would also wake what was frozen
        for m, mode in modes.items():
            m.training = mode
