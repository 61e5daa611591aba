"""Inner layers as features of a bounded width, for an audit that asks where in a network something sits."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from mibias_cli.backbone.extractor import stage_names
from mibias_cli.errors import BackboneError, did_you_mean

__all__ = ["MAX_COLUMNS", "LayerView", "grid_pooled"]

MAX_COLUMNS = 1024
"""A map is averaged over as fine a grid as keeps its features within so many columns."""


def grid_pooled(x: Tensor, *, channels_last: bool = False, max_columns: int = MAX_COLUMNS) -> Tensor:
    """A layer's output (n, …) as rows (n, d): maps averaged over a grid, tokens over their positions.

    A mean over the whole map hides where a colour or a background sits, the whole map is too wide for any probe: a grid
    keeps the place roughly. A map with more channels than columns is averaged as a whole, and so is all else.

    Args:
        x: (n, d), tokens (n, t, c), a map (n, c, h, w) or (n, h, w, c), or (n, c, …).
        channels_last: Whether maps have their channels last.
        max_columns: Most columns of a map's grid.

    Example:
        >>> import torch
        >>> grid_pooled(torch.zeros(2, 64, 8, 8)).shape, grid_pooled(torch.zeros(2, 197, 192)).shape
        (torch.Size([2, 1024]), torch.Size([2, 192]))
    """
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return x.mean(dim=1)
    if x.ndim == 4:
        maps = x.permute(0, 3, 1, 2) if channels_last else x
        side = max(1, int((max_columns / maps.shape[1]) ** 0.5))
        grid = (min(side, maps.shape[2]), min(side, maps.shape[3]))
        return functional.adaptive_avg_pool2d(maps, grid).flatten(1)
    return x.flatten(2).mean(dim=2)


class LayerView:
    """Watches inner modules of a backbone for the time of a `with` block; the network itself is left as it is.

    Args:
        backbone: The network.
        names: Names of its inner modules.

    Raises:
        BackboneError: A module that the backbone does not have, or (when rows are taken) that gave no tensor.
    """

    def __init__(self, backbone: nn.Module, names: Sequence[str]) -> None:
        modules = dict(backbone.named_modules())
        for name in names:
            if not name or name not in modules:
                raise BackboneError(
                    f"evaluation.layers: the backbone has no module '{name}'{did_you_mean(name, modules)}; its stages "
                    f"are {', '.join(stage_names(backbone))} (inner modules as in layer1.0)"
                )
        self._modules = {name: modules[name] for name in names}
        self._output_fmt = str(getattr(backbone, "output_fmt", "NCHW") or "NCHW")
        self._rows: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> LayerView:
        self._handles = [module.register_forward_hook(self._hook(name)) for name, module in self._modules.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self) -> dict[str, Tensor]:
        """The rows (n, d) of each layer in the last forward pass."""
        missing = [name for name in self._modules if name not in self._rows]
        if missing:
            raise BackboneError(
                f"evaluation.layers: '{missing[0]}' gave no tensor in the backbone's forward pass; name another module"
            )
        rows, self._rows = self._rows, {}
        return rows

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            while isinstance(output, tuple | list) and output:
                output = output[0]
            if isinstance(output, Tensor) and output.ndim >= 2:
                self._rows[name] = grid_pooled(output.detach(), channels_last=self._channels_last(output)).clone()

        return hook

    def _channels_last(self, x: Tensor) -> bool:
        """As in `Extractor`: by the shape where that tells, else as the model says."""
        if x.ndim != 4:
            return False
        _, a, b, c = x.shape
        return (a == b != c) or (self._output_fmt == "NHWC" and not b == c != a)
