"""LEACE's theorems, on the samples that it was fitted on and on others."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from known_mi import Known, MeanShift, TwoShifts, VarianceCoded, to_sample
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss

from mibias_cli.errors import TrainingError
from mibias_cli.estimators.critics import encode_attribute
from mibias_cli.estimators.protocol import Sample
from mibias_cli.methods.erasers import linear_eraser as erasure
from mibias_cli.methods.erasers.linear_eraser import LeaceFit, concept_columns, fit_leace

SOURCE = MeanShift(means=[-2.0, 0.0, 1.0, 4.0], d=6, p=[0.4, 0.3, 0.2, 0.1])


def gain(z: np.ndarray, c: np.ndarray, z_held: np.ndarray, c_held: np.ndarray, w: np.ndarray | None = None) -> float:
    """H(c) of the fitting samples' frequencies less the cross-entropy of a logistic probe, in nats."""
    probe = LogisticRegression(C=1e6, max_iter=2_000).fit(z, c, sample_weight=w)
    p = np.array([np.average(c == k, weights=w) for k in probe.classes_])
    guess = np.tile(p, (len(c_held), 1))
    weights = w if c_held is c else None
    return float(log_loss(c_held, guess, sample_weight=weights)) - float(
        log_loss(c_held, probe.predict_proba(z_held), sample_weight=weights)
    )


def test_a_logistic_probe_succeeds_before_and_gains_nothing_after() -> None:
    sample = to_sample(SOURCE.draw(4_000, seed=0), torch.float64)
    eraser = fit_leace(sample, (4,))
    z, c = sample.z.numpy(), sample.c[:, 0].numpy()
    erased = eraser(sample.z).numpy()
    assert gain(z, c, z, c) > 0.4
    assert gain(erased, c, erased, c) < 1e-3
    held_out = to_sample(SOURCE.draw(4_000, seed=1), torch.float64)
    # the gain of a probe on nothing is about −(parameters) / 2n = −.0022; its standard error is below .002
    left = gain(erased, c, eraser(held_out.z).numpy(), held_out.c[:, 0].numpy())
    assert left == pytest.approx(0, abs=0.008)


def test_class_means_agree_after_and_the_map_is_idempotent_and_keeps_the_mean() -> None:
    sample = to_sample(SOURCE.draw(500, seed=0), torch.float64)
    eraser = fit_leace(sample, (4,))
    erased = eraser(sample.z)
    for k in range(4):
        torch.testing.assert_close(erased[sample.c[:, 0] == k].mean(dim=0), erased.mean(dim=0), rtol=0, atol=1e-10)
    torch.testing.assert_close(eraser(erased), erased, rtol=0, atol=1e-10)
    torch.testing.assert_close(erased.mean(dim=0), sample.z.mean(dim=0), rtol=0, atol=1e-10)
    assert torch.linalg.matrix_rank(eraser.weight, atol=1e-8) == 3  # 6 dimensions less 3 contrasts of 4 classes


