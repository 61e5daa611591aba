"""Leakage by sample size against pairs of which it is known whether a probe has converged. Seeds are fixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditFindings, AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.leakage_findings import QuestionName, SizeCurve
from mibias_cli.progress import Silent

LOGISTIC = AuditSettings(probes=("logistic",), n_bootstrap=400, n_permutations=0)


def inputs(
    z: np.ndarray, c: np.ndarray, *, y: np.ndarray | None = None, before: np.ndarray | None = None
) -> AuditInput:
    y = np.zeros(len(c), dtype=np.int64) if y is None else y
    attribute = AuditedAttribute(
        name="scanner", channels=("scanner",), class_names=(tuple(map(str, range(int(c.max()) + 1))),), c=c[:, None],
        known=np.ones(len(c), dtype=bool),
    )  # fmt: skip
    return AuditInput(
        before=None if before is None else Features(train=before[:0], audit=before),
        after=Features(train=z[:0], audit=z), train_y=y[:0], audit_y=y,
        class_names=tuple(map(str, range(int(y.max()) + 1))), attributes=(attribute,),
    )  # fmt: skip


def found(given: AuditInput, kind: QuestionName = "marginal", settings: AuditSettings = LOGISTIC) -> AuditFindings:
    return audit(given, settings, seed=0, progress=Silent(), sizes_of=kind)


def curve(given: AuditInput, kind: QuestionName = "marginal", settings: AuditSettings = LOGISTIC) -> SizeCurve:
    sizes = found(given, kind, settings).attributes["scanner"].sizes
    assert sizes is not None
    return sizes.after


def converged(seed: int, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """One Gaussian direction: 500 rows are more than enough to find its two parameters."""
    g = np.random.default_rng(seed)
    c = g.integers(0, 2, n)
    return g.normal(size=(n, 1)) + 1.5 * c[:, None], c


def many_weak(seed: int, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """200 weak directions: twice the rows find far more of what they hold together."""
    g = np.random.default_rng(seed)
    c = g.integers(0, 2, n)
    return g.normal(size=(n, 200)) + 0.2 * c[:, None], c


def test_a_converged_probe_does_not_grow() -> None:
    """The lower end of a 95 % interval errs in 2.5 % of draws, and the tolerance makes that fewer."""
    grown = [curve(inputs(*converged(seed))).grows_with_n for seed in range(20)]
    assert sum(grown) <= 1


def test_many_weak_features_grow_with_the_samples() -> None:
    grown = [curve(inputs(*many_weak(seed))).grows_with_n for seed in range(10)]
    assert sum(grown) >= 9


def test_features_without_leakage_do_not_grow() -> None:
    g = np.random.default_rng(1)
    # no class share is taken for a gain, though six of them are learned from ever more rows
    grown = [curve(inputs(g.normal(size=(600, 16)), g.integers(0, 6, 600))).grows_with_n for _ in range(5)]
    assert not any(grown)


def test_the_last_point_is_the_headline_and_the_step_is_paired() -> None:
    z, c = many_weak(0)
    settings = LOGISTIC.model_copy(update={"probes": ("logistic", "knn")})
    result = found(inputs(z, c), settings=settings).attributes["scanner"]
    assert result.sizes is not None
    after, (eighth, quarter, half, whole) = result.sizes.after, result.sizes.after.points
    assert whole.leakage_bits == result.after.leakage_bits
    assert after.probe == result.after.marginal.headline_probe
    assert [p.n_fit for p in after.points] == [pytest.approx(500 / k, abs=2) for k in (8, 4, 2, 1)]
    assert eighth.leakage_bits.estimate < quarter.leakage_bits.estimate < half.leakage_bits.estimate
    step = after.last_step_bits
    assert step.estimate == pytest.approx(whole.leakage_bits.estimate - half.leakage_bits.estimate)
    # of the same scored rows: narrower than two intervals side by side
    widths = [i.upper - i.lower for i in (step, half.leakage_bits, whole.leakage_bits)]
    assert widths[0] < 0.9 * float(np.hypot(*widths[1:]))
    assert after.tolerance_bits == pytest.approx(0.01 * result.entropy_bits)


def test_the_question_is_the_one_that_was_asked_and_both_sides_have_a_curve() -> None:
    g = np.random.default_rng(0)
    y = g.integers(0, 2, 1000)
    c = np.where(g.random(1000) < 0.9, y, 1 - y)
    z = g.normal(size=(1000, 3)) + 2.0 * y[:, None]
    given = inputs(z, c, y=y, before=z + 2.0 * c[:, None])
    told = found(given, "conditional").attributes["scanner"]
    assert told.sizes is not None
    assert told.sizes.before is not None
    # z holds c by way of y alone: nothing is left beyond the target, on any share of the rows
    assert all(abs(p.leakage_bits.estimate) < 0.05 for p in told.sizes.after.points)
    assert told.sizes.after.points[-1].leakage_bits == told.after.conditional_leakage_bits
    assert told.sizes.before.points[-1].leakage_bits.estimate > 0.1
    h_c_given_y = 0.469  # of a pair that agrees with probability .9
    assert told.sizes.after.tolerance_bits == pytest.approx(0.01 * h_c_given_y, rel=0.15)


def test_rows_of_one_group_stay_together() -> None:
    z, c = many_weak(0)
    group = np.arange(1000) // 100
    given = replace(inputs(z, c), group=group)
    sizes = curve(given).points
    # ten groups of a hundred, five of them to fit: shares are whole hundreds
    assert all(p.n_fit % 100 == 0 for p in sizes)


def test_too_few_rows_have_no_curve() -> None:
    z, c = converged(0, n=60)
    assert found(inputs(z, c)).attributes["scanner"].sizes is None


def test_what_the_target_determines_has_no_curve() -> None:
    c = np.arange(400) % 2
    given = inputs(np.random.default_rng(0).normal(size=(400, 2)), c, y=c)
    assert found(given, "conditional").attributes["scanner"].sizes is None


def test_nothing_is_fitted_where_nobody_asks() -> None:
    given = inputs(*converged(0))
    assert audit(given, LOGISTIC, seed=0, progress=Silent()).attributes["scanner"].sizes is None
