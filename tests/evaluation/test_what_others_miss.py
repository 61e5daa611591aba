"""Leakage that a linear check, a training critic or a leakage figure alone would pass, and that the audit catches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_mi import Known, VarianceCoded, make_spec, to_sample
from sklearn.linear_model import LogisticRegression

from mibias_cli.estimators.classifier import ClassifierBound
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditFindings, AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.methods.erasers.linear_eraser import fit_leace
from mibias_cli.progress import Silent
from mibias_cli.report.document import make_report

SETTINGS = AuditSettings(n_bootstrap=200, n_permutations=199)


def audit_features(
    after: np.ndarray, c: np.ndarray, y: np.ndarray, before: np.ndarray | None = None, n_train: int = 200,
    settings: AuditSettings = SETTINGS,
) -> AuditFindings:  # fmt: skip
    """An audit of features whose first rows train the task head."""
    attribute = AuditedAttribute(
        name="sex", channels=("sex",), class_names=(("f", "m"),), c=c[n_train:, None],
        known=np.ones(len(c) - n_train, dtype=bool),
    )  # fmt: skip
    parts = [None if z is None else Features(train=z[:n_train], audit=z[n_train:]) for z in (before, after)]
    assert parts[1] is not None
    inputs = AuditInput(
        before=parts[0], after=parts[1], train_y=y[:n_train], audit_y=y[n_train:],
        class_names=tuple(f"y {k}" for k in range(int(y.max()) + 1)), attributes=(attribute,),
    )  # fmt: skip
    return audit(inputs, settings, seed=0, progress=Silent())


def draw_census(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table in the manner of a census: sex shifts pay and hours, and marital status and relationship tell it only
    together (a married husband or wife, a single son or daughter)."""
    g = np.random.default_rng(seed)
    sex = g.integers(0, 2, n)
    married = g.random(n) < 0.5
    hours = g.normal(40 + 4 * sex, 9)
    pay = g.gamma(2 + 0.8 * sex, 1.0)
    relation = np.where(g.random(n) < 0.12, g.integers(0, 4, n), 2 * ~married + (sex ^ married))
    columns = [married, hours, pay, *(relation == k for k in range(4)), *g.normal(size=(6, n))]
    x = np.stack(columns, axis=1).astype(np.float64)
    income = (pay + 0.05 * hours + g.normal(size=n) > 5).astype(np.int64)
    return (x - x.mean(axis=0)) / x.std(axis=0), sex, income


def test_a_table_erased_linearly_still_tells_sex_to_another_probe() -> None:
    x, sex, income = draw_census(3200, 0)
    sample = to_sample(Known(z=x, c=sex[:, None]), dtype=torch.float64)
    erased = fit_leace(sample, (2,))(sample.z).numpy()
    # what LEACE promises: no linear probe, fitted on these very rows, does better than chance
    linear = LogisticRegression(max_iter=1000).fit(erased, sex)
    assert abs(linear.score(erased, sex) - 0.5) < 0.04
    found = audit_features(erased, sex, income, before=x).attributes["sex"]
    assert found.before is not None
    assert found.before.marginal.probes["logistic"].leakage_bits > 0.1
    assert abs(found.after.marginal.probes["logistic"].leakage_bits) < 0.02
    assert found.after.marginal.headline_probe != "logistic"
    assert found.after.leakage_bits.lower > 0.25
    assert found.after.marginal.p_value_holm is not None
    assert found.after.marginal.p_value_holm < 0.05


def test_a_critic_that_says_zero_is_no_evidence() -> None:
    """A critic too weak for what it watches reports 0 for ever; the audit's fresh probes do not believe it."""
    source = VarianceCoded(scales=[1.0, 2.0], d=4)
    drawn = source.draw(2600, 0)
    sample = to_sample(drawn)
    torch.manual_seed(0)
    critic = ClassifierBound(
        make_spec(n_features=4, n_classes=(2,), hidden=(), learning_rate=0.02, steps=400, batch_size=128)
    )
    generator = torch.Generator().manual_seed(0)
    critic.fit(sample, generator)
    with torch.no_grad():
        claimed = float(critic.penalty(sample, generator)) / math.log(2)
    truth = source.nats / math.log(2)
    assert abs(claimed) < 0.01
    y = np.random.default_rng(1).integers(0, 2, 2600)
    found = audit_features(drawn.z, drawn.c[:, 0], y).attributes["sex"].after.leakage_bits
    assert 0.6 * truth < found.lower <= truth


@pytest.mark.parametrize("kind", ["constant", "one direction"])
def test_features_that_hold_nothing_are_called_collapsed_not_clean(kind: str) -> None:
    g = np.random.default_rng(2)
    y, c = g.integers(0, 5, 1000), g.integers(0, 2, 1000)
    before = g.normal(size=(1000, 16))
    before[:, :5] += 3 * np.eye(5)[y]
    before[:, 5] += 2 * c
    after = np.ones((1000, 16)) if kind == "constant" else np.outer(g.normal(size=1000), np.ones(16))
    settings = AuditSettings(probes=("logistic", "quadratic"), n_bootstrap=100, n_permutations=99)
    result = audit_features(after, c, y, before=before, settings=settings)
    found = result.attributes["sex"].after
    assert found.leakage_bits.upper < 0.02  # by leakage alone a triumph
    assert result.fidelity.collapsed
    report = make_report(result, {}).to_dict()
    assert report["fidelity"]["collapsed"] is True
    assert not audit_features(before, c, y, before=before, settings=settings).fidelity.collapsed


def test_features_that_fine_tuning_narrowed_to_a_binary_target_are_no_collapse() -> None:
    g = np.random.default_rng(2)
    y, c = g.integers(0, 2, 1000), g.integers(0, 2, 1000)
    before = g.normal(size=(1000, 32))
    before[:, 0] += 2 * y
    after = np.outer(2 * y + 0.3 * g.normal(size=1000), np.ones(32)) + 0.01 * g.normal(size=(1000, 32))
    settings = AuditSettings(probes=("logistic",), n_bootstrap=100, n_permutations=19)
    result = audit_features(after, c, y, before=before, settings=settings)
    assert result.similarity.effective_rank_after < 2 < 20 < (result.similarity.effective_rank_before or 0)
    assert not result.fidelity.collapsed
    verdict = make_report(result, {}).verdict
    assert not verdict.collapsed
    assert "few directions left" in verdict.caution
