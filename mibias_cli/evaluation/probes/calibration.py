"""How far a fitted probe is trusted: its sharpness and the share of the baseline, tuned on held-out rows.

The baseline is what is known of the attribute without features: the frequencies of classes, or N(0, 1) for a number
that was mapped to normal scores of its ranks (`normal_scores.py`). Mixing some of it in keeps log q finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

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

    def density_gains(self, predicted: np.ndarray, c: np.ndarray) -> np.ndarray:
        """log q(c | prediction) − log N(c; 0, 1) in nats, broadcast."""
        return self.log_density(predicted, c) - standard_normal_log_density(c)


def standard_normal_log_density(c: np.ndarray) -> np.ndarray:
    """log N(c; 0, 1) in nats: what is known of normal scores without features."""
    return np.asarray(-0.5 * c**2 - 0.5 * np.log(2 * np.pi))


def _tempered(raw: np.ndarray, temperature: float) -> np.ndarray:
    scaled = raw / temperature
    return np.asarray(scaled - scipy.special.logsumexp(scaled, axis=1, keepdims=True))


def _most_cautious(scales: np.ndarray, ratios: np.ndarray) -> Calibration:
    """The best of all scales (s,) and mixes, from each scale's ratios (s, n) of the probe's q to the baseline's."""
    # log2 of ((1 − mix) q + mix · baseline) / baseline, for every scale and mix at once
    gains = np.log2(ratios[:, None] * (1 - MIXES[:, None]) + MIXES[:, None])
    mean = gains.mean(axis=2)
    # less one standard error: on features that hold nothing the largest gain would be noise taken for a gain, and
    # the probe would lose as much again on the scored rows
    cautious = mean - gains.std(axis=2) / np.sqrt(ratios.shape[1])
    s, k = np.unravel_index(int(cautious.argmax()), cautious.shape)
    return Calibration(
        scale=float(scales[s]), mix=float(MIXES[k]), gain_bits=float(mean[s, k]),
        cautious_gain_bits=float(cautious[s, k]),
    )  # fmt: skip


def calibrate(raw: np.ndarray, c: np.ndarray, baseline: np.ndarray) -> Calibration:
    """The temperature and share of the baseline that gain most on these rows over the baseline alone.

    An over-confident probe has a large cross-entropy, so that H(c) less it would hide what the features leak. Raw and
    baseline are log-probabilities (n, n_classes), raw ones may be −inf; c (n,).
    """
    rows = np.arange(len(c))
    # log q of each row's own class, at every temperature at once
    centred = raw - raw.max(axis=1, keepdims=True)
    total = np.exp(centred / TEMPERATURES[:, None, None]).sum(axis=2)
    ratios = np.exp(centred[rows, c] / TEMPERATURES[:, None] - baseline[rows, c]) / total
    return _most_cautious(TEMPERATURES, ratios)


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
    widths = spread * WIDTHS
    around = standard_normal_log_density((c - predicted) / widths[:, None])
    return _most_cautious(widths, np.exp(around - np.log(widths)[:, None] - baseline))
