"""After training: a last layer that erases attributes, and a head fitted on what is left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mibias_cli.backbone.embed import embed
from mibias_cli.data.batch import Attribute, BiasedData, Split
from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.methods.erasers.linear_eraser import LeaceFit, concept_columns
from mibias_cli.methods.erasers.splince import SplinceFit
from mibias_cli.methods.erasers.transport import MOST_ROWS, TransportFit, check_classes
from mibias_cli.seeds import derived_generator
from mibias_cli.training.model import TaskModel

__all__ = ["Erased", "EraserName", "erase_features", "eraser_fit", "refit_head"]

EraserName = Literal["leace", "splince", "transport"]

_CHUNK = 8192
_MAX_HEAD_ROWS = 50_000
_PULL = 1e-3


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What an erasure did: directions that are gone, of how many, and the head's loss on training features.

    Args:
        n_erased, n_features: Directions.
        loss_before, loss_after: Of the trained head on erased features, and of the head that was fitted anew; None
            where there is no target and so no head.
    """

    n_erased: int
    n_features: int
    loss_before: float | None = None
    loss_after: float | None = None


def erase_features(
    model: TaskModel,
    data: BiasedData,
    attributes: Sequence[str],
    *,
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    weight: np.ndarray | None,
    offset: np.ndarray | None = None,
    batch_size: int,
    num_workers: int,
    device: torch.device | str,
    seed: int,
    by: EraserName = "leace",
) -> Erased:
    """Fit an eraser on the training split's features, give it to the extractor, and fit the head anew.

    All attributes are erased at once, each exactly on the rows on which it is known. Of a continuous one both the value
    and its quantile bins go: the bins are what probes are asked for. One pass over the split, in evaluation mode; the
    head is fitted on at most 50,000 rows, drawn by the seed, from where training left it.

    Transport erases their joint classes instead, on rows on which all are known.

    The extractor must have no eraser yet. `loss` is the task's, of outputs, targets and weights; `weight` (n,) are
    those of the training split in it, `offset` (n, k) what a product of experts adds to its outputs. `by` leace the
    change of the features is least; by splince, which needs a target of classes or strata, their covariance with it
    stays; by transport other probes find little as well.

    Raises:
        TrainingError: concept-erasure is not installed, features are not finite, or an attribute is hardly known.
    """
    split, extractor = data.train, model.extractor
    assert extractor.eraser is None, "features are erased once"
    head_rows = np.arange(len(split))
    if len(split) > _MAX_HEAD_ROWS:
        head_rows = np.sort(derived_generator(seed, 0).choice(len(split), _MAX_HEAD_ROWS, replace=False))
    fit, columns = eraser_fit(by, data, attributes, extractor.features_dim, seed)
    kept = []
    # features are never in memory at once: all rows give moments, and those that the head is fitted on are kept
    for start in range(0, len(split), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(split)))
        found = embed(extractor, split, batch_size=batch_size, device=device, num_workers=num_workers, rows=rows)
        z = torch.from_numpy(found.features)
        fit.add(z, columns[torch.from_numpy(rows)])
        kept.append(z[torch.from_numpy(np.isin(rows, head_rows))])
    eraser = fit.eraser()
    # the trained head reads directions that are gone: it is fitted anew on what is left
    left = eraser(torch.cat(kept))
    parameter = next(extractor.parameters(), torch.empty(0))
    extractor.eraser = eraser.to(parameter.device, parameter.dtype)
    if not any(True for _ in model.head.parameters()):
        return Erased(n_erased=eraser.n_erased, n_features=extractor.features_dim)
    y = torch.from_numpy(split.y[head_rows])
    given = [None if each is None else torch.from_numpy(each[head_rows]).double() for each in (weight, offset)]
    before, after = refit_head(model.head, left, y, loss=loss, weight=given[0], offset=given[1])
    return Erased(n_erased=eraser.n_erased, n_features=extractor.features_dim, loss_before=before, loss_after=after)


