"""Measures of dependence without a critic, as pure functions of kernel or distance matrices; 0 is independence.

All take sample weights w (n,) and then measure the weighted distribution. Sums run over distinct samples only, which
makes HSIC, distance covariance and MMD free of bias: independent samples give 0 on average, not a positive value that
training would press on by collapsing z.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibias_cli.estimators.measures.bounds import normal_weight

__all__ = ["centred_inner", "characteristic_gaps", "gaussian_kernel", "hsic", "mmd", "normalised", "squared_distances"]

# Widths of the Gaussian kernels that are averaged, as shares of the mean squared distance.
_SCALES = (0.25, 1.0)


def squared_distances(a: Tensor) -> Tensor:
    """Squared Euclidean distances (n, n) of rows a (n, d), never negative."""
    # |x|² + |y|² − 2xy loses digits where a is far from 0: distances do not change with the origin
    centred = a - a.mean(dim=0)
    norms = (centred**2).sum(dim=1)
    found = (norms[:, None] + norms[None, :] - 2 * centred @ centred.T).clamp_min(0)
    return found.masked_fill(torch.eye(len(a), dtype=torch.bool, device=a.device), 0.0)


def gaussian_kernel(a: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean (n, n) of two Gaussian kernels whose width follows the data: ¼ and 1 of the mean squared distance.

    The width is part of the function, gradient and all: the measure cannot be changed by scaling a.
    """
    square = squared_distances(a)
    w = a.new_ones(len(a)) if weight is None else weight
    pairs = w[:, None] * w[None, :]
    off_diagonal = pairs.sum() - (w**2).sum()
    mean = (pairs * square).sum() / torch.where(off_diagonal > 0, off_diagonal, 1.0)
    relative = square / (mean + 1e-15)  # its square is still a float32
    return torch.stack([torch.exp(-relative / scale) for scale in _SCALES]).mean(dim=0)


def hsic(k: Tensor, m: Tensor, weight: Tensor | None = None) -> Tensor:
    """The Hilbert–Schmidt independence criterion of two kernel matrices (n, n), without bias and weighted.

    With distance matrices in place of kernels it is the squared distance covariance. Both matrices are symmetric,
    n ≥ 4; their diagonals play no part.

    References: Gretton et al., Measuring statistical dependence with Hilbert–Schmidt norms (2005), Lemma 1; Song et
    al., Feature selection via dependence maximization (2012), whose unbiased HSIC this is without weights; Székely et
    al., Measuring and testing dependence by correlation of distances (2007). The weighted sums are ours.
    """
    n, w = len(k), normal_weight(k, weight)
    # pairs of a sample with itself are what biases the plug-in estimate
    diagonal = torch.eye(n, dtype=torch.bool, device=k.device)
    k, m = k.masked_fill(diagonal, 0.0), m.masked_fill(diagonal, 0.0)
    kw, mw, both = k @ w, m @ w, k * m
    # HSIC = E[k m] + E[k] E[m] − 2 E[E[k] E[m]] (Gretton et al., Lemma 1). Each mean runs over distinct samples: what
    # the plain sums have too much, terms in which two indices agree, is taken off by inclusion and exclusion.
    two = w @ both @ w
    three = w @ (kw * mw) - w @ both @ w**2  # i, j ≠ k
    shared = w**2 @ (kw * mw) - w**2 @ both @ w**2
    four = (w @ kw) * (w @ mw) - 4 * shared - 2 * (w**2 @ both @ w**2)
    # the same sums of the weights alone: how much weight there is in distinct pairs, triples and quadruples
    p2, p3, p4 = (w**2).sum(), (w**3).sum(), (w**4).sum()
    pairs = 1 - p2
    triples = 1 - 3 * p2 + 2 * p3
    quadruples = 1 - 6 * p2 + 8 * p3 + 3 * p2**2 - 6 * p4
    enough = quadruples > 1e-6  # else fewer than four samples count, and nothing can be said
    pairs, triples, quadruples = (torch.where(enough, total, 1.0) for total in (pairs, triples, quadruples))
    return torch.where(enough, two / pairs + four / quadruples - 2 * three / triples, 0.0)


