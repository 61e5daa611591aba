"""Leakage against distributions whose mutual information is known.

Seeds are fixed. Tolerances are four standard errors or more of what the sample size gives, so that a test fails by
chance in fewer than one of ten thousand seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from mibias_cli.evaluation.leakage.channel import ChannelTask, Question, make_channel_task
from mibias_cli.evaluation.leakage.evidence import Evidence
from mibias_cli.evaluation.leakage.measure import Answer, Measured, Terms, answer, headline, paired_change
from mibias_cli.evaluation.leakage.scoring import score_probe
from mibias_cli.evaluation.probes.families import make_sight
from mibias_cli.evaluation.statistics.partition import fit_and_score_rows, inner_folds
from mibias_cli.evaluation.statistics.resampling import Resamples

ALL = ("logistic", "quadratic", "mlp", "gradient_boosting")


def binary_entropy(p: float) -> float:
    return float(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


def mixture_bits(a: norm, b: norm) -> float:
    """I(z; c) in bits for z ~ a where c = 0 and z ~ b where c = 1, each half of the time, by integration."""

    def integrand(z: float) -> float:
        p, q = a.pdf(z), b.pdf(z)
        m = (p + q) / 2
        return sum(0.5 * v * np.log2(v / m) for v in (p, q) if v > 0)

    return float(quad(integrand, -12, 12, limit=400)[0])


def make_task(
    c: np.ndarray, y: np.ndarray, *, n_classes: int = 2, n_y: int = 1, channel: str = "c"
) -> tuple[ChannelTask, np.ndarray, np.ndarray]:
    fit, score = fit_and_score_rows(np.stack([y, c], axis=1), fit_fraction=0.5, group=None, seed=0)
    folds = inner_folds(np.stack([c[fit], y[fit]], axis=1), group=None, seed=0)
    return make_channel_task(channel, c, y, fit, score, folds, n_classes=n_classes, n_y=n_y), fit, score


def asked(
    task: ChannelTask, z: np.ndarray, fit: np.ndarray, score: np.ndarray, probes: tuple[str, ...], n_resamples: int = 50
) -> Callable[[Question], Answer]:
    resamples = Resamples(len(score), n_resamples, seed=0)
    terms = Terms(probes=probes, resamples=resamples, confidence=0.95, seed=0)
    return lambda question: answer(task, question, Evidence(z=z), (fit, score), terms)


def measured(
    task: ChannelTask, z: np.ndarray, fit: np.ndarray, score: np.ndarray, probes: tuple[str, ...], n_resamples: int = 50
) -> Measured:
    ask = asked(task, z, fit, score, probes, n_resamples)
    return Measured(
        marginal=ask(task.marginal), conditional=ask(task.conditional), chance_accuracy=task.chance_accuracy
    )


def run(
    z: np.ndarray, c: np.ndarray, y: np.ndarray | None = None, *, probes: tuple[str, ...] = ALL, n_y: int = 1
) -> Measured:
    y = np.zeros(len(c), dtype=np.int64) if y is None else y
    task, fit, score = make_task(c, y, n_classes=int(c.max()) + 1, n_y=n_y)
    return measured(task, z, fit, score, probes, n_resamples=400)


def test_mean_shift_in_64_dimensions_comes_near_its_closed_form() -> None:
    g = np.random.default_rng(0)
    c = g.integers(0, 2, 5000)
    z = g.normal(size=(5000, 64))
    z[:, 0] += 2.0 * c
    truth = mixture_bits(norm(0, 1), norm(2, 1))
    found = run(z, c).leakage
    assert found.leakage_bits.lower <= truth
    assert found.leakage_bits.estimate == pytest.approx(truth, abs=0.06)
    assert found.marginal.probes["logistic"].leakage_bits == pytest.approx(truth, abs=0.06)


@pytest.mark.parametrize("rotated", [False, True])
def test_variance_coded_leakage_is_found_where_a_linear_probe_sees_none(rotated: bool) -> None:
    g = np.random.default_rng(1)
    c = g.integers(0, 2, 5000)
    z = g.normal(size=(5000, 64))
    z[:, 0] *= np.where(c == 1, 4.0, 1.0)
    if rotated:
        z = z @ np.linalg.qr(g.normal(size=(64, 64)))[0]
    truth = mixture_bits(norm(0, 1), norm(0, 4))
    found = run(z, c, probes=("logistic", "quadratic", "gradient_boosting")).leakage
    assert found.marginal.headline_probe != "logistic"
    assert abs(found.marginal.probes["logistic"].leakage_bits) < 0.02
    assert found.leakage_bits.lower <= truth
    # squares come near the truth, not at it: the log-density ratio of two centred normals is linear in the square
    assert found.marginal.probes["quadratic"].leakage_bits > 0.75 * truth
    if not rotated:
        assert found.marginal.probes["gradient_boosting"].leakage_bits > 0.6 * truth


@pytest.mark.parametrize("rotated", [False, True])
def test_xor_coded_leakage_in_64_dimensions_is_found(rotated: bool) -> None:
    g = np.random.default_rng(2)
    z = np.sign(g.normal(size=(5000, 64))) + 0.1 * g.normal(size=(5000, 64))
    flip = g.random(5000) < 0.1
    c = ((z[:, 5] * z[:, 40] > 0) ^ flip).astype(np.int64)
    if rotated:
        z = z @ np.linalg.qr(g.normal(size=(64, 64)))[0]
    truth = 1 - binary_entropy(0.1)
    found = run(z, c, probes=("logistic", "quadratic")).leakage
    assert abs(found.marginal.probes["logistic"].leakage_bits) < 0.02
    assert found.leakage_bits.lower <= truth
    assert found.leakage_bits.estimate > (0.5 if rotated else 0.85) * truth


def test_independent_features_give_about_zero_and_are_not_clamped() -> None:
    estimates = []
    for seed in range(4):
        g = np.random.default_rng([3, seed])
        found = run(g.normal(size=(600, 16)), g.integers(0, 3, 600)).leakage
        estimates.append(found.leakage_bits.estimate)
        assert found.leakage_bits.lower <= 0.002
    assert abs(np.mean(estimates)) < 0.015
    assert min(estimates) < 0


def test_leakage_is_entropy_less_cross_entropy_up_to_what_shares_cost() -> None:
    """H(c) − CE as it is usually computed, from the probe's own probabilities; the difference is of order K / n."""
    g = np.random.default_rng(11)
    c = g.integers(0, 3, 2000)
    z = g.normal(size=(2000, 3)) + np.eye(3)[c]
    task, fit, score = make_task(c, np.zeros(2000, dtype=np.int64), n_classes=3)
    found = asked(task, z, fit, score, ("logistic",))(task.marginal).finding
    sight = make_sight(z[fit], ("logistic",), seed=0)
    probe = score_probe("logistic", task, task.marginal, sight, sight.scaling.see(z[score]), 0).probe
    assert probe is not None
    question = task.marginal
    _, log_p = probe.predict(z[score], question.extra_score, question.baseline_score)
    share = np.bincount(c[score]) / len(score)
    plain = -(share * np.log2(share)).sum() + log_p[np.arange(len(score)), c[score]].mean() / np.log(2)
    assert found.leakage_bits.estimate == pytest.approx(plain, abs=3 / (2000 * np.log(2)))
    accuracy = (probe.predict(z[score], question.extra_score, question.baseline_score)[0] == c[score]).mean()
    assert found.probes["logistic"].accuracy == accuracy


