"""How far a fitted probe is trusted: its sharpness and the share of the baseline, tuned on held-out rows.

The baseline is what is known of the attribute without features: the frequencies of classes, or N(0, 1) for a number
that was mapped to normal scores of its ranks (`normal_scores.py`). Mixing some of it in keeps log q finite.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

__all__ = ["Calibration", "calibrate", "calibrate_density", "standard_normal_log_density"]

TEMPERATURES = np.geomspace(0.5, 8.0, 9)
WIDTHS = np.geomspace(0.7, 2.0, 9)  # times the held-out residuals' root mean square
# never 0: no class may get probability 0; never 1: a probe that says nothing would get an interval of no width
MIXES = np.array([0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9])


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The sharpness and share of the baseline (`mix`) of a probe, and the gain over the baseline that chose them.

    `scale` is the temperature of a classifier's probabilities, or the width of the density around a predicted number.
    `gain_bits` is the mean gain on held-out rows, `cautious_gain_bits` that less one standard error, by which
    calibrations are compared.
    """

    scale: float
    mix: float
    gain_bits: float
    cautious_gain_bits: float

    def log_probabilities(self, raw: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        """log q (n, K) in nats: raw log-probabilities tempered, then mixed with the baseline's."""
        return np.logaddexp(np.log1p(-self.mix) + _tempered(raw, self.scale), np.log(self.mix) + baseline)

    def log_density(self, predicted: np.ndarray, c: np.ndarray) -> np.ndarray:
        """log q(c | prediction) in nats; arrays broadcast, so (n, 1) against (n', ) gives all pairs."""
        around = standard_normal_log_density((c - predicted) / self.scale) - np.log(self.scale)
        return np.asarray(np.logaddexp(np.log1p(-self.mix) + around, np.log(self.mix) + standard_normal_log_density(c)))


def standard_normal_log_density(c: np.ndarray) -> np.ndarray:
    """log N(c; 0, 1) in nats: what is known of normal scores without features."""
    return np.asarray(-0.5 * c**2 - 0.5 * np.log(2 * np.pi))


def _tempered(raw: np.ndarray, temperature: float) -> np.ndarray:
    scaled = raw / temperature
    return np.asarray(scaled - logsumexp(scaled, axis=1, keepdims=True))


def _most_cautious(candidates: Iterable[tuple[float, np.ndarray]]) -> Calibration:
    """The best of all scales and mixes, from each scale's ratio (n,) of the probe's q to the baseline's."""
    found = []
    for scale, ratio in candidates:
        # log2 of ((1 − mix) q + mix · baseline) / baseline, for every mix at once
        gains = np.log2(np.outer(1 - MIXES, ratio) + MIXES[:, None])
        mean = gains.mean(axis=1)
        # less one standard error: on features that hold nothing the largest gain would be noise taken for a gain, and
        # the probe would lose as much again on the scored rows
        cautious = mean - gains.std(axis=1) / np.sqrt(len(ratio))
        k = int(cautious.argmax())
        found.append((float(cautious[k]), float(mean[k]), float(scale), float(MIXES[k])))
    cautious_gain, gain, scale, mix = max(found, key=lambda entry: entry[0])
    return Calibration(scale=scale, mix=mix, gain_bits=gain, cautious_gain_bits=cautious_gain)


def calibrate(raw: np.ndarray, c: np.ndarray, baseline: np.ndarray) -> Calibration:
    """The temperature and share of the baseline that gain most on these rows over the baseline alone.

    An over-confident probe has a large cross-entropy, so that H(c) less it would hide what the features leak. Raw and
    baseline are log-probabilities (n, n_classes), raw ones may be −inf; c (n,).
    """
    rows = np.arange(len(c))
    p_baseline = np.exp(baseline[rows, c])
    return _most_cautious((t, np.exp(_tempered(raw, float(t))[rows, c]) / p_baseline) for t in TEMPERATURES)


def calibrate_density(predicted: np.ndarray, c: np.ndarray) -> Calibration:
    """The width and share of N(0, 1) that gain most over N(0, 1) alone on rows (n,) that were not fitted.

    Example:
        >>> g = np.random.default_rng(0)
        >>> predicted = 0.8 * g.normal(size=20_000)
        >>> found = calibrate_density(predicted, predicted + 0.6 * g.normal(size=20_000))
        >>> round(found.scale, 1), round(found.gain_bits * 0.693, 1)  # truth: −½ log(1 − 0.64) = 0.51
        (0.6, 0.5)
    """
    spread = max(float(np.sqrt(np.mean((c - predicted) ** 2))), 1e-6)
    baseline = standard_normal_log_density(c)
    return _most_cautious(
        (width, np.exp(standard_normal_log_density((c - predicted) / width) - np.log(width) - baseline))
        for width in spread * WIDTHS
    )