def test_it_is_the_librarys_eraser() -> None:
    sample = to_sample(SOURCE.draw(500, seed=0), torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from concept_erasure import LeaceFitter
    one_hot = torch.nn.functional.one_hot(sample.c[:, 0], 4).double()
    options = {"shrinkage": False, "constrain_cov_trace": False, "svd_tol": 1e-8}
    reference = LeaceFitter.fit(sample.z, one_hot, **options).eraser
    torch.testing.assert_close(fit_leace(sample, (4,))(sample.z), reference(sample.z), rtol=0, atol=1e-9)


def test_equal_weights_are_no_weights_and_whole_weights_repeat_rows() -> None:
    sample = to_sample(SOURCE.draw(300, seed=0), torch.float64)
    plain = fit_leace(sample, (4,))
    equal = fit_leace(replace(sample, weight=torch.full((300,), 3.0)), (4,))
    torch.testing.assert_close(plain.weight, equal.weight, rtol=0, atol=1e-9)
    torch.testing.assert_close(plain.bias, equal.bias, rtol=0, atol=1e-9)
    twice = torch.arange(300) % 3 == 0
    repeated = sample.take(torch.cat([torch.arange(300), twice.nonzero().flatten()]))
    weighted = fit_leace(replace(sample, weight=1.0 + twice.double()), (4,))
    torch.testing.assert_close(weighted.weight, fit_leace(repeated, (4,)).weight, rtol=0, atol=1e-9)


def test_batches_of_any_size_give_the_same_eraser_and_missing_rows_do_not_matter() -> None:
    sample = to_sample(SOURCE.draw(600, seed=0), torch.float64)
    one_hot, known = encode_attribute(sample.c, (4,)), torch.arange(600) % 3 > 0
    erasers = []
    for size in (600, 70):
        # what stands in a missing row plays no part
        concept = torch.where(known[:, None], one_hot, torch.nan)
        columns, fit = concept_columns({"c": concept}, {"c": known}), LeaceFit(6, 4)
        for rows in torch.arange(600).split(size):
            fit.add(sample.z[rows], columns[rows])
        erasers.append(fit.eraser(torch.float64))
    torch.testing.assert_close(erasers[0].weight, erasers[1].weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(erasers[0].bias, erasers[1].bias, rtol=0, atol=1e-12)
    # exact on the rows that know c: their classes have no means of their own left
    erased, c = erasers[0](sample.z)[known], sample.c[known, 0]
    for k in range(4):
        torch.testing.assert_close(erased[c == k].mean(dim=0), erased.mean(dim=0), rtol=0, atol=1e-10)


def test_a_column_that_does_not_vary_erases_nothing() -> None:
    constant = torch.full((7, 1), 0.1)
    known = torch.arange(7) < 5
    assert concept_columns({"c": constant}, {"c": known}).abs().max() == 0


def test_under_balancing_weights_the_target_stays() -> None:
    source = TwoShifts(agreement=0.9, target_shift=3.0, d=4)
    drawn = source.draw(4_000, seed=0)
    assert drawn.y is not None
    sample, weighted = to_sample(drawn, torch.float64), to_sample(drawn, torch.float64, weighted=True)
    y, kept = drawn.y, {}
    for name, one in (("plain", sample), ("weighted", weighted)):
        erased = fit_leace(one, (2,))(sample.z).numpy()
        kept[name] = LogisticRegression().fit(erased, y).score(erased, y)
    # where c tells y, erasing c erases what agrees of y, unless weights make the two independent: Φ(1.5) = .933
    assert kept["plain"] < 0.75
    assert kept["weighted"] > 0.92


def test_values_lose_their_linear_trace_and_missing_rows_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    c = 40 + 10 * rng.standard_normal((600, 2))
    z = rng.standard_normal((600, 5)) + np.concatenate([0.1 * c, 0.05 * c[:, :1], c * 0], axis=1)
    sample = to_sample(Known(z=z, c=c), torch.float64)
    eraser = fit_leace(sample, None)
    assert LinearRegression().fit(z, c).score(z, c) > 0.2
    assert LinearRegression().fit(eraser(sample.z), c).score(eraser(sample.z), c) < 1e-9
    holes = Sample(
        z=torch.cat([sample.z, 100 * torch.ones(5, 5)]), c=torch.cat([sample.c, torch.full((5, 2), torch.nan)]),
        y=None, weight=None, known=torch.arange(605) < 600,
    )  # fmt: skip
    assert torch.equal(fit_leace(holes, None).weight, eraser.weight)


def test_what_is_not_linear_stays() -> None:
    """The reason why a gradient-boosted probe is reported beside it."""
    source = VarianceCoded(scales=[1.0, 2.0], d=4)
    sample = to_sample(source.draw(4_000, seed=0), torch.float64)
    erased, c = fit_leace(sample, (2,))(sample.z).numpy(), sample.c[:, 0].numpy()
    probe = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(erased[:2_000], c[:2_000])
    assert math.log(2) - log_loss(c[2_000:], probe.predict_proba(erased[2_000:])) > 0.15


def test_collinear_and_dead_features_are_borne() -> None:
    sample = to_sample(TwoShifts(agreement=0.7).draw(300, seed=0), torch.float64)
    wide = torch.cat([sample.z, sample.z, torch.zeros(300, 1, dtype=torch.float64)], dim=1)
    erased = fit_leace(replace(sample, z=wide), (2,))(wide)
    means = [erased[sample.c[:, 0] == k].mean(dim=0) for k in (0, 1)]
    torch.testing.assert_close(means[0], means[1], rtol=0, atol=1e-9)


def test_what_cannot_be_fitted_is_the_users_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = to_sample(SOURCE.draw(50, seed=0))
    with pytest.raises(TrainingError, match="finite"):
        fit_leace(replace(sample, z=sample.z * torch.nan), (4,))
    with pytest.raises(TrainingError, match="two samples"):
        fit_leace(replace(sample, known=torch.arange(50) < 1), (4,))
    monkeypatch.setattr(erasure.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"pip install 'mibias\[leace\]'"):
        fit_leace(sample, (4,))
