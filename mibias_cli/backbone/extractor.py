"""From an input to what is audited, exported and penalised: pooled features, a bottleneck, inner layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mibias_cli.errors import BackboneError, did_you_mean

__all__ = ["NOT_INNER", "Extractor", "Pool", "Representation", "evaluating", "stage_names"]

Pool = Literal["none", "mean", "max"]
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
    space or tokens. Pooling has to know where channels are: in a map (n, a, b, c) they come last where a = b ≠ c, at
    position 1 where b = c ≠ a, and else where the model says (`output_fmt`, NCHW by default); of (n, T, C) tokens
    are at position 1. Of a tuple the first tensor is taken.

    Args:
        backbone: A module whose forward gives pooled features (n, n_features).
        n_features: Width of the pooled features.
        bottleneck: Width of a linear + ReLU layer on the pooled features, which then is the representation; None: none.
        layers: `features`, `output`, or names of the backbone's inner modules; the latter are tapped.
        pool: none (flattened), mean or max.
        seed: Seed of the bottleneck's initial weights.

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
        bottleneck: int | None = None,
        layers: Sequence[str] = ("features",),
        pool: Pool = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.n_features = n_features
        self.features_dim = bottleneck or n_features
        self.pool = pool
        self.inner_layers = tuple(dict.fromkeys(name for name in layers if name not in NOT_INNER))
        self.bottleneck = None if bottleneck is None else _bottleneck(n_features, bottleneck, seed)
        self.eraser: nn.Module | None = None
        """A last layer (n, features_dim) → (n, features_dim) that was fitted after training, or None."""
        self.kept_in_eval: frozenset[str] = frozenset()
        """Names of the backbone's modules that stay in evaluation mode in training: see `trainable`."""
        modules = dict(backbone.named_modules())
        for name in self.inner_layers:
            if not name or name not in modules:
                raise BackboneError(
                    f"representation.layers: the backbone has no module '{name}'{did_you_mean(name, modules)}; "
                    f"its stages are {', '.join(stage_names(backbone))} (inner modules as in layer1.0), beside "
                    "`features` and `output`"
                )

    def forward(self, x: Tensor) -> Representation:
        """The representation of a batch of inputs (n, …)."""
        taps: dict[str, Tensor] = {}
        # hooks live for one forward pass only: a copy of the extractor, or one inside a wrapper, taps its own modules
        handles = [
            self.backbone.get_submodule(name).register_forward_hook(self._tap(name, taps)) for name in self.inner_layers
        ]
        try:
            pooled = self.backbone(x)
        finally:
            for handle in handles:
                handle.remove()
        for name in self.inner_layers:
            if name not in taps:
                raise BackboneError(f"representation.layers: '{name}' takes no part in the backbone's forward pass")
        return Representation(
            features=self.refined(pooled),
            backbone_features=pooled,
            taps={name: taps[name] for name in self.inner_layers},
        )

    @property
    def is_bare(self) -> bool:
        """Whether the representation is the backbone's pooled features themselves."""
        return self.bottleneck is None and self.eraser is None

    def refined(self, pooled: Tensor) -> Tensor:
        """The representation (n, features_dim) of pooled features (n, n_features): bottleneck and eraser."""
        features = pooled if self.bottleneck is None else self.bottleneck(pooled)
        return features if self.eraser is None else self.eraser(features)

    def train(self, mode: bool = True) -> Extractor:
        """Training mode, but for frozen stages and frozen BatchNorm, which stay in evaluation mode."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if name in self.kept_in_eval:
                module.training = False
        return self

    def tap_dims(self, input_shape: tuple[int, ...]) -> dict[str, int]:
        """Width of each tap for inputs of this shape, found by a forward pass that leaves no trace.

        Raises:
            BackboneError: A layer that gives no tensor, or takes no part in the forward pass.
        """
        parameter = next(self.parameters(), torch.empty(0))
        x = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
        with evaluating(self), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return {name: int(tap.shape[1]) for name, tap in self(x).taps.items()}

    def _tap(self, name: str, taps: dict[str, Tensor]) -> Callable[[nn.Module, Any, Any], None]:
        output_fmt = str(getattr(self.backbone, "output_fmt", "NCHW") or "NCHW")

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            taps[name] = _as_rows(_first_tensor(output, name), self.pool, output_fmt, name)

        return hook


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the scope; afterwards each submodule is back in the mode it was in."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def stage_names(backbone: nn.Module) -> list[str]:
    """The backbone's top-level modules that hold parameters, in order.

    Example:
        >>> from mibias_cli.backbone.mlp import MLP
        >>> stage_names(MLP(3))
        ['fc1', 'fc2']
    """
    return [name for name, child in backbone.named_children() if any(True for _ in child.parameters())]


def _bottleneck(n_in: int, n_out: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())


def _first_tensor(output: Any, name: str) -> Tensor:
    while isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise BackboneError(
            f"representation.layers: '{name}' gives no tensor (n, …) but {type(output).__name__}; name another module"
        )
    return output


def _as_rows(x: Tensor, pool: Pool, output_fmt: str, name: str) -> Tensor:
    """(n, d): flattened, or pooled over every axis but batch and channels."""
    if pool == "none" or x.ndim == 2:
        # a copy: the next layer may work in place on what this one gave
        return x.flatten(1).clone()
    axes = _pooled_axes(tuple(x.shape), output_fmt, name)
    return x.mean(dim=axes) if pool == "mean" else x.amax(dim=axes)


def _pooled_axes(shape: tuple[int, ...], output_fmt: str, name: str) -> tuple[int, ...]:
    if len(shape) == 3:
        return (1,)
    if len(shape) == 5:
        return (2, 3, 4)
    if len(shape) != 4:
        raise BackboneError(f"representation.pool: do not know how to pool '{name}' of shape {shape}; set pool: none")
    _, a, b, c = shape
    channels_last = (a == b != c) or (output_fmt == "NHWC" and not (b == c != a))
    return (1, 2) if channels_last else (2, 3)
