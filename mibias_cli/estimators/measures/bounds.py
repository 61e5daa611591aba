"""Bounds on mutual information as pure functions of scores; every value is in nats and none is clamped.

Those of a score matrix take scores (n, n) where row i and column j hold T(z_i, c_j): the joint pairs are on the
diagonal and every other pair is one of the product of marginals. With a `weight` (n,) per sample they bound the
information of the weighted distribution; with a `group` (n,) of integers only pairs within a group are compared, which
bounds I(z; c | group). Rows without another row in their group are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "donsker_varadhan",
    "dv",
    "flo",
    "infonce",
    "js",
    "js_objective",
    "log_mean_exp",
    "log_pair_weights",
    "mine_surrogate",
    "normal_weight",
    "nwj",
    "smile",
    "weighted_mean",
]


def weighted_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of values (n,) under weights (n,), which are normalised here; plain mean without them."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum()


def normal_weight(a: Tensor, weight: Tensor | None) -> Tensor:
    """Weights (n,) that sum to 1 for rows a (n, …); equal ones where there are none."""
    return a.new_full((len(a),), 1 / len(a)) if weight is None else weight / weight.sum()


def log_mean_exp(scores: Tensor, weight: Tensor | None = None) -> Tensor:
    """Log of the (weighted) mean of exp(scores), by logsumexp, so that large scores do not overflow.

    A weight of 0 leaves its score out.

    Example:
        >>> log_mean_exp(torch.tensor([1000.0, 1000.0])).item()
        1000.0
    """
    if weight is None:
        return torch.logsumexp(scores, dim=0) - math.log(scores.shape[0])
    # a weight enters as an added logarithm, so that nothing is exponentiated on its own
    return torch.logsumexp(scores + weight.log(), dim=0) - weight.sum().log()


def donsker_varadhan(
    joint_scores: Tensor,
    marginal_scores: Tensor,
    joint_weight: Tensor | None = None,
    marginal_weight: Tensor | None = None,
) -> Tensor:
    """The Donsker–Varadhan lower bound E_joint[T] − log E_marginals[exp T].

    Joint scores (n,) are those of pairs as they occur, marginal ones (m,) those of c' drawn independently of z; weights
    are normalised here. In nats, a scalar.

    References: Donsker and Varadhan (1983), as Theorem 1 of Belghazi et al., arXiv 1801.04062; the estimate that
    Ragonesi et al., arXiv 2003.06430, minimise.

    Example:
        >>> donsker_varadhan(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])).item()
        1.0
    """
    return weighted_mean(joint_scores, joint_weight) - log_mean_exp(marginal_scores, marginal_weight)


def mine_surrogate(
    joint_scores: Tensor,
    marginal_scores: Tensor,
    moving_average: Tensor,
    decay: float,
    joint_weight: Tensor | None = None,
    marginal_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A surrogate with MINE's corrected gradient E[∇T] − E[∇T exp T] / average of E[exp T].

    The gradient of the plain bound divides by the mean over one batch, which biases it; MINE divides by a moving
    average over batches. The average is kept as a logarithm, so that it never overflows, and it includes the present
    batch, so that the ratio stays below 1 / (1 − decay). Only the surrogate's gradient means anything: for a value
    in nats use `donsker_varadhan`.

    Scores and weights are those of `donsker_varadhan`; `moving_average` is the log of the average so far, −inf while
    there is none, and `decay` the share of it that is kept. Gives what is to be maximised, and the log of the new
    average (detached).

    References: Belghazi et al., arXiv 1801.04062, Section 3.2.
    """
    # log E_batch[exp T], whose gradient is E[∇T exp T] / E[exp T]
    log_mean = log_mean_exp(marginal_scores, marginal_weight)
    present = log_mean.detach()
    # the moving average in logarithms: log(decay · old + (1 − decay) · present)
    blended = torch.logaddexp(moving_average + math.log(decay), present + math.log1p(-decay))
    average = torch.where(torch.isneginf(moving_average), present, blended)
    # exp(log_mean − average) is the batch's mean over the average: its gradient has the average as denominator
    return weighted_mean(joint_scores, joint_weight) - torch.exp(log_mean - average), average


def log_pair_weights(
    scores: Tensor, weight: Tensor | None = None, group: Tensor | None = None, *, diagonal: bool = False
) -> tuple[Tensor, Tensor]:
    """How much each sample counts among the joint pairs, and the log of each pair's share in its row.

    With `diagonal` a sample is paired with itself too, as in InfoNCE; else the diagonal is joint alone.

    Returns:
        joint (n,), which sums to 1, and log_row (n, n): log of p(j | i), −inf where i and j make no pair. A product-of-
        marginals pair (i, j) weighs joint[i] · p(j | i).
    """
    n = scores.shape[0]
    w = scores.new_ones(n) if weight is None else weight.to(scores.dtype)
    paired = torch.ones(n, n, dtype=torch.bool, device=scores.device)
    if group is not None:
        paired = group[:, None] == group[None, :]
    # off-diagonal pairs only: the diagonal is joint, not a draw of the marginals
    own = torch.eye(n, dtype=torch.bool, device=scores.device)
    shares = torch.where(paired & ~own, w[None, :], 0.0)
    # a row without a partner cannot be compared, so that it counts among the joint pairs neither
    joint = torch.where(shares.sum(dim=1) > 0, w, 0.0)
    if diagonal:
        shares = torch.where(paired, w[None, :], 0.0)
        # a row that counts for nothing still needs a finite logarithm
        shares = torch.where(own & (joint == 0)[:, None], 1.0, shares)
    total = shares.sum(dim=1, keepdim=True)
    return joint / joint.sum(), (shares / torch.where(total > 0, total, 1.0)).log()


