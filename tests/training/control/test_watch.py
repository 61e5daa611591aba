from __future__ import annotations

import torch
from known_mi import make_spec

from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.estimators.protocol import Sample
from mibias_cli.training.control.watch import CriticWatch


def leaking(n: int, seed: int) -> Sample:
    g = torch.Generator().manual_seed(seed)
    c = torch.randint(2, (n, 1), generator=g)
    z = torch.randn(n, 6, generator=g)
    z[:, 0] += 2.0 * c[:, 0]
    return Sample(z=z, c=c, y=None, weight=None, known=torch.ones(n, dtype=torch.bool))


def bound(steps: int, rate: float) -> ClassifierBound:
    torch.manual_seed(0)
    return ClassifierBound(make_spec(n_features=6, n_classes=(2,), hidden=(), steps=steps, learning_rate=rate))


def looked(critic: ClassifierBound, looks: int) -> CriticWatch:
    watch = CriticWatch({"sex": lambda: bound(100, 1e-2)}, steps=critic.steps)
    generator = torch.Generator().manual_seed(0)
    for k in range(looks):
        watch.look("sex", critic, leaking(1000, 2 * k), leaking(500, 2 * k + 1), 50 * k, generator)
    return watch


def test_a_critic_that_lags_gets_more_steps_within_bounds_and_one_that_leads_gives_them_back() -> None:
    critic = bound(4, 1e-3)  # never fitted: the linear fit is ahead by about .35 nats
    watch = looked(critic, 2)
    assert critic.steps == 9  # 4, 6, 9
    assert watch.metrics("sex")["sex/critic_lag_nats"] > 0.2
    looked_long = looked(critic := bound(4, 1e-3), 8)
    assert critic.steps == 16
    critic.steps = 4000
    critic.learning_rate = 1e-2
    restored = CriticWatch({"sex": lambda: bound(1, 0.0)}, steps=4)  # it learns nothing: the critic leads
    restored.load_state_dict(looked_long.state_dict(), {"sex": critic})
    assert critic.steps == 16
    for k in range(1, 30):
        critic.fit(leaking(1000, 7), torch.Generator())
        restored.look("sex", critic, leaking(1000, 7), leaking(500, 8), 50 * k, torch.Generator())
    assert critic.steps == 4


def test_only_every_fiftieth_step_is_looked_at() -> None:
    critic = bound(4, 1e-3)
    watch = CriticWatch({"sex": lambda: bound(100, 1e-2)}, steps=4)
    watch.look("sex", critic, leaking(100, 0), leaking(100, 1), 49, torch.Generator())
    assert watch.metrics("sex") == {}
