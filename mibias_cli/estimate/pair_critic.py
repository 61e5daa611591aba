"""A density-ratio network on top of the Gaussian one: what pairs of normal scores share beyond correlation.

The network learns, from pairs that belong together and pairs that were shuffled, the log odds of the former: by
logistic loss, which is steadier than the bound itself. The Gaussian ratio is a given offset, so that where all is
Gaussian nothing is left to learn and little can be spoilt.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.estimate.copula import GaussianRatio, fit_gaussian_ratio
from mibias_cli.estimate.pair_bound import LogRatio, donsker_varadhan_terms, partners

__all__ = ["PairCritic", "Pairs", "fit_pair_critic"]

HIDDEN = 128
N_NETWORKS = 2  # one now and then gets stuck
EPOCHS = 60
BATCH = 256
SHUFFLED = 3  # shuffled pairs for one that belongs together
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 0.4
AVERAGING = 0.99  # of the weights that are used, over steps
LOOK_EVERY = 3  # epochs
PATIENCE = 24  # epochs without anything found beyond the Gaussian ratio, after which there is nothing
WORTHWHILE_NATS = 0.003
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the networks' correction that may be taken
CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Normal scores of both sides, (n, d) and (n, k), and the stratum (n,) within which they may be shuffled."""

    u: np.ndarray
    v: np.ndarray
    stratum: np.ndarray

    def __len__(self) -> int:
        return len(self.u)

    def take(self, rows: np.ndarray) -> Pairs:
        """These rows."""
        return Pairs(u=self.u[rows], v=self.v[rows], stratum=self.stratum[rows])


class _Network(nn.Module):
    """A network on the features of both sides; its last layer starts at zero, and so the critic at its base."""

    def __init__(self, n_u: int, n_v: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first_u, self.first_v = nn.Linear(n_u, HIDDEN), nn.Linear(n_v, HIDDEN, bias=False)
        self.second, self.third, self.last = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)
        with torch.no_grad():
            for layer, width in (
                (self.first_u, n_u + n_v),
                (self.first_v, n_u + n_v),
                (self.second, HIDDEN),
                (self.third, HIDDEN),
            ):
                for parameter in layer.parameters():
                    parameter.uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
            self.last.weight.zero_()
            self.last.bias.zero_()

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        hidden = functional.silu(self.first_u(u) + self.first_v(v))
        hidden = functional.silu(self.third(functional.silu(self.second(hidden))))
        return self.last(hidden)[:, 0]


def _features(x: np.ndarray) -> np.ndarray:
    """Scores, their squares and their radius, about standardised: what elliptical distributions are made of."""
    squares = (x**2 - 1) / math.sqrt(2)
    return np.concatenate([x, squares, squares.sum(axis=1, keepdims=True) / math.sqrt(x.shape[1])], axis=1)


def _sides(pairs: Pairs, n_strata: int) -> tuple[Tensor, Tensor]:
    """The networks' inputs on both sides; the stratum stands beside u where there are several."""
    facts = np.eye(n_strata)[pairs.stratum][:, 1:]
    left = np.concatenate([_features(pairs.u), facts], axis=1)
    return torch.from_numpy(left.astype(np.float32)), torch.from_numpy(_features(pairs.v).astype(np.float32))


def _correction(networks: tuple[_Network, ...], u: Tensor, v: Tensor) -> np.ndarray:
    """The networks' mean output (n,)."""
    with torch.no_grad():
        parts = [
            torch.stack([network(u[k : k + CHUNK], v[k : k + CHUNK]) for network in networks]).mean(dim=0)
            for k in range(0, len(u), CHUNK)
        ]
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True, kw_only=True)
class PairCritic:
    """A fitted critic: the Gaussian ratio plus a share of what the networks add, never above what real pairs reached.

    `selection_nats` is its Donsker–Varadhan value and `gaussian_nats` that of the Gaussian ratio alone, on the rows
    that were held out from both.
    """

    base: GaussianRatio
    networks: tuple[_Network, ...]
    n_strata: int
    share: float
    cap: float
    selection_nats: float
    gaussian_nats: float

    def scorer(self, pairs: Pairs) -> LogRatio:
        """Scores in nats of pairs of these rows, asked for by their indices."""
        return _capped(_scorer(self.base, self.networks, self.n_strata, pairs), self.share, self.cap)