def test_constant_features_leak_nothing() -> None:
    c = np.random.default_rng(4).integers(0, 3, 300)
    found = run(np.full((300, 5), 2.5), c).leakage
    assert found.leakage_bits.estimate == pytest.approx(0, abs=0.01)
    assert found.conditional_leakage_bits.estimate == pytest.approx(0, abs=0.01)


def test_conditional_leakage_is_what_the_target_does_not_tell() -> None:
    g = np.random.default_rng(5)
    y = g.integers(0, 2, 6000)
    c = np.where(g.random(6000) < 0.9, y, 1 - y)
    knows_y = np.eye(2)[y] + 0.05 * g.normal(size=(6000, 2))
    found = run(knows_y, c, y, n_y=2).leakage
    # I(z; c) = I(y; c) = 1 − h(.1); given y nothing is left
    assert found.leakage_bits.estimate == pytest.approx(1 - binary_entropy(0.1), abs=0.05)
    assert found.conditional_leakage_bits.estimate == pytest.approx(0, abs=0.01)
    knows_both = np.concatenate([knows_y, np.eye(2)[c]], axis=1)
    found = run(knows_both, c, y, n_y=2, probes=("logistic",)).leakage
    assert found.conditional_leakage_bits.estimate == pytest.approx(binary_entropy(0.1), abs=0.06)


def test_interaction_with_the_target_is_found_conditionally() -> None:
    g = np.random.default_rng(6)
    y, c = g.integers(0, 2, (2, 3000))
    z = g.normal(size=(3000, 4))
    z[:, 0] = (2 * y - 1) * (2 * c - 1)  # with y it tells c, without it nothing
    found = run(z, c, y, n_y=2, probes=("logistic", "quadratic")).leakage
    assert abs(found.leakage_bits.estimate) < 0.01
    assert found.conditional_leakage_bits.estimate > 0.9


def test_chance_is_the_majority_of_the_fitting_part() -> None:
    c = np.array([0] * 300 + [1] * 100)
    found = run(np.zeros((400, 2)), c, probes=("logistic",)).leakage
    assert found.chance_accuracy == pytest.approx(0.75, abs=0.01)


