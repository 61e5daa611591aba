"""How well rows were forgotten, against loops over pairs, and intervals against resampling for real."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditInput, Features, TrainedRows
from mibias_cli.evaluation.statistics.ranking import auroc, grouped_auroc
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.forgetting import forgetting_findings


def predicted(g: np.random.Generator, y: np.ndarray, sure: float) -> np.ndarray:
    """Probabilities of two classes, by `sure` more often right."""
    p = 1 / (1 + np.exp(-(g.standard_normal(len(y)) + sure)))
    return np.where((y == 1)[:, None], np.stack([1 - p, p], axis=1), np.stack([p, 1 - p], axis=1))


def audited(n_of_group: tuple[int, ...] = (60, 30, 0)) -> AuditInput:
    """Forgotten rows of three groups, of which two are audited; a group of −1 has none to compare with."""
    g = np.random.default_rng(0)
    group = np.concatenate([np.repeat(np.arange(3), n_of_group), np.full(5, 2), np.full(4, -1), np.arange(200) % 3])
    forget = np.arange(len(group)) < len(group) - 200
    y, audit_y, audit_group = group.clip(0) % 2, np.arange(150) % 2, np.arange(150) % 2
    heads = {"before": predicted(g, audit_y, 1.0), "after": predicted(g, audit_y, 1.0)}
    own = {"before": predicted(g, y, 3.0), "after": predicted(g, y, 1.0)}
    nothing = Features(train=np.zeros((0, 1)), audit=np.zeros((150, 1)))
    trained = TrainedRows(forget=forget, y=y, group=group, audit_group=audit_group, unit=None, heads=own)
    return AuditInput(
        before=nothing, after=nothing, train_y=np.zeros(0), audit_y=audit_y, class_names=("0", "1"), attributes=(),
        heads=heads, trained=trained,
    )  # fmt: skip


def test_figures_are_those_of_loops() -> None:
    inputs, settings = audited(), AuditSettings(n_bootstrap=200)
    found, trained = forgetting_findings(inputs, settings, seed=0), inputs.trained
    assert found is not None
    assert trained is not None
    assert (found.n_forgotten, found.n_retained, found.n_compared) == (99, 200, 90)
    for side, figures in (("before", found.before), ("after", found.after)):
        assert figures is not None
        own, others = trained.heads[side], inputs.heads[side]
        hits = {True: list[bool](), False: list[bool]()}
        for row, p in enumerate(own):
            hits[bool(trained.forget[row])].append(bool(p.argmax() == trained.y[row]))
        assert figures.forgotten_accuracy == pytest.approx(np.mean(hits[True]))
        assert figures.retained_accuracy == pytest.approx(np.mean(hits[False]))
        right = others.argmax(axis=1) == inputs.audit_y
        assert figures.audit_accuracy == pytest.approx(right.mean())
        alike = (60 * right[trained.audit_group == 0].mean() + 30 * right[trained.audit_group == 1].mean()) / 90
        assert figures.alike_accuracy == pytest.approx(alike)

        # pair by pair: how often a forgotten row's loss is less than that of an audited row of its group
        wins = []
        for row in range(90):
            loss = -np.log(own[row, trained.y[row]])
            rivals = [i for i in range(150) if trained.audit_group[i] == trained.group[row]]
            losses = [-np.log(others[i, inputs.audit_y[i]]) for i in rivals]
            wins.append(np.mean([1.0 if loss < rival else 0.5 if loss == rival else 0.0 for rival in losses]))
        assert figures.membership_auroc is not None
        assert figures.membership_auroc.estimate == pytest.approx(np.mean(wins))
    assert found.before is not None
    assert found.before.membership_auroc is not None
    assert found.after.membership_auroc is not None
    # rows that a model is surer of than of any others are given away, and no longer afterwards
    assert found.before.membership_auroc.lower > 0.8
    assert found.after.membership_auroc.upper < 0.65


def test_losses_below_single_precision_still_rank() -> None:
    """Probabilities of 1 − 1e-9 and 1 − 1e-12 are both 1 in single precision; what is left for others is not."""
    inputs = audited((12, 0, 0))
    trained = inputs.trained
    assert trained is not None
    sure = np.tile(np.float32([1, 1e-12]), (len(trained.y), 1))
    less = np.tile(np.float32([1, 1e-9]), (150, 1))
    trained = TrainedRows(
        forget=trained.group == 0, y=np.zeros_like(trained.y), group=trained.group, audit_group=trained.audit_group,
        unit=None, heads={"after": sure},
    )  # fmt: skip
    inputs = AuditInput(
        before=None, after=inputs.after, train_y=inputs.train_y, audit_y=np.zeros(150, dtype=np.int64),
        class_names=("0", "1"), attributes=(), heads={"after": less}, trained=trained,
    )  # fmt: skip
    found = forgetting_findings(inputs, AuditSettings(n_bootstrap=100), seed=0)
    assert found is not None
    assert found.before is None
    assert found.after.membership_auroc is not None
    assert found.after.membership_auroc.estimate == 1.0


def test_no_area_is_beyond_1() -> None:
    """Ten rows that losses tell from audited ones all but once."""
    inputs = audited((10, 0, 0))
    assert inputs.trained is not None
    sure = np.full(len(inputs.trained.y), 0.99)
    sure[0] = 0.4
    own, other = (np.where(np.eye(2, dtype=bool)[y], p[:, None], 1 - p[:, None]) for y, p in (
        (inputs.trained.y, sure), (inputs.audit_y, np.linspace(0.3, 0.6, 150)),
    ))  # fmt: skip
    inputs = replace(inputs, trained=replace(inputs.trained, heads={"after": own}), heads={"after": other})
    found = forgetting_findings(inputs, AuditSettings(n_bootstrap=200), seed=0)
    assert found is not None
    area = found.after.membership_auroc
    assert area is not None
    assert (area.estimate < 1, area.upper) == (True, 1)


def test_of_few_rows_no_interval_is_known() -> None:
    """Nor of many rows of few patients."""
    settings = AuditSettings(n_bootstrap=100)
    for n, patients, known in ((9, None, False), (10, None, True), (40, 4, False), (40, 10, True)):
        inputs = audited((n, 0, 0))
        assert inputs.trained is not None
        if patients is not None:
            unit = np.arange(len(inputs.trained.y)) % patients
            trained = replace(inputs.trained, unit=unit.astype(str))
            inputs = replace(inputs, trained=trained, group=np.char.add("a", np.arange(150).astype(str)))
        found = forgetting_findings(inputs, settings, seed=0)
        assert found is not None
        assert found.after.alike_accuracy is not None
        assert (found.after.membership_auroc is not None) == known


def test_without_rows_to_forget_there_are_no_figures() -> None:
    inputs = audited()
    plain = AuditInput(
        before=None, after=inputs.after, train_y=inputs.train_y, audit_y=inputs.audit_y, class_names=("0", "1"),
        attributes=(), heads=inputs.heads,
    )  # fmt: skip
    assert forgetting_findings(plain, AuditSettings(), seed=0) is None


def test_resamples_of_the_area_vary_as_areas_of_resamples_do() -> None:
    g = np.random.default_rng(1)
    group, positive = np.arange(600) % 3 // 2, g.random(600) < 0.3
    score = g.standard_normal(600) + 0.8 * positive + group
    area, draws = grouped_auroc(score, positive, group, Resamples(600, 2000, seed=0))
    one = [auroc(np.stack([-score, score], axis=1)[group == k], positive[group == k].astype(int)) for k in (0, 1)]
    n = [int((positive & (group == k)).sum()) for k in (0, 1)]
    assert one[0] is not None
    assert one[1] is not None
    assert area == pytest.approx((n[0] * one[0] + n[1] * one[1]) / sum(n))
    again = []
    for _ in range(400):
        rows = g.integers(600, size=600)
        again.append(grouped_auroc(score[rows], positive[rows], group[rows], Resamples(600, 1, seed=0))[0])
    # a deviation of 400 draws is known to within 4 %, four times that is allowed
    assert np.std(draws) == pytest.approx(np.std(again), rel=0.16)
    assert np.mean(draws) == pytest.approx(area, abs=0.005)