def _scorer(
    base: GaussianRatio, networks: tuple[_Network, ...], n_strata: int, pairs: Pairs
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The two parts of a score, by row indices."""
    u, v = _sides(pairs, n_strata)
    gaussian = base.scorer(pairs.u, pairs.v)

    def parts(i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        added = _correction(networks, u[torch.from_numpy(i)], v[torch.from_numpy(j)]) if networks else np.zeros(len(i))
        return gaussian(i, j), added

    return parts


def fit_pair_critic(pairs: Pairs, *, n_strata: int, train: np.ndarray, held: np.ndarray, seed: int) -> PairCritic:
    """Fit the networks on the training rows; when to stop and how far to trust them, on the held-out ones.

    Args:
        pairs: The fitting part.
        n_strata: Number of strata, those that are absent here included.
        train, held: Rows of it.
        seed: Of everything random.
    """
    fitted, checked = pairs.take(train), pairs.take(held)
    base = fit_gaussian_ratio(fitted.u, fitted.v)
    networks = tuple(
        _train(fitted, checked, base, n_strata, np.random.default_rng([seed, 31, k])) for k in range(N_NETWORKS)
    )
    joint = np.arange(len(fitted))
    gaussian = donsker_varadhan_terms(base.scorer(checked.u, checked.v), checked.stratum, seed=seed)
    # by the gain over the Gaussian ratio less one standard error: the largest of several gains would often be noise
    best: tuple[float, float, float, tuple[_Network, ...], float] = (0.0, 0.0, math.inf, (), float(gaussian.mean()))
    for chosen in (*((network,) for network in networks), networks):
        base_part, added_part = _scorer(base, chosen, n_strata, fitted)(joint, joint)
        parts = _scorer(base, chosen, n_strata, checked)
        for share in SHARES:
            cap = float((base_part + share * added_part).max())
            terms = donsker_varadhan_terms(_capped(parts, share, cap), checked.stratum, seed=seed)
            gain = terms - gaussian
            cautious = float(gain.mean() - gain.std() / math.sqrt(len(gain)))
            if cautious > best[0]:
                best = (cautious, share, cap, chosen, float(terms.mean()))
    _, share, cap, kept, value = best
    return PairCritic(
        base=base, networks=kept, n_strata=n_strata, share=share, cap=cap,
        selection_nats=value, gaussian_nats=float(gaussian.mean()),
    )  # fmt: skip


def _capped(
    parts: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], share: float, cap: float
) -> LogRatio:
    def score(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        base, added = parts(i, j)
        return np.minimum(base + share * added, cap)

    return score


def _train(
    fitted: Pairs, checked: Pairs, base: GaussianRatio, n_strata: int, generator: np.random.Generator
) -> _Network:
    """One network, its weights averaged over steps, as it was when its value on the held-out rows was best."""
    u, v = _sides(fitted, n_strata)
    offset = base.scorer(fitted.u, fitted.v)
    network = _Network(u.shape[1], v.shape[1], torch.Generator().manual_seed(int(generator.integers(2**31))))
    averaged = copy.deepcopy(network)
    n, batch = len(fitted), min(BATCH, len(fitted))
    steps = n // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * steps, pct_start=0.1)
    best: tuple[float, _Network] = (-math.inf, averaged)
    gaussian = base.scorer(checked.u, checked.v)
    start = float(donsker_varadhan_terms(gaussian, checked.stratum, seed=0, n_shifts=8).mean())
    for epoch in range(EPOCHS):
        order = generator.permutation(n)
        others = [np.arange(n), *partners(fitted.stratum, SHUFFLED, generator)]
        for rows in np.split(order[: steps * batch], steps):
            i, j = np.tile(rows, 1 + SHUFFLED), np.concatenate([other[rows] for other in others])
            given = torch.from_numpy(offset(i, j).astype(np.float32))
            _step(network, optimizer, u[torch.from_numpy(i)], v[torch.from_numpy(j)], given, batch)
            schedule.step()
            with torch.no_grad():
                for kept, current in zip(averaged.parameters(), network.parameters(), strict=True):
                    kept.lerp_(current, 1 - AVERAGING)
        if epoch % LOOK_EVERY == LOOK_EVERY - 1:
            parts = _scorer(base, (averaged,), n_strata, checked)
            terms = donsker_varadhan_terms(_capped(parts, 1.0, math.inf), checked.stratum, seed=0, n_shifts=8)
            if terms.mean() > best[0]:
                best = (float(terms.mean()), copy.deepcopy(averaged))
        if epoch + 1 == PATIENCE and best[0] <= start + WORTHWHILE_NATS:
            break
    return best[1]


def _step(
    network: _Network, optimizer: torch.optim.Optimizer, u: Tensor, v: Tensor, given: Tensor, n_joint: int
) -> None:
    """One step on the logistic loss; the first rows belong together, the others were shuffled."""
    score = given + network(u, v) - math.log(SHUFFLED)  # log odds where shuffled pairs are so many times as frequent
    loss = (functional.softplus(-score[:n_joint]).sum() + functional.softplus(score[n_joint:]).sum()) / n_joint
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