def refit_head(
    head: nn.Module,
    features: Tensor,
    y: Tensor,
    *,
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    weight: Tensor | None = None,
    offset: Tensor | None = None,
) -> tuple[float, float]:
    """Fit a head on features (n, d) in place, by L-BFGS from where it is; returns its loss before and after.

    `offset` (n, k) is added to its outputs in the loss.

    A small pull towards what it said before (1e-3 / 2 of the mean squared difference of outputs) keeps it finite where
    the classes can be separated.
    """
    # float64 on the CPU: L-BFGS stops where rounding hides the descent
    fitted = copy.deepcopy(head).to("cpu", torch.float64)
    x = features.detach().to("cpu", torch.float64)
    y = y.double() if y.is_floating_point() else y
    with torch.no_grad():
        old = fitted(x)
        added = torch.zeros_like(old) if offset is None else offset
        before = float(loss(old + added, y, weight))
    optimizer = torch.optim.LBFGS(fitted.parameters(), max_iter=200, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        outputs = fitted(x)
        total = loss(outputs + added, y, weight) + _PULL / 2 * (outputs - old).square().sum(dim=-1).mean()
        total.backward()
        return float(total.detach())

    with torch.enable_grad():
        optimizer.step(closure)
    with torch.no_grad():
        after = float(loss(fitted(x) + added, y, weight))
    head.load_state_dict(fitted.state_dict())
    return before, after


def eraser_fit(
    by: EraserName, data: BiasedData, attributes: Sequence[str], n_features: int, seed: int
) -> tuple[LeaceFit | SplinceFit | TransportFit, Tensor]:
    """What gathers features, and the columns (n, k) that it is given beside them.

    Raises:
        TrainingError: concept-erasure is not installed, or an attribute or a class is hardly known in training rows.
    """
    split = data.train
    if by == "transport":
        classes = _joint_classes(data, attributes, seed)
        check_classes(classes.numpy())
        return TransportFit(n_features, seed=seed), classes
    known = {name: torch.from_numpy(split.known[name]) for name in attributes}
    columns = concept_columns({name: _concept(data.attributes[name], split) for name in attributes}, known)
    if by == "leace":
        return LeaceFit(n_features, columns.shape[1]), columns
    return SplinceFit(n_features, columns.shape[1]), torch.cat([columns, _target_columns(data)], dim=1)


def _joint_classes(data: BiasedData, attributes: Sequence[str], seed: int) -> Tensor:
    """Joint class (n, 1) of all attributes, values in bins; −1 where one is missing or more rows are there than fit."""
    split = data.train
    columns, known = [], np.ones(len(split), dtype=bool)
    for name in attributes:
        values = np.where(split.known[name][:, None], split.c[name], 0)
        columns.append(data.attributes[name].classes(values))
        known &= split.known[name]
    _, joint = np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)
    # drawn among all rows: the first ones may be of one class
    spare = derived_generator(seed, 1).permutation(np.flatnonzero(known))[MOST_ROWS:]
    joint = np.where(known, joint.reshape(-1), -1)
    joint[spare] = -1
    return torch.from_numpy(joint)[:, None]


def _target_columns(data: BiasedData) -> Tensor:
    """The training split's target (n, k), as what is erased is given: classes or strata one-hot."""
    strata = torch.from_numpy(data.train.strata)
    one_hot = torch.nn.functional.one_hot(strata, len(data.class_names)).double()
    return concept_columns({"target": one_hot}, {"target": torch.ones(len(strata), dtype=torch.bool)})


def _concept(attribute: Attribute, split: Split) -> Tensor:
    """What is erased of an attribute (n, k): its classes or bins one-hot, and the values of a continuous one."""
    # a missing value may be NaN or out of range; what stands in for it is masked out
    values = np.where(split.known[attribute.name][:, None], split.c[attribute.name], 0)
    one_hot = encode_attribute(torch.from_numpy(attribute.classes(values)), attribute.n_classes, torch.float64)
    if attribute.kind != "continuous":
        return one_hot
    return torch.cat([one_hot, torch.from_numpy(values).double()], dim=1)