def centred_inner(k: Tensor, m: Tensor, weight: Tensor | None = None) -> Tensor:
    """The weighted mean product of two doubly centred matrices, diagonals included: HSIC with its bias.

    Biased, but never negative for k = m: what a norm is made of.
    """
    w = normal_weight(k, weight)

    def centred(a: Tensor) -> Tensor:
        # row means and column means off, and the mean of all back on: H a H with H = I − 1 wᵀ
        rows = a @ w
        return a - rows[:, None] - rows[None, :] + w @ rows

    return w @ (centred(k) * centred(m)) @ w


def normalised(k: Tensor, m: Tensor, weight: Tensor | None = None) -> Tensor:
    """HSIC over the norms of both sides: CKA for kernels, squared distance correlation for distances; about 0 to 1.

    The numerator is the one without bias, so that independence gives 0; the norms keep theirs, so that they are
    positive. Constant z or c gives 0.

    References: Kornblith et al., arXiv 1905.00414 (CKA); Székely et al. (2007) and, without bias, Székely and Rizzo,
    Partial distance correlation (2014).
    """
    # HSIC(k, m) / √(HSIC(k, k) HSIC(m, m))
    norms = centred_inner(k, k, weight) * centred_inner(m, m, weight)
    tiny = torch.finfo(k.dtype).eps ** 2
    varies = norms > tiny
    return torch.where(varies, hsic(k, m, weight) / torch.where(varies, norms, 1.0).sqrt(), 0.0 * k.sum())


def mmd(k: Tensor, one_hot: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared maximum mean discrepancy between the groups of z, the mean over pairs of groups by their frequencies.

    `k` is the kernel matrix of z (n, n), `one_hot` the group of each sample (n, groups). Groups of fewer than two
    samples are left out, and fewer than two groups give 0.

    References: Gretton et al., A kernel two-sample test (2012), Lemma 6: the estimate without bias; Louizos et al.,
    arXiv 1511.00830.
    """
    w = k.new_ones(len(k)) if weight is None else weight
    members = one_hot * w[:, None]
    # sums of the kernel over all pairs of two groups, and over the pairs of a sample with itself
    sums = members.T @ k @ members
    own = (members**2 * k.diagonal()[:, None]).sum(dim=0)
    totals, squares = members.sum(dim=0), (members**2).sum(dim=0)
    pairs = totals**2 - squares
    usable = pairs > 0
    within = (sums.diagonal() - own) / torch.where(usable, pairs, 1.0)
    between = sums / torch.where(usable, totals, 1.0)[:, None] / torch.where(usable, totals, 1.0)[None, :]
    # E[k(x, x')] + E[k(y, y')] − 2 E[k(x, y)], where x and x' are distinct
    gaps = within[:, None] + within[None, :] - 2 * between
    # a pair of groups counts by the product of their frequencies, a group with itself not at all
    share = torch.where(usable, totals, 0.0)
    share = share[:, None] * share[None, :]
    share = share - torch.diag(share.diagonal())
    total = share.sum()
    return (share * gaps).sum() / torch.where(total > 0, total, 1.0)


def characteristic_gaps(a: Tensor, b: Tensor, members: Tensor, weight: Tensor | None = None) -> Tensor:
    """|E e^{i(a + b)} − E e^{ia} E e^{ib}|² of every column of phases a and b (n, m): (m,), the mean over groups.

    `members` is the group of each sample (n, groups), inside which means are taken; groups count by their weight, those
    of a single sample not at all. Sums run over distinct samples, so that independence gives 0 on average, up to what
    the means themselves take: about 1/n² for groups of n.

    References: Daniušis et al., arXiv 2208.07934: the difference of joint and product characteristic functions.
    """
    w = normal_weight(a, weight)[:, None] * members
    totals = w.sum(dim=0)
    share = w / torch.where(totals > 0, totals, 1.0)
    own = (share**2).sum(dim=0)
    usable = (totals > 0) & (own < 1 - 1e-6)
    # the gap is the mean product of two complex waves that are centred
    first, second = torch.exp(1j * a), torch.exp(1j * b)
    mixed = share.to(first.dtype)
    inside = members.to(first.dtype)
    product = (first - inside @ (mixed.T @ first)) * (second - inside @ (mixed.T @ second))
    squared = (mixed.T @ product).abs() ** 2 - (share**2).T @ product.abs() ** 2
    gaps = squared / torch.where(usable, 1 - own, 1.0)[:, None]
    counted = torch.where(usable, totals, 0.0)
    return counted @ gaps / torch.where(counted.sum() > 0, counted.sum(), 1.0)
