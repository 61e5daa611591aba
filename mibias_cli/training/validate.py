"""Figures of the validation split during training: for watching and for choosing a checkpoint, never for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mibias_cli.backbone.spectrum import effective_rank
from mibias_cli.data.batch import Split
from mibias_cli.data.loader import batches
from mibias_cli.data.target import Target, TargetKind, r_squared
from mibias_cli.errors import TrainingError, did_you_mean
from mibias_cli.estimators.measures.predictive import gain_over_reference
from mibias_cli.ranks.exchange import ALONE, Ranks
from mibias_cli.run_folder import GAIN, GAIN_ERROR
from mibias_cli.seeds import derive_seed
from mibias_cli.training.debiaser import Debiaser
from mibias_cli.training.original import FrozenOriginal
from mibias_cli.training.queue import split_sample
from mibias_cli.training.step import BIAS_LOG_P, TASK_WEIGHT, task_loss

__all__ = ["check_metric", "validate"]

MAX_Z_ROWS = 10_000
"""Rows whose features and z are kept: enough for ±.01 bits of the attribute heads' bound, and bounded in memory."""

_FIGURES: Mapping[TargetKind, tuple[str, ...]] = {
    "classes": ("accuracy", "balanced_accuracy", "weighted_accuracy"),
    "multilabel": ("accuracy", "balanced_accuracy", "exact_match", "weighted_accuracy"),
    "regression": ("r2", "mae", "rmse", "weighted_rmse"),
    "none": (),
}
"""By kind of target; those that begin with `weighted` only where the task has balancing weights."""


def check_metric(name: str, debiaser: Debiaser, weights: Mapping[str, np.ndarray], kind: TargetKind) -> None:
    """Check before training begins that `validate` will give a figure of this name; else a TrainingError."""
    own = [figure for figure in _FIGURES[kind] if TASK_WEIGHT in weights or not figure.startswith("weighted")]
    names = [f"validation/{figure}" for figure in ("loss", *own, "effective_rank")]
    if BIAS_LOG_P in weights:
        names += [GAIN, GAIN_ERROR]
    for attribute in debiaser.monitors:
        names += [f"validation/{attribute}/leakage_bits", f"validation/{attribute}/head_accuracy"]
        if attribute in weights:
            names.append(f"validation/{attribute}/balanced_leakage_bits")
    if name not in names:
        raise TrainingError(
            f"training.select.metric: no metric is called '{name}'{did_you_mean(name, names)}; "
            f"there are {', '.join(names)}"
        )


