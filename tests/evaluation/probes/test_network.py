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


def test_a_step_of_adam_is_torchs() -> None:
    g = np.random.default_rng(1)
    network = MlpRegression(g.normal(size=(64, 3)), g.normal(size=64), n_extra=0, seed=0)
    weights = torch.tensor(network._weights.copy(), requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=0.005)
    for _ in range(5):
        network._step(*network._batches[0])
        weights.grad = torch.tensor(network._gradient.copy())
        optimizer.step()
    # torch divides by the root of what is corrected for the start, plus ε; this, as scikit-learn, corrects the whole
    assert np.allclose(network._weights, weights.detach(), atol=2e-4)


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