def test_the_headline_is_the_probe_that_was_best_inside_the_fitting_part() -> None:
    """A case made so that the best probe by scored samples is another one than by fitted samples."""
    g = np.random.default_rng(7)
    n = 2000
    c = g.integers(0, 2, n)
    task, fit, score = make_task(c, np.zeros(n, dtype=np.int64))
    z = 0.01 * g.normal(size=(n, 2))
    # where probes are fitted, the square of one column tells c; where they are scored, only its mean does
    z[fit, 0] += np.where(c[fit] == 1, np.sign(g.normal(size=len(fit))), 0.0) + 0.15 * c[fit]
    z[score, 0] += np.where(c[score] == 1, 0.3, -0.1)
    found = measured(task, z, fit, score, ("logistic", "quadratic")).leakage
    probes = found.marginal.probes
    assert probes["quadratic"].selection_bits > probes["logistic"].selection_bits
    assert probes["logistic"].leakage_bits > probes["quadratic"].leakage_bits
    assert found.marginal.headline_probe == "quadratic"
    assert found.leakage_bits.estimate == probes["quadratic"].leakage_bits


def test_the_headline_channel_is_chosen_by_selection_too() -> None:
    g = np.random.default_rng(8)
    n = 1200
    c = g.integers(0, 2, n)
    tasks = {name: make_task(c, np.zeros(n, dtype=np.int64), channel=name) for name in ("fitted", "scored")}
    _, fit, score = tasks["fitted"]
    by_name = {}
    for name, (task, _, _) in tasks.items():
        z = g.normal(size=(n, 2))
        strong, weak = (fit, score) if name == "fitted" else (score, fit)
        z[strong, 0] += 3.0 * c[strong]
        z[weak, 0] += 1.5 * c[weak]
        by_name[name] = measured(task, z, fit, score, ("logistic",))
    scored = {name: m.leakage.leakage_bits.estimate for name, m in by_name.items()}
    assert scored["scored"] > scored["fitted"]
    top = headline({name: m.leakage for name, m in by_name.items()})
    assert top.conditional is not None
    assert top.marginal.headline_channel == top.conditional.headline_channel == "fitted"


def test_change_is_paired() -> None:
    g = np.random.default_rng(9)
    c = g.integers(0, 2, 2000)
    before = g.normal(size=(2000, 4)) + 2.0 * c[:, None]
    after = before + 0.01 * g.normal(size=(2000, 4))
    a, b = (run(z, c, probes=("logistic",)) for z in (before, after))
    change = paired_change({"c": a}, {"c": b}, 0.95).leakage_bits
    own = a.leakage.leakage_bits.upper - a.leakage.leakage_bits.lower
    assert change.estimate == b.leakage.leakage_bits.estimate - a.leakage.leakage_bits.estimate
    assert change.upper - change.lower < own / 3


def test_interval_agrees_with_the_delta_method() -> None:
    """The spread of H(c) − CE over resamples, against the variance of its influence function."""
    g = np.random.default_rng(10)
    c = g.integers(0, 2, 4000)
    z = g.normal(size=(4000, 3)) + 1.0 * c[:, None]
    found = run(z, c, probes=("logistic",))
    _, _, score = make_task(c, np.zeros(4000, dtype=np.int64))
    width = found.leakage.leakage_bits.upper - found.leakage.leakage_bits.lower
    # with balanced c the entropy's influence is nil to first order, so the spread is that of the pointwise losses
    assert found.marginal.draws.std() == pytest.approx(width / (2 * 1.96), rel=0.1)
    assert 0.2 < found.marginal.draws.std() * np.sqrt(len(score)) < 1.5


@pytest.mark.parametrize("n_labels", [2, 3])
def test_what_the_target_determines_leaks_nothing_beyond_it(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    c = np.minimum(y, n_labels - 1)  # equal to the target, or coarser
    z = y[:, None] + 0.1 * rng.normal(size=(400, 2))
    found = run(z, c, y, n_y=3, probes=("logistic",))
    assert found.marginal.finding.leakage_bits.lower > 0.5
    assert found.conditional is not None
    finding = found.conditional.finding
    assert finding.is_determined
    assert (finding.leakage_bits.estimate, finding.leakage_bits.lower, finding.leakage_bits.upper) == (0, 0, 0)
    change = paired_change({"c": found}, {"c": found}, 0.95).conditional_leakage_bits
    assert change is not None
    assert (change.estimate, change.lower, change.upper) == (0, 0, 0)
    # one label that the target does not tell, and the question is asked
    c[0] = (c[0] + 1) % n_labels
    asked = run(z, c, y, n_y=3, probes=("logistic",)).conditional
    assert asked is not None
    assert not asked.finding.is_determined


def test_classes_of_one_sample_determine_nothing() -> None:
    rng = np.random.default_rng(0)
    c, y = rng.integers(2, size=100), np.arange(100)
    found = run(rng.normal(size=(100, 2)), c, y, n_y=100, probes=("logistic",))
    assert found.conditional is not None
    assert not found.conditional.finding.is_determined
