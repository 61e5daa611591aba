"""Inner layers of a network: find them by name, read their outputs in a forward pass, turn these into rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.errors import BackboneError, did_you_mean

__all__ = ["MAX_COLUMNS", "Pool", "has_channels_last", "layer_outputs", "pooled_rows", "stage_names", "unknown_layer"]

Pool = Literal["none", "mean", "max"]
MAX_COLUMNS = 1024
"""Most columns of a map that is averaged over a grid."""


@contextmanager
def layer_outputs(
    backbone: nn.Module, names: Sequence[str], pool: Pool | Literal["grid"], *, setting: str
) -> Iterator[dict[str, Tensor]]:
    """Read the outputs of inner modules in the forward passes of a `with` block; the network is left as it was.

    Where a module gives channels last is told as by `has_channels_last`.

    Args:
        names: Names of the network's inner modules.
        pool: What is kept of an output (n, …), see `pooled_rows`.
        setting: The recipe's setting that names the layers, for errors.

    Yields:
        By name what is kept of the last forward pass (empty before the first one).

    Raises:
        BackboneError: A module that the backbone does not have, that gives no tensor, or that was never called.
    """
    modules = dict(backbone.named_modules())
    for name in names:
        if not name or name not in modules:
            raise unknown_layer(setting, name, backbone, modules)
    kept: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: object, output: object) -> None:
        # blocks of some models return (features, extras): the features come first
        while isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, Tensor) or output.ndim < 2:
            kind = type(output).__name__
            raise BackboneError(f"{setting}: '{name}' gives no tensor (n, …) but {kind}; name another module")
        kept[name] = pooled_rows(output, pool, channels_last=has_channels_last(backbone, output))

    # hooks live for the block only: a copy of the network, or one inside a wrapper, never writes into another's rows
    with ExitStack() as scope:
        for name in names:
            scope.callback(modules[name].register_forward_hook(partial(keep, name)).remove)
        yield kept
    for name in names:
        if name not in kept:
            again = getattr(backbone, "grad_checkpointing", False)
            other = "one of its blocks (backbone.grad_checkpointing calls them singly)" if again else "another module"
            raise BackboneError(f"{setting}: '{name}' takes no part in the backbone's forward pass; name {other}")


def has_channels_last(backbone: nn.Module, x: Tensor) -> bool:
    """Whether what an inner module of a network takes or gives is a map with its channels last.

    It is told by the shape where that is possible: (n, a, b, c) with a = b ≠ c has them last, with b = c ≠ a first.
    Else the model says it (timm's `output_fmt`, NCHW by default).

    Example:
        >>> import torch
        >>> [has_channels_last(nn.Identity(), torch.empty(shape)) for shape in ((2, 7, 7, 64), (2, 64, 7, 7))]
        [True, False]
    """
    if x.ndim != 4:
        return False
    _, a, b, c = x.shape
    return (a == b != c) or (getattr(backbone, "output_fmt", "NCHW") == "NHWC" and not b == c != a)


def pooled_rows(
    x: Tensor, pool: Pool | Literal["grid"], *, channels_last: bool = False, max_columns: int = MAX_COLUMNS
) -> Tensor:
    """A layer's output as rows (n, d): flattened, or pooled over everything but samples and image channels.

    A mean over a whole map hides where a colour or a background sits, and the flattened map is too wide for any probe:
    `grid` averages a map over as fine a grid as `max_columns` allows, which keeps the place roughly.

    Args:
        x: (n, d), tokens (n, t, channels), a map (n, channels, h, w) or (n, h, w, channels), or (n, channels, …).
        pool: none (flattened), mean, max, or grid (a mean where x is no map).
        max_columns: Most columns of a grid; a map with more channels is averaged as a whole.

    Example:
        >>> import torch
        >>> pooled_rows(torch.zeros(2, 64, 8, 8), "grid").shape, pooled_rows(torch.zeros(2, 197, 192), "mean").shape
        (torch.Size([2, 1024]), torch.Size([2, 192]))
    """
    if pool == "none" or x.ndim == 2:
        # a copy: the next layer may work in place on what this one gave
        return x.flatten(1).clone()
    if pool == "grid" and x.ndim == 4:
        maps = x.permute(0, 3, 1, 2) if channels_last else x
        # side² cells for each channel; never finer than the map itself
        side = max(1, int((max_columns / maps.shape[1]) ** 0.5))
        cells = (min(side, maps.shape[2]), min(side, maps.shape[3]))
        return functional.adaptive_avg_pool2d(maps, cells).flatten(1)
    # tokens (n, t, channels) are pooled over t; maps and volumes over their spatial axes
    axes = (1,) if x.ndim == 3 else (1, 2) if channels_last else tuple(range(2, x.ndim))
    return x.amax(dim=axes) if pool == "max" else x.mean(dim=axes)


def stage_names(backbone: nn.Module) -> list[str]:
    """The backbone's top-level modules that hold parameters, in order.

    Example:
        >>> from mibias_cli.backbone.mlp import MLP
        >>> stage_names(MLP(3))
        ['fc1', 'fc2']
    """
    return [name for name, child in backbone.named_children() if any(True for _ in child.parameters())]


def unknown_layer(
    setting: str, name: str, backbone: nn.Module, known: Iterable[str], *, also: str = ""
) -> BackboneError:
    """The error for a layer that the backbone does not have: it names the nearest one and the stages there are."""
    return BackboneError(
        f"{setting}: the backbone has no module '{name}'{did_you_mean(name, known)}; its stages are "
        f"{', '.join(stage_names(backbone))} (inner modules as in layer1.0){also}"
    )
