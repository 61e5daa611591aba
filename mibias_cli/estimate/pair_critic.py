"""A density-ratio network on top of the Gaussian ratio: what pairs of normal scores share beyond correlation.

The network learns, from pairs that belong together and pairs that were shuffled, the log odds of the former. The
logistic loss is steadier than the bound itself, and its optimum, log p(z, c) / p(z) p(c), is that of the
Donsker–Varadhan bound too. The Gaussian ratio is a given offset: where all is Gaussian nothing is left to learn.

References: Belghazi et al., MINE, arXiv 1801.04062; Gutmann and Hyvärinen, Noise-contrastive estimation (2010).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mibias_cli.estimate.copula import GaussianRatio, fit_gaussian_ratio
from mibias_cli.estimate.pair_bound import N_SHIFTS, LogRatio, donsker_varadhan_terms, partners

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
QUICK_SHIFTS = 8  # pairs of the product distribution for a look in training
PATIENCE = 24  # epochs without anything found beyond the Gaussian ratio, after which there is nothing
WORTHWHILE_NATS = 0.003
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the networks' correction that may be taken
CHUNK = 65_536


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Normal scores u (n, d) of z and v (n, k) of c, and the stratum (n,) within which they may be shuffled."""

    u: np.ndarray
    v: np.ndarray
    stratum: np.ndarray

    def __len__(self) -> int:
        return len(self.u)

    def take(self, rows: np.ndarray) -> Pairs:
        """These rows."""
        return Pairs(u=self.u[rows], v=self.v[rows], stratum=self.stratum[rows])


class _Network(nn.Module):
    """A network on the features of u and v; its last layer starts at zero, and so the critic at its base."""

    def __init__(self, n_u: int, n_v: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first_u, self.first_v = nn.Linear(n_u, HIDDEN), nn.Linear(n_v, HIDDEN, bias=False)
        self.second, self.third, self.last = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)
        widths = {self.first_u: n_u + n_v, self.first_v: n_u + n_v, self.second: HIDDEN, self.third: HIDDEN}
        with torch.no_grad():
            for layer, width in widths.items():
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


