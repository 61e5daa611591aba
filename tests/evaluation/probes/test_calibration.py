from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from mibias_cli.evaluation.probes.calibration import calibrate, calibrate_density, standard_normal_log_density


def test_calibration_undoes_overconfidence() -> None:
    g = np.random.default_rng(1)
    logits = g.normal(size=(20000, 3))
    p = np.exp(log_softmax(logits, axis=1))
    c = (p.cumsum(axis=1) < g.random((20000, 1))).sum(axis=1)
    baseline = np.full((20000, 3), -np.log(3))
    truth = -log_softmax(logits, axis=1)[np.arange(20000), c].mean() / np.log(2)
    found = calibrate(log_softmax(4 * logits, axis=1), c, baseline)
    assert found.scale == pytest.approx(4.0, rel=0.01)
    assert found.mix <= 0.01
    assert np.log2(3) - found.gain_bits == pytest.approx(truth, abs=0.002)


def test_calibration_falls_back_on_the_baseline_where_the_probe_is_wrong() -> None:
    g = np.random.default_rng(2)
    c = g.integers(0, 2, 2000)
    raw = log_softmax(8 * g.normal(size=(2000, 2)), axis=1)  # sure of itself and unrelated
    found = calibrate(raw, c, np.full((2000, 2), -np.log(2)))
    assert found.mix == 0.9
    assert -0.01 < found.gain_bits < 0.01  # uncalibrated it would lose some 4 bits


def test_the_density_is_one() -> None:
    found = calibrate_density(np.full(100, 0.5), np.linspace(-1, 2, 100))
    grid = np.linspace(-12, 12, 48_001)
    assert np.exp(found.log_density(np.array(0.5), grid)).sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-6)


def test_predictions_that_are_wrong_fall_back_on_the_normal() -> None:
    g = np.random.default_rng(6)
    found = calibrate_density(3 * g.normal(size=2000), g.normal(size=2000))
    assert found.mix == 0.9
    assert -0.1 < found.gain_bits < 0.02  # a width of 1 around these predictions would lose some 6 bits


def test_standard_normal_log_density() -> None:
    assert standard_normal_log_density(np.array([0.0])) == pytest.approx(-0.918938533)
