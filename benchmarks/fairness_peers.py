"""The peers of the fairness benchmark: each takes the same encoded columns and gives predictions and what is probed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

from mibias_cli.estimators.protocol import Sample
from mibias_cli.methods.erasers.linear_eraser import fit_leace

__all__ = ["PEERS", "Encoded", "Predictions"]

Array = NDArray[np.float32]
Labels = NDArray[np.int64]
MAX_ITERATIONS = 500
LEAST_STEPS = 300
"""Of the adversarial peer: on a few hundred rows twenty epochs teach nothing."""
REGULARISATION = 0.3
"""Inverse strength in logistic regression: ramps overlap, so that a little more than the default is wanted."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Inputs, targets and bias attribute of training and test rows; everything is a class index but x."""

    x: Array
    y: Labels
    c: Labels
    test_x: Array


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predicted classes of the test rows, and the features (n, d) in which probes look for the bias."""

    predicted: Labels
    features: Array


def logistic(data: Encoded, setting: str, seed: int) -> Predictions:
    """Plain logistic regression; its representation is its input."""
    model = LogisticRegression(C=REGULARISATION, max_iter=MAX_ITERATIONS).fit(data.x, data.y)
    return Predictions(predicted=model.predict(data.test_x), features=data.test_x)


def gradient_boosting(data: Encoded, setting: str, seed: int) -> Predictions:
    """Boosted trees; their representation is their input."""
    model = HistGradientBoostingClassifier(random_state=seed).fit(data.x, data.y)
    return Predictions(predicted=model.predict(data.test_x), features=data.test_x)


def leace_logistic(data: Encoded, setting: str, seed: int) -> Predictions:
    """Logistic regression on what LEACE leaves of the input, which is also what is probed."""
    z = torch.from_numpy(data.x).double()
    known = torch.ones(len(z), dtype=torch.bool)
    sample = Sample(z=z, c=torch.from_numpy(data.c)[:, None], y=None, weight=None, known=known)
    erase = fit_leace(sample, (int(data.c.max()) + 1,))
    x, test_x = erase(z).numpy(), erase(torch.from_numpy(data.test_x).double()).numpy()
    model = LogisticRegression(C=REGULARISATION, max_iter=MAX_ITERATIONS).fit(x, data.y)
    return Predictions(predicted=model.predict(test_x), features=test_x.astype(np.float32))


def exponentiated_gradient(data: Encoded, setting: str, seed: int) -> Predictions:
    """Fairlearn's reduction of demographic parity to weighted logistic regressions; the setting is the allowed gap.

    Its predictions are drawn at random among its regressions; each reads the input, which is what is probed.
    """
    from fairlearn.reductions import DemographicParity, ExponentiatedGradient

    model = ExponentiatedGradient(
        LogisticRegression(C=REGULARISATION, max_iter=MAX_ITERATIONS), DemographicParity(), eps=float(setting)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it and pandas warn each other of changes to come
        model.fit(data.x, data.y, sensitive_features=data.c)
        predicted = model.predict(data.test_x, random_state=seed)
    return Predictions(predicted=np.asarray(predicted).astype(np.int64), features=data.test_x)


def fairlearn_adversarial(data: Encoded, setting: str, seed: int) -> Predictions:
    """Fairlearn's adversarial classifier with the network of its guide; the setting is α.

    Probed is the layer before the output, as in our method. As Fairlearn's guide does, α is reached from 0 over the
    first half of training and the learning rate falls: without either, training swings. With our network of two hidden
    layers its task loss climbed from the first step in three of five seeds and it predicted one class (Fairlearn 0.15
    projects by the sum of `torch.inner` of two matrices, which is not their inner product).
    """
    from fairlearn.adversarial import AdversarialFairnessClassifier

    torch.manual_seed(seed)
    batch_size = 1024 if len(data.x) > 8 * 1024 else 128
    per_epoch = max(1, len(data.x) // batch_size)
    n_epochs = max(20, -(-LEAST_STEPS // per_epoch))
    predictor = nn.Sequential(nn.Linear(data.x.shape[1], 50), nn.LeakyReLU(), nn.Linear(50, 1), nn.Sigmoid())
    adversary = nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(), nn.Linear(32, 1), nn.Sigmoid())
    n_steps = n_epochs * per_epoch

    def anneal(mitigator: AdversarialFairnessClassifier, step: int, **others: object) -> None:
        mitigator.alpha = float(setting) * min(1.0, 2 * step / n_steps)
        engine = mitigator.backendEngine_
        for optimizer in (engine.predictor_optimizer, engine.adversary_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * max(0.05, 1 - step / n_steps)

    model = AdversarialFairnessClassifier(
        backend="torch", predictor_model=predictor, adversary_model=adversary, alpha=0.0, learning_rate=2e-3,
        epochs=n_epochs, batch_size=batch_size, shuffle=True, callbacks=anneal, random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it and pandas warn each other of changes to come
        model.fit(data.x, data.y, sensitive_features=data.c)
        predicted = np.asarray(model.predict(data.test_x)).reshape(-1).astype(np.int64)
    with torch.no_grad():
        features = predictor[:2].cpu().eval()(torch.from_numpy(data.test_x)).numpy()
    return Predictions(predicted=predicted, features=features)


PEERS: dict[str, tuple[Callable[[Encoded, str, int], Predictions], tuple[str, ...]]] = {
    "logistic": (logistic, ("default",)),
    "gradient_boosting": (gradient_boosting, ("default",)),
    "leace_logistic": (leace_logistic, ("default",)),
    "exponentiated_gradient": (exponentiated_gradient, ("0.005", "0.01", "0.05")),
    "fairlearn_adversarial": (fairlearn_adversarial, ("0.1", "0.3", "1", "3", "10")),
}
"""By name: the peer, and the settings that draw its frontier."""