def dv(scores: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """Donsker–Varadhan on all pairs of a batch: E_joint[T] − log E_marginals[exp T].

    References: Donsker and Varadhan (1983); Poole et al., arXiv 1905.06922, Section 2.2.

    Example:
        >>> dv(torch.eye(3)).item()
        1.0
    """
    joint, log_row = log_pair_weights(scores, weight, group)
    return joint @ scores.diagonal() - _log_mean(scores, joint, log_row)


def nwj(scores: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """Nguyen–Wainwright–Jordan: E_joint[T] − E_marginals[exp(T − 1)], free of the bias that DV's logarithm has.

    Tight at T = 1 + log p(z, c) / p(z)p(c): without that 1 the value is off by a nat. Its variance grows as exp(I).

    References: Nguyen, Wainwright and Jordan, arXiv 0809.0853; Poole et al., arXiv 1905.06922, Section 2.2.

    Example:
        >>> nwj(torch.ones(3, 3)).item()  # T = 1 everywhere: independence
        0.0
    """
    joint, log_row = log_pair_weights(scores, weight, group)
    return joint @ scores.diagonal() - torch.exp(_log_mean(scores, joint, log_row) - 1)


def js_objective(scores: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """E_joint[−softplus(−T)] − E_marginals[softplus(T)]: what a critic of `js` and `smile` is trained on.

    The loss of a logistic classifier that tells joint pairs from shuffled ones, at its best where T is the log density
    ratio. It is steady where DV and NWJ are not; it is not an amount of information: see `js` and `smile` for values.

    References: Nowozin et al. (f-GAN), arXiv 1606.00709; Hjelm et al. (Deep InfoMax), arXiv 1808.06670.
    """
    joint, log_row = log_pair_weights(scores, weight, group)
    # the mean over pairs of softplus, which is linear in T at most: no exponential to overflow
    marginal = (joint[:, None] * log_row.exp() * functional.softplus(scores)).sum()
    return -(joint @ functional.softplus(-scores.diagonal())) - marginal


def js(scores: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """The value in nats that matches `js_objective`: NWJ at T + 1, since that objective finds T = log density ratio.

    References: Poole et al., arXiv 1905.06922.

    Example:
        >>> js(torch.zeros(3, 3)).item()
        0.0
    """
    return nwj(scores + 1, weight, group)


def infonce(scores: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """InfoNCE: how well each z picks its own c out of the batch; low variance, never above log(n).

    With weights the ceiling is the entropy of the weights, with groups the mean of log(rows in the group).

    References: van den Oord et al., arXiv 1807.03748; Poole et al., arXiv 1905.06922, Section 2.3.

    Example:
        >>> round(infonce(100 * torch.eye(8)).item(), 4), round(math.log(8), 4)
        (2.0794, 2.0794)
    """
    # here the joint pair is among its own candidates, which is what bounds the value by log n
    joint, log_row = log_pair_weights(scores, weight, group, diagonal=True)
    return joint @ (scores.diagonal() - torch.logsumexp(scores + log_row, dim=1))


def smile(scores: Tensor, tau: float = 5.0, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """DV with exp(T) clipped to [exp(−τ), exp(τ)] in the mean over marginals: less variance, for some bias.

    Train the critic with `js_objective`, as its authors do. Where |T| exceeds τ the value is no bound any more; τ = ∞
    is plain DV.

    References: Song and Ermon, arXiv 1910.06222.
    """
    joint, log_row = log_pair_weights(scores, weight, group)
    # only the mean over marginals is clipped: the joint mean has no exponential
    return joint @ scores.diagonal() - _log_mean(scores.clamp(-tau, tau), joint, log_row)


def flo(scores: Tensor, dual: Tensor, weight: Tensor | None = None, group: Tensor | None = None) -> Tensor:
    """Fenchel–Legendre: 1 − E_joint[u + exp(−u) · E_c'[exp(T(z, c') − T(z, c))]], tight and of low variance.

    The second critic u, given as u(z_i, c_i) of the joint pairs (n,), is at its best at −log density ratio where T is
    that ratio (up to any function of z).

    References: Guo et al., arXiv 2107.01131.

    Example:
        >>> flo(torch.zeros(3, 3), torch.zeros(3)).item()
        0.0
    """
    joint, log_row = log_pair_weights(scores, weight, group)
    # log E_c'[exp(T(z, c') − T(z, c))] of each row
    contrast = torch.logsumexp(scores - scores.diagonal()[:, None] + log_row, dim=1)
    return 1 - joint @ (dual + torch.exp(contrast - dual))


def _log_mean(scores: Tensor, joint: Tensor, log_row: Tensor) -> Tensor:
    """log E_marginals[exp T] over all pairs."""
    # pair (i, j) has the share joint[i] · p(j | i): logarithms add up
    return torch.logsumexp((scores + log_row + joint.log()[:, None]).flatten(), dim=0)
