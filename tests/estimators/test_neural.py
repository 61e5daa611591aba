from __future__ import annotations

import pytest
import torch
from known_mi import Chain, Gaussian, TwoShifts, make_spec, to_sample

from mibias_cli.estimators import mine, neural
from mibias_cli.estimators.critics import DualCritic, SeparableCritic, StatisticsNetwork
from mibias_cli.estimators.measures import bounds

NAMES = ("dv", "nwj", "js", "infonce", "smile", "flo")
OPTIONS = {"hidden": (32, 32), "batch_size": 96, "steps": 200, "learning_rate": 6e-3}
EDGES = ((0.0,),)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _value(name: str, source: object, *, weighted: bool = False, **options: object) -> float:
    """The bound on 4,000 held-out rows."""
    torch.manual_seed(0)
    make = mine.Mine if name == "mine" else getattr(neural, name)
    estimator = make(make_spec(**{"n_features": 2, "n_classes": (2,)} | OPTIONS | options))
    estimator.fit(to_sample(source.draw(10_000, seed=0), weighted=weighted), _generator())
    return float(estimator.estimate(to_sample(source.draw(4_000, seed=1), weighted=weighted), _generator(1)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("architecture", ["concatenated", "separable"])
def test_on_gaussians(name: str, architecture: str) -> None:
    """4,000 held-out rows: the largest standard error, NWJ's, is .017; a value that is a nat off fails by far."""
    source = Gaussian(rho=0.6)
    options = {"n_features": 1, "bin_edges": EDGES, "architecture": architecture}
    # all pairs of a concatenated critic cost more: smaller batches do
    options |= {"batch_size": 64, "hidden": (24,)} if architecture == "concatenated" else {}
    assert _value(name, source, **options) == pytest.approx(source.nats, abs=0.07)


@pytest.mark.parametrize("name", [*NAMES, "mine"])
def test_given_the_target_it_is_the_conditional_information(name: str) -> None:
    given = {"given_target": True, "n_targets": 2}
    apart, through = TwoShifts(agreement=0.7), Chain(agreement=0.9, shift=3.0, d=2)
    assert _value(name, apart, **given) == pytest.approx(apart.conditional_nats, abs=0.05)
    assert _value(name, through, **given) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("name", [*NAMES, "mine"])
def test_under_weights_it_is_that_of_the_weighted_distribution(name: str) -> None:
    source = Chain(agreement=0.9, shift=3.0, d=2)
    assert _value(name, source) == pytest.approx(source.nats, abs=0.05)
    assert _value(name, source, weighted=True) == pytest.approx(0, abs=0.04)
    given = {"given_target": True, "n_targets": 2, "weighted": True}
    apart = TwoShifts(agreement=0.7)
    assert _value(name, apart, **given) == pytest.approx(apart.weighted_conditional_nats, abs=0.06)


@pytest.mark.parametrize(
    "critic", [StatisticsNetwork(3, 4, [5, 6]), StatisticsNetwork(3, 4, []), SeparableCritic(3, 4, [5])]
)
def test_a_score_matrix_holds_the_scores_of_all_pairs(critic: StatisticsNetwork | SeparableCritic) -> None:
    g = _generator()
    z, c = torch.randn(6, 3, generator=g), torch.eye(4)[torch.tensor([0, 1, 1, 3, 0, 0])]
    scores = neural.score_matrix(critic, z, c)
    for i in range(6):
        for j in range(6):
            assert scores[i, j].item() == pytest.approx(critic(z[i : i + 1], c[j : j + 1]).item(), abs=1e-5)


def test_the_penalty_is_the_bound_of_the_score_matrix() -> None:
    torch.manual_seed(0)
    sample = to_sample(TwoShifts(agreement=0.7).draw(40, seed=0), torch.float64, weighted=True)
    for name in ("dv", "infonce"):
        estimator = getattr(neural, name)(make_spec(n_features=2, n_classes=(2,)))
        estimator.to(torch.device("cpu"), torch.float64)
        c = torch.nn.functional.one_hot(sample.c[:, 0], 2).double()
        with torch.no_grad():
            expected = getattr(bounds, name)(neural.score_matrix(estimator.critic, sample.z, c), weight=sample.weight)
        assert estimator.penalty(sample, _generator()).item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_critic_of_two_parts_scores_with_the_first() -> None:
    critic = DualCritic(SeparableCritic(2, 3, [4]), StatisticsNetwork(2, 3, [4]))
    z, c = torch.randn(5, 2, generator=_generator()), torch.eye(3)
    assert torch.equal(critic.matrix(z, c), critic.critic.matrix(z, c))