def _inputs(pairs: Pairs, n_strata: int) -> tuple[Tensor, Tensor]:
    """The networks' inputs for u and for v; the stratum stands beside u where there are several."""
    # one column fewer than strata: the first stratum is that where all the others are 0
    facts = np.eye(n_strata)[pairs.stratum][:, 1:]
    left = np.concatenate([_features(pairs.u), facts], axis=1)
    return torch.from_numpy(left.astype(np.float32)), torch.from_numpy(_features(pairs.v).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class PairCritic:
    """The Gaussian ratio plus a share of what the networks add on average, never above `cap`.

    `selection_nats` is its Donsker–Varadhan value and `gaussian_nats` that of the Gaussian ratio alone, on the rows
    that were held out from both.
    """

    base: GaussianRatio
    n_strata: int
    networks: tuple[_Network, ...] = ()
    share: float = 1.0
    cap: float = math.inf
    selection_nats: float = 0.0
    gaussian_nats: float = 0.0

    def scorer(self, pairs: Pairs) -> LogRatio:
        """Scores in nats of pairs of these rows, asked for by their indices."""
        u, v = _inputs(pairs, self.n_strata)
        gaussian = self.base.scorer(pairs.u, pairs.v)

        def score(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            added = self._added(u[torch.from_numpy(i)], v[torch.from_numpy(j)]) if self.networks else 0.0
            return np.asarray(np.minimum(gaussian(i, j) + self.share * added, self.cap))

        return score

    def terms(self, pairs: Pairs, *, seed: int, n_shifts: int = N_SHIFTS) -> np.ndarray:
        """Donsker–Varadhan contributions (n,) of these rows in nats."""
        return donsker_varadhan_terms(self.scorer(pairs), pairs.stratum, seed=seed, n_shifts=n_shifts)

    def _added(self, u: Tensor, v: Tensor) -> np.ndarray:
        """The networks' mean output (n,)."""
        with torch.no_grad():
            parts = [
                torch.stack([network(u[k : k + CHUNK], v[k : k + CHUNK]) for network in self.networks]).mean(dim=0)
                for k in range(0, len(u), CHUNK)
            ]
        return torch.cat(parts).double().numpy()


def fit_pair_critic(pairs: Pairs, *, n_strata: int, train: np.ndarray, held: np.ndarray, seed: int) -> PairCritic:
    """Fit the networks on the training rows; when to stop and how far to trust them, on the held-out ones.

    `n_strata` counts those that are absent here, too.
    """
    fitted, checked = pairs.take(train), pairs.take(held)
    plain = PairCritic(base=fit_gaussian_ratio(fitted.u, fitted.v), n_strata=n_strata)
    networks = [_train(fitted, checked, plain, np.random.default_rng([seed, 31, k])) for k in range(N_NETWORKS)]
    joint = np.arange(len(fitted))
    gaussian = plain.terms(checked, seed=seed)
    nats = float(gaussian.mean())
    best, most = replace(plain, selection_nats=nats, gaussian_nats=nats), 0.0
    # each network alone, and the mean of all
    for chosen in (*((network,) for network in networks), tuple(networks)):
        for share in SHARES:
            critic = replace(best, networks=chosen, share=share, cap=math.inf)
            # E exp T over shuffled pairs hangs on its largest terms: none may score above all pairs that are real
            critic = replace(critic, cap=float(critic.scorer(fitted)(joint, joint).max()))
            terms = critic.terms(checked, seed=seed)
            gain = terms - gaussian
            # the gain over the Gaussian ratio less one standard error: the largest of several would often be noise
            cautious = float(gain.mean() - gain.std() / math.sqrt(len(gain)))
            if cautious > most:
                best, most = replace(critic, selection_nats=float(terms.mean())), cautious
    return best


def _train(fitted: Pairs, checked: Pairs, plain: PairCritic, generator: np.random.Generator) -> _Network:
    """One network, its weights averaged over steps, as it was when its value on the held-out rows was best."""
    u, v = _inputs(fitted, plain.n_strata)
    offset = plain.base.scorer(fitted.u, fitted.v)
    network = _Network(u.shape[1], v.shape[1], torch.Generator().manual_seed(int(generator.integers(2**31))))
    averaged = copy.deepcopy(network)
    n, batch = len(fitted), min(BATCH, len(fitted))
    steps = n // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * steps, pct_start=0.1)
    start = float(plain.terms(checked, seed=0, n_shifts=QUICK_SHIFTS).mean())
    best, kept = -math.inf, averaged
    for epoch in range(EPOCHS):
        order = generator.permutation(n)
        # partners are drawn anew each epoch: the rows themselves first, then those of other rows of the stratum
        others = [np.arange(n), *partners(fitted.stratum, SHUFFLED, generator)]
        for rows in np.split(order[: steps * batch], steps):
            i, j = np.tile(rows, 1 + SHUFFLED), np.concatenate([other[rows] for other in others])
            given = torch.from_numpy(offset(i, j).astype(np.float32))
            _step(network, optimizer, u[torch.from_numpy(i)], v[torch.from_numpy(j)], given, batch)
            schedule.step()
            with torch.no_grad():
                for mean, current in zip(averaged.parameters(), network.parameters(), strict=True):
                    mean.lerp_(current, 1 - AVERAGING)
        if epoch % LOOK_EVERY == LOOK_EVERY - 1:
            value = float(replace(plain, networks=(averaged,)).terms(checked, seed=0, n_shifts=QUICK_SHIFTS).mean())
            if value > best:
                best, kept = value, copy.deepcopy(averaged)
        if epoch + 1 == PATIENCE and best <= start + WORTHWHILE_NATS:
            break
    return kept


def _step(
    network: _Network, optimizer: torch.optim.Optimizer, u: Tensor, v: Tensor, given: Tensor, n_joint: int
) -> None:
    """One step on the logistic loss; the first rows belong together, the others were shuffled."""
    # log odds where shuffled pairs are SHUFFLED times as frequent: the log ratio less log SHUFFLED
    score = given + network(u, v) - math.log(SHUFFLED)
    loss = (functional.softplus(-score[:n_joint]).sum() + functional.softplus(score[n_joint:]).sum()) / n_joint
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
