"""Information by prediction: entropies, cross-entropies and explained shares, in nats; none is clamped."""

from __future__ import annotations

import math

import scipy
import torch
from torch import Tensor
from torch.nn import functional

from mibias_cli.estimators.measures.bounds import weighted_mean

__all__ = [
    "cross_entropy",
    "cross_entropy_bound",
    "cross_entropy_gain",
    "entropy",
    "explained_share_nats",
    "frequencies_given",
    "gain_over_reference",
    "smoothed",
]


def entropy(c: Tensor, n_classes: int, weight: Tensor | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Plug-in entropy in nats of class indices c (n,), weighted; a class that is absent adds nothing.

    Example:
        >>> round(entropy(torch.tensor([0, 1, 0, 1]), 3).item(), 4)
        0.6931
    """
    # A product with the one-hot matrix: counting by scatter is not deterministic on a GPU.
    one_hot = functional.one_hot(c, n_classes).to(dtype)
    counts = one_hot.sum(dim=0) if weight is None else weight.to(dtype) @ one_hot
    p = counts / counts.sum()
    return -torch.xlogy(p, p).sum()


def cross_entropy(logits: Tensor, c: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted mean of −log q(c | z) in nats, for logits (n, K) and classes c (n,)."""
    if weight is None:
        return functional.cross_entropy(logits, c)
    return weighted_mean(functional.cross_entropy(logits, c, reduction="none"), weight)


def cross_entropy_bound(logits: Tensor, c: Tensor, weight: Tensor | None = None) -> Tensor:
    """The classifier bound H_w(c) − CE_w(c | z), a lower bound on I(z; c) up to sampling error.

    The entropy is the plug-in entropy of c in this very sample under the same weights; it is constant in z. On samples
    that the classifier was not fitted on the bound holds for any classifier, and it is negative for one that is worse
    than the class frequencies.

    In nats, differentiable in the scores (n, K) of a classifier of c (n,); weights (n,) are normalised here.

    References: Barber and Agakov (2003); Poole et al., arXiv 1905.06922, Section 2.1.

    Example:
        >>> c = torch.tensor([0, 1, 0, 1])
        >>> abs(round(cross_entropy_bound(torch.zeros(4, 2), c).item(), 6))
        0.0
    """
    return entropy(c, logits.shape[1], weight, logits.dtype) - cross_entropy(logits, c, weight)


def frequencies_given(
    c: Tensor,
    y: Tensor,
    n_classes: int,
    n_targets: int,
    weight: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """p(c | y) (n_targets, n_classes) by weighted counts, rows smoothed by one pseudo-count spread as p(c).

    A target class without rows gets p(c) itself. c and y are (n,); the scale of the weights (n,) does not matter.

    Example:
        >>> frequencies_given(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]), 2, 2).round(decimals=3).tolist()
        [[0.667, 0.333], [0.667, 0.333]]
    """
    # counts by products of one-hot matrices, in weights of mean 1: a pseudo-count then is one row
    given = functional.one_hot(y, n_targets).to(dtype)
    if weight is not None:
        weight = weight.to(dtype)
        given = given * (weight / weight.mean())[:, None]
    counts = given.T @ functional.one_hot(c, n_classes).to(dtype)
    # p(c) itself is smoothed too, so that no class has probability 0
    prior = counts.sum(dim=0) + 1e-3
    counts = counts + prior / prior.sum()
    return counts / counts.sum(dim=1, keepdim=True)


def cross_entropy_gain(
    logits: Tensor, c: Tensor, y: Tensor, frequencies: Tensor, weight: Tensor | None = None
) -> Tensor:
    """CE_w(c | y) − CE_w(c | z, y): how much better a classifier predicts c than the frequencies of c given y do.

    An estimate of I(z; c | y) from below. The reference is the cross-entropy of fitted frequencies on this very
    sample, not its own plug-in entropy: with a dozen rows per target class the latter is too low by tenths of a nat,
    and the difference of two cross-entropies on the same rows has less noise. Frequencies from n rows per target class
    put it too high by about (K − 1) / 2n nats.

    Of scores (n, K) of a classifier that saw z and y, and of frequencies p(c | y) (n_targets, K), all positive, see
    `frequencies_given`. In nats, differentiable in the logits.

    References: Barber and Agakov (2003); Poole et al., arXiv 1905.06922, Section 2.1, with p(c | y) in place of p(c).
    """
    reference = -frequencies.to(logits.dtype)[y, c].log()
    return weighted_mean(reference - functional.cross_entropy(logits, c, reduction="none"), weight)


def gain_over_reference(
    logits: Tensor, y: Tensor, reference: Tensor, *, uniform_prior: bool = False
) -> tuple[Tensor, Tensor]:
    """What scores tell of classes beyond what a reference tells of them already: an estimate of I(x; y | c) from below.

    The reference is log p(y|c), and the scores' expert is multiplied with it at the best of all temperatures:
    CE(y | c) − min over a in [0, 10] of CE(y | softmax(a · logits + log p(y|c) − log p(y))), or 0. Both know how
    frequent classes are, which counts once; p(y) is the mean of p(y|c). Scores with a uniform prior do not know it, and
    nothing is taken off. Scores that repeat what c says gain nothing. On
    samples that neither was fitted on, and up to the fit of the one number a, it bounds I(x; y | c) from below if the
    reference is right.

    Returns:
        The gain in nats, 0 or more, and the standard error of the cross-entropy that is left, both scalars: where two
        sets of scores are compared on the same rows, the first term of the gain is common to both.

    References:
        Hinton, Training products of experts by minimizing contrastive divergence (2002); Barber and Agakov (2003).

    Example:
        >>> y = torch.tensor([0, 1, 0, 1])
        >>> evidence = 20.0 * functional.one_hot(y, 2)
        >>> gain, error = gain_over_reference(evidence, y, torch.zeros(4, 2).log_softmax(1))
        >>> round(gain.item(), 4), round(error.item(), 4)  # all of log 2
        (0.6931, 0.0)
    """
    logits, reference = logits.double(), reference.double()
    beyond = reference
    if not uniform_prior:
        beyond = reference - (reference.logsumexp(dim=0) - math.log(len(reference)))

    # a product of experts: the reference times the scores' own expert, tempered by a
    def loss(a: float) -> float:
        return float(functional.cross_entropy(a * logits + beyond, y))

    best = scipy.optimize.minimize_scalar(loss, bounds=(0.0, 10.0), method="bounded")  # convex in a
    left = functional.cross_entropy(float(best.x) * logits + beyond, y, reduction="none")
    gain = (functional.cross_entropy(reference, y) - left.mean()).clamp_min(0.0)
    return gain, left.std(correction=0) / math.sqrt(len(left))


def smoothed(logits: Tensor, frequencies: Tensor, share: float) -> Tensor:
    """Log of (1 − share) · softmax(logits) + share · frequencies: a prediction that is never certain of an error.

    Of scores (n, K), and of probabilities (n, K) or (K,) that were counted without features.

    Example:
        >>> smoothed(torch.tensor([[100.0, 0.0]]), torch.tensor([0.5, 0.5]), 0.2).exp()
        tensor([[0.9000, 0.1000]])
    """
    # the mixture in logarithms, so that a certain prediction does not underflow
    q = torch.log_softmax(logits, dim=1) + math.log1p(-share)
    return torch.logaddexp(q, (share * frequencies).to(q.dtype).log())


def explained_share_nats(residual: Tensor, total: Tensor, scale: Tensor, floor: float = 1e-3) -> Tensor:
    """−½ log(1 − R²) of a regression: the information that a Gaussian of that explained share would carry.

    `residual` is the mean squared error, `total` the variance of the target in the same sample, `scale` that where the
    regression was fitted (0: a constant target, worth 0 nats). The share `floor` of the scale is added to both,
    which keeps the value finite where R² is 1 (at about 3.5); it is negative where the mean predicts better.

    Example:
        >>> round(explained_share_nats(torch.tensor(0.25), torch.tensor(1.0), torch.tensor(1.0)).item(), 2)
        0.69
    """
    varies = scale > 0
    added = torch.where(varies, floor * scale, torch.ones_like(scale))
    # −½ log(1 − R²) = ½ log(total / residual)
    nats = 0.5 * (torch.log(total + added) - torch.log(residual + added))
    return torch.where(varies, nats, 0.0 * nats)
