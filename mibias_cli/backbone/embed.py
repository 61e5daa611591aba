"""A whole split through an extractor, into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mibias_cli.backbone.extractor import Extractor, evaluating
from mibias_cli.backbone.layers import layer_outputs
from mibias_cli.data.batch import Split
from mibias_cli.data.loader import batches
from mibias_cli.errors import BackboneError, did_you_mean

__all__ = ["Embedded", "embed", "fit_input_scale", "refuse_not_finite", "spread_rows"]

_ROWS_OF_SCALE = 10_000
"""Rows from which means and deviations are taken: within 1 % of those of any number of rows."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The features that an extractor gives for a split, row by row in the split's order, float32.

    Args:
        features: The representation (n, features_dim).
        backbone_features: The backbone's pooled features (n, n_features); the same array where nothing stands behind.
        taps: The inner layers that were asked for, each (n, d).
        view: The layers that were read beside them, pooled over a grid, each (n, d).
    """

    features: np.ndarray
    backbone_features: np.ndarray
    taps: dict[str, np.ndarray]
    view: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def embed(
    extractor: Extractor,
    split: Split,
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    rows: np.ndarray | None = None,
    layers: Sequence[str] = (),
    view: Sequence[str] = (),
) -> Embedded:
    """Embed a split with the evaluation transform, in evaluation mode, in the precision of the extractor's parameters.

    The extractor is moved to the device; the mode of each of its modules is put back afterwards.

    Args:
        rows: Positions in the split (n,) to embed, in this order; None: all.
        layers: Inner layers to keep beside the features; each must be one that the extractor taps.
        view: Any inner modules of the backbone to read in the same pass, pooled over a grid (see `pooled_rows`).

    Raises:
        BackboneError: A layer that the extractor does not tap.
        DataError: An input cannot be read.
    """
    for name in layers:
        if name not in extractor.inner_layers:
            there_are = ", ".join(extractor.inner_layers) or "none"
            raise BackboneError(
                f"layer '{name}' is not tapped{did_you_mean(name, extractor.inner_layers)}; taps: {there_are}"
            )
    part = split if rows is None else split.at(np.asarray(rows, dtype=np.int64))
    if not len(part):
        # the widths of inner layers are known only after a forward pass
        nothing = np.zeros((0, 0), dtype=np.float32)
        return Embedded(
            features=np.zeros((0, extractor.features_dim), dtype=np.float32),
            backbone_features=np.zeros((0, extractor.n_features), dtype=np.float32),
            taps=dict.fromkeys(layers, nothing),
            view=dict.fromkeys(view, nothing),
        )
    device = torch.device(device)
    extractor.to(device)
    # inputs become what the parameters are; a backbone without any (stored embeddings) takes them as they come
    dtype = next((parameter.dtype for parameter in extractor.parameters()), None)
    features: list[np.ndarray] = []
    backbone_features: list[np.ndarray] = []
    taps: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    viewed: dict[str, list[np.ndarray]] = {name: [] for name in view}
    watched = layer_outputs(extractor.backbone, view, "grid", setting="evaluation.layers")
    # no_grad, not inference_mode: models that keep a buffer of a forward pass could not train on it afterwards
    with evaluating(extractor), torch.no_grad(), watched as seen:
        for batch in batches(part, batch_size=batch_size, epoch=0, seed=0, shuffle=False, num_workers=num_workers):
            x = batch.x.to(device, non_blocking=True)
            found = extractor(x.to(dtype) if dtype is not None and x.is_floating_point() else x)
            # batch by batch to the CPU: device memory holds one batch, whatever the split's size
            features.append(_to_numpy(found.features))
            if not extractor.is_bare:
                backbone_features.append(_to_numpy(found.backbone_features))
            for rows_of, given in ((taps, found.taps), (viewed, seen)):
                for name, parts in rows_of.items():
                    parts.append(_to_numpy(given[name]))
    representation = np.concatenate(features)
    return Embedded(
        features=representation,
        # without bottleneck and eraser both are the same numbers: keep them once
        backbone_features=representation if extractor.is_bare else np.concatenate(backbone_features),
        taps={name: np.concatenate(parts) for name, parts in taps.items()},
        view={name: np.concatenate(parts) for name, parts in viewed.items()},
    )


def spread_rows(n: int, most: int = _ROWS_OF_SCALE) -> np.ndarray:
    """At most 10,000 of n rows (or `most`), evenly spread over a split that may be sorted by class or by source."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def fit_input_scale(
    extractor: Extractor,
    split: Split,
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    rows: np.ndarray | None = None,
) -> None:
    """Fit what standardises pooled features in front of an MLP bottleneck, on a split; without one nothing is done.

    Args:
        rows: Positions in the split (n,) that may be read; None: all. At most 10,000 of them are.
    """
    scale = extractor.input_scale
    if scale is None:
        return
    among = np.arange(len(split)) if rows is None else rows
    chosen = among[spread_rows(len(among))]
    found = embed(extractor, split, batch_size=batch_size, device=device, num_workers=num_workers, rows=chosen)
    scale.fit(torch.from_numpy(found.backbone_features))


def refuse_not_finite(features: np.ndarray) -> None:
    """Raise a `BackboneError` where features (n, d) are no finite numbers: weights that diverged or were damaged."""
    broken = ~np.isfinite(features).all(1)
    if broken.any():
        raise BackboneError(
            f"features of {int(broken.sum()):,} of {len(features):,} samples are no finite numbers: the weights are "
            "damaged, or training diverged; lower training.learning_rate, training.weight_decay or debias.weight"
        )


def _to_numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().to(torch.float32).cpu().numpy()
    return array
