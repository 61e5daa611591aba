"""A small network as a probe: one hidden layer, trained by AMSGrad (arXiv 1904.09237) in single precision.

At this size a general library spends most of its time on its own checks; a step here is a dozen calls of numpy.
"""

from __future__ import annotations

import numpy as np

from mibias_cli.evaluation.probes.learners import Classifier, Learner
from mibias_cli.evaluation.probes.links import Link, class_log_probabilities, class_targets, identity, softmax

__all__ = ["Mlp", "MlpRegression"]

N_HIDDEN = 64
DECAY = 1.0  # of the weights, in a batch of one
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class _Network(Learner):
    """ReLUs and an affine output; rungs are stretches of training, so that climbing stops early.

    Where all rows are learned, gradients are next to nothing, and plain Adam divides by their size: its steps then grow
    and throw the weights about. Steps here are by the largest mean square that there has been, and only shrink.
    """

    wording = "about {} steps"
    settings: tuple[int, ...]  # each as many steps after the one before as the first
    rate: float

    def __init__(self, x: np.ndarray, targets: np.ndarray, *, link: Link, seed: int) -> None:
        self._link = link
        generator = np.random.default_rng([seed, 12])
        batch = min(128 if len(x) >= 1500 else 32, len(x))
        # one random order for all epochs: with a new one in each, probes of few rows were fitted worse
        order = generator.permutation(len(x))
        x, targets = x[order].astype(np.float32), targets[order].astype(np.float32)
        self._batches = [(x[i : i + batch], targets[i : i + batch]) for i in range(0, len(x), batch)]
        self._epochs = max(1, round(self.settings[0] * batch / len(x)))
        self._rung, self._n_steps = -1, 0
        # one vector holds all weights, so that a step is a few calls for all of them
        sizes = x.shape[1], N_HIDDEN, targets.shape[1]
        shapes = [sizes[:2], (N_HIDDEN,), sizes[1:], sizes[2:]]
        n_weights = sum(int(np.prod(shape)) for shape in shapes)
        vectors = np.zeros((7, n_weights), np.float32)
        self._weights, self._gradient, self._decay, self._mean, self._square, self._largest, self._room = vectors
        self._w, self._b, self._v, self._a = _views(self._weights, shapes)
        self._slopes = _views(self._gradient, shapes)
        # Glorot and Bengio's bounds; biases do not decay
        for pair, (n_in, n_out) in (((self._w, self._b), sizes[:2]), ((self._v, self._a), sizes[1:])):
            bound = np.sqrt(6 / (n_in + n_out))
            for part in pair:
                part[...] = generator.uniform(-bound, bound, part.shape)
        self._largest += EPSILON**2
        for part in _views(self._decay, shapes)[::2]:
            part[...] = DECAY / batch

    def fit_to(self, rung: int) -> None:
        for _ in range((rung - self._rung) * self._epochs):
            for x, targets in self._batches:
                self._step(x, targets)
        self._rung = rung

    def _step(self, x: np.ndarray, targets: np.ndarray) -> None:
        hidden = x @ self._w
        hidden += self._b
        np.maximum(hidden, 0, out=hidden)
        slope = self._link(hidden @ self._v + self._a) - targets
        slope /= len(x)
        back = slope @ self._v.T
        back *= hidden > 0
        # gradients of both layers, written where Adam reads them
        np.matmul(x.T, back, out=self._slopes[0])
        back.sum(axis=0, out=self._slopes[1])
        np.matmul(hidden.T, slope, out=self._slopes[2])
        slope.sum(axis=0, out=self._slopes[3])
        # every array of the step has its place: at this size new ones would cost as much as the sums
        gradient, room = self._gradient, self._room
        gradient += np.multiply(self._decay, self._weights, out=room)
        self._n_steps += 1
        # sums in place of means: what they lack to be means is in the rate, and in what the squares are divided by
        self._mean *= BETA_1
        self._mean += gradient
        np.multiply(gradient, gradient, out=room)
        self._square *= BETA_2
        self._square += room
        # means without the zeros that they began at; torch's AMSGrad corrects the largest one, and steps grow for long
        np.multiply(self._square, np.float32((1 - BETA_2) / (1 - BETA_2**self._n_steps)), out=room)
        np.maximum(self._largest, room, out=self._largest)
        np.sqrt(self._largest, out=room)
        np.divide(self._mean, room, out=room)
        room *= np.float32(self.rate * (1 - BETA_1) / (1 - BETA_1**self._n_steps))
        self._weights -= room

    def _output(self, x: np.ndarray) -> np.ndarray:
        """What leaves the last layer, in double precision."""
        hidden = np.maximum(x.astype(np.float32) @ self._w + self._b, 0)
        return np.asarray(hidden @ self._v + self._a, dtype=np.float64)


def _views(vector: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Parts of a vector, one after the other, in these shapes."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]


class Mlp(_Network, Classifier):
    """The small network with a softmax."""

    settings = tuple(range(30, 390, 30))
    rate = 0.01

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        self.classes_, targets = class_targets(c)
        super().__init__(x, targets, link=softmax, seed=seed)

    def answer(self, x: np.ndarray) -> np.ndarray:
        return class_log_probabilities(self._output(x))


class MlpRegression(_Network):
    """The small network trained by squared error, which larger steps fit worse."""

    settings = tuple(range(60, 900, 60))
    rate = 0.005

    def __init__(self, x: np.ndarray, c: np.ndarray, *, n_extra: int, seed: int) -> None:
        super().__init__(x, c[:, None], link=identity, seed=seed)

    def answer(self, x: np.ndarray) -> np.ndarray:
        return self._output(x)[:, 0]