@torch.no_grad()
def validate(
    model: nn.Module,
    split: Split,
    *,
    target: Target,
    original: FrozenOriginal | None = None,
    debiaser: Debiaser | None,
    weights: Mapping[str, np.ndarray],
    uniform_prior: bool = False,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    seed: int,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Task and leakage figures of a model in evaluation mode on a split, by name.

    `weighted_accuracy` weights samples by p(y)p(c)/p(y,c): the accuracy to expect where y and c are independent, from
    biased data alone. `gain_over_bias_bits` is the information of the scores about the class beyond that of the
    attributes, see `gain_over_reference`: a model that leans on the bias gains little. Accuracies of several labels are
    means over labels; `r2`, `mae` and `rmse` are of a column of numbers in the user's units, of several the means over
    columns, in standard deviations of training rows.
    `<attribute>/leakage_bits` is the attribute heads' held-out bound, `critic_bits` (`critic_dependence` in a unit of
    its own) the training critic's, and `critic_signal` by how much that exceeds what shuffled labels give.

    On several ranks each passes its share of the rows through the model, and the figures are rank 0's.
    """
    logits, wanted, features, z = (list[Tensor]() for _ in range(4))
    for batch in batches(
        split, batch_size=batch_size, seed=seed, shuffle=False, num_workers=num_workers, share=ranks.share
    ):
        x, n = batch.x.to(device), len(batch)
        output = model(x)
        logits.append(ranks.gather(output["logits"], n).float().cpu())
        wanted.append(batch.y if original is None else ranks.gather(original(x), n).float().cpu())
        if sum(map(len, features)) < MAX_Z_ROWS:
            features.append(ranks.gather(output["features"], n).float().cpu())
            z += [] if debiaser is None else [ranks.gather(output["z"], n)]
    scores, y = torch.cat(logits), torch.cat(wanted)
    weight = torch.from_numpy(weights[TASK_WEIGHT]).double() if TASK_WEIGHT in weights else None
    figures: dict[str, float] = {}
    # without a target, and without an original to stay close to, nothing is predicted
    if target.kind != "none" or original is not None:
        figures = {f"validation/{name}": value for name, value in _task_figures(scores, y, weight, target).items()}
    if BIAS_LOG_P in weights:
        log_p = torch.from_numpy(weights[BIAS_LOG_P])
        gain, error = gain_over_reference(scores, y, log_p, uniform_prior=uniform_prior)
        figures |= {GAIN: float(gain) / math.log(2), GAIN_ERROR: float(error) / math.log(2)}
    figures["validation/effective_rank"] = effective_rank(torch.cat(features).numpy())
    if debiaser is not None:
        figures |= _leakage_figures(debiaser, split, torch.cat(z), weights, seed)
    return ranks.agreed(figures)


def _task_figures(logits: Tensor, y: Tensor, weight: Tensor | None, target: Target) -> dict[str, float]:
    figures = {"loss": float(task_loss(logits, y, None, target.kind))}
    if target.kind == "none":
        return figures
    if target.kind == "regression":
        return figures | _number_figures(logits, y, weight, target)
    columns = [(logits.argmax(dim=1), y)]
    if target.kind == "multilabel":
        columns = list(zip((logits > 0).long().T, y.long().T, strict=True))
    # balanced accuracy: the mean of the recalls of the classes that occur
    right = torch.stack([predicted == true for predicted, true in columns], dim=1).double()
    recalls = [np.mean([float((p[t == k] == k).double().mean()) for k in torch.unique(t)]) for p, t in columns]
    figures |= {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}
    if target.kind == "multilabel":
        figures["exact_match"] = float(right.prod(dim=1).mean())
    if weight is not None:
        figures["weighted_accuracy"] = float((weight * right.mean(dim=1)).sum() / weight.sum())
    return figures


def _number_figures(numbers: Tensor, y: Tensor, weight: Tensor | None, target: Target) -> dict[str, float]:
    # years and metres have no mean: several columns stay standardised
    scale = torch.tensor(target.scale if len(target.scale) == 1 else 1.0, dtype=torch.float64)
    error = (numbers - y).double()
    square = error.square()
    r2 = r_squared(y.double().numpy(), numbers.double().numpy())
    figures = {
        "r2": math.nan if r2 is None else r2,
        "mae": float((error.abs().mean(dim=0) * scale).mean()),
        "rmse": float((square.mean(dim=0).sqrt() * scale).mean()),
    }
    if weight is not None:
        weighted = (weight[:, None] * square).sum(dim=0) / weight.sum()
        figures["weighted_rmse"] = float((weighted.sqrt() * scale).mean())
    return figures


def _leakage_figures(
    debiaser: Debiaser, split: Split, z: Tensor, weights: Mapping[str, np.ndarray], seed: int
) -> dict[str, float]:
    """What every attribute's heads and critic find on the split's first rows, whose representation is z (n, d)."""
    rows = np.arange(len(z))
    generator = torch.Generator().manual_seed(seed)
    figures: dict[str, float] = {}
    for name, monitor in debiaser.monitors.items():
        sample = split_sample(split, rows, name, z)
        figures[f"validation/{name}/leakage_bits"] = monitor.estimate(sample, generator) / math.log(2)
        figures[f"validation/{name}/head_accuracy"] = monitor.accuracy(sample)
        balanced = sample
        if name in weights:
            balanced = replace(sample, weight=torch.from_numpy(weights[name][rows]).to(z.device))
            figures[f"validation/{name}/balanced_leakage_bits"] = monitor.estimate(balanced, generator) / math.log(2)
        # the critic is judged by what it was trained on: weighted rows, where it sees weights or draws by them
        seen = balanced if debiaser.weighted or debiaser.draw_share else sample
        drawn = torch.Generator().manual_seed(derive_seed(seed, "signal", name))
        critic = debiaser.signal.look(name, debiaser.estimators[name], seen, drawn)
        figures |= {f"validation/{name}/{key}": value for key, value in critic.items()}
    return figures
