from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from mibias_cli.evaluation.probes.network import DECAY, Mlp, MlpRegression


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_gradient_is_torchs(n_classes: int) -> None:
    g = np.random.default_rng(0)
    x, c = g.normal(size=(200, 5)), g.integers(0, n_classes, 200)
    network = Mlp(x, c, n_extra=0, seed=0)
    layers = [
        torch.tensor(part.copy(), requires_grad=True) for part in (network._w, network._b, network._v, network._a)
    ]
    w, b, v, a = layers
    batch, targets = network._batches[0]
    scores = torch.relu(torch.tensor(batch) @ w + b) @ v + a
    if n_classes == 2:
        scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
    labels = torch.tensor(targets[:, 0].astype(int) if n_classes == 2 else targets.argmax(axis=1))
    loss = torch.nn.functional.cross_entropy(scores, labels)
    (loss + DECAY / (2 * len(batch)) * (w.square().sum() + v.square().sum())).backward()
    network._step(batch, targets)
    for ours, theirs in zip(network._slopes, layers, strict=True):
        assert np.allclose(ours, theirs.grad, atol=1e-6)


def test_steps_are_torchs_until_gradients_shrink() -> None:
    g = np.random.default_rng(1)
    network = MlpRegression(g.normal(size=(64, 3)), g.normal(size=64), n_extra=0, seed=0)
    weights = torch.tensor(network._weights.copy(), requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=MlpRegression.rate)
    largest = torch.zeros_like(weights)
    for _ in range(20):
        network._step(*network._batches[0])
        weights.grad = torch.tensor(network._gradient.copy())
        before = weights.detach().clone()
        optimizer.step()
        # torch's step with its mean square replaced by the largest one so far
        square = optimizer.state[weights]["exp_avg_sq"] / (1 - 0.999 ** optimizer.state[weights]["step"])
        largest = torch.maximum(largest, square)
        with torch.no_grad():
            weights.copy_(before + (weights - before) * (square.sqrt() + 1e-8) / (largest.sqrt() + 1e-8))
    assert bool((largest > 1.5 * square).any())
    assert np.allclose(network._weights, weights.detach(), atol=1e-5)


def test_training_on_does_not_throw_away_what_was_learned() -> None:
    g = np.random.default_rng(0)
    c = g.integers(0, 4, 1100)
    x = 0.12 * g.normal(size=(4, 1000))[c] + g.normal(size=(1100, 1000))
    network = Mlp(x[:560], c[:560], n_extra=0, seed=0)
    losses = []
    for rung in range(1, len(Mlp.settings)):
        network.fit_to(rung)
        losses.append(log_loss(c[560:], np.exp(network.answer(x[560:]))))
    # by up to .1 for plain Adam
    assert np.diff(losses).max() < 0.01


def test_an_epoch_sees_every_row_once_with_its_own_target() -> None:
    x = np.arange(100.0)[:, None]
    network = MlpRegression(x, 2 * x[:, 0], n_extra=0, seed=0)
    rows, targets = (np.concatenate(parts) for parts in zip(*network._batches, strict=True))
    assert np.sort(rows[:, 0]).tolist() == x[:, 0].tolist()
    assert np.array_equal(targets, 2 * rows)


def test_it_learns_an_xor_as_scikit_learns_does() -> None:
    g = np.random.default_rng(2)
    x = g.normal(size=(1500, 4))
    c = (x[:, 0] * x[:, 1] > 0).astype(int)
    ours = Mlp(x[:500], c[:500], n_extra=0, seed=0)
    ours.fit_to(8)
    theirs = MLPClassifier((64,), batch_size=32, alpha=1.0, learning_rate_init=0.005, max_iter=34, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(x[:500], c[:500])
    losses = [log_loss(c[500:], p) for p in (np.exp(ours.answer(x[500:])), theirs.predict_proba(x[500:]))]
    assert losses[1] < 0.4
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
