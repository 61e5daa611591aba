"""Impact ratios: Fairlearn's own, what their intervals cover where the truth is known, and who is left out."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn import metrics as fairlearn_metrics

from mibias_cli.evaluation.inputs import AuditedAttribute
from mibias_cli.evaluation.statistics.resampling import Resamples
from mibias_cli.evaluation.task.impact import impact_findings
from mibias_cli.evaluation.task.rule import Terms
from mibias_cli.evaluation.task_findings import ImpactFindings

TABLES = 1000
N = 400
DRAWS = Resamples(N, 200, seed=0)


def attribute(name: str, c: np.ndarray, known: np.ndarray | None = None) -> AuditedAttribute:
    names = tuple(f"{name}{k}" for k in range(int(c.max()) + 1))
    return AuditedAttribute(
        name=name, channels=(name,), class_names=(names,), c=c[:, None],
        known=np.ones(len(c), dtype=bool) if known is None else known,
    )  # fmt: skip


def impact(chosen: np.ndarray, *attributes: AuditedAttribute, min_cell: int = 5) -> ImpactFindings:
    resamples = DRAWS if len(chosen) == N else Resamples(len(chosen), 100, seed=0)
    terms = Terms(attributes=attributes, resamples=resamples, min_cell=min_cell, confidence=0.95)
    channels = {a.name: a.name for a in attributes}
    return impact_findings(chosen, attributes, channels, positive_class="hired", terms=terms)


@pytest.mark.parametrize(("difference", "n_groups"), [(0.0, 3), (0.02, 3), (0.1, 3), (0.3, 3)])
def test_intervals_cover_the_truth(difference: float, n_groups: int) -> None:
    """95 % intervals of 1,000 tables each: of every group's ratio, and of the lowest."""
    rng = np.random.default_rng(int(100 * difference) + n_groups)
    covered = np.zeros(n_groups + 1, dtype=int)
    truths = np.where(np.arange(n_groups) == 1, 1.0, 0.3 / (0.3 + difference))
    for _ in range(TABLES):
        c = rng.integers(0, n_groups, N)
        found = impact(rng.random(N) < 0.3 + difference * (c == 1), attribute("g", c))
        bounds = [found.groups[f"g{g}"].impact_ratio_interval for g in range(n_groups)]
        bounds.append(found.lowest_impact_ratio_interval)
        for k, (b, truth) in enumerate(zip(bounds, [*truths, truths.min()], strict=True)):
            assert b is not None
            covered[k] += b.lower - 1e-12 <= truth <= b.upper + 1e-12
    assert (covered >= 0.93 * TABLES).all(), covered


def test_figures_are_fairlearns_also_where_attributes_cross() -> None:
    rng = np.random.default_rng(3)
    sex, age, chosen = rng.integers(0, 2, N), rng.integers(0, 3, N), rng.random(N) < 0.4
    for columns in ([("sex", sex)], [("age", age)], [("sex", sex), ("age", age)]):
        frame = fairlearn_metrics.MetricFrame(
            metrics=fairlearn_metrics.selection_rate, y_true=chosen, y_pred=chosen,
            sensitive_features={name: [f"{name}{v}" for v in c] for name, c in columns},
        )  # fmt: skip
        found = impact(chosen, *(attribute(name, c) for name, c in columns))
        assert len(found.groups) == len(frame.by_group)
        for key, rate in frame.by_group.items():
            group = found.groups[key if isinstance(key, str) else " / ".join(key)]
            assert group.selection_rate == pytest.approx(rate, abs=1e-12)
            assert group.impact_ratio == pytest.approx(rate / frame.by_group.max(), abs=1e-12)
            bounds = group.impact_ratio_interval
            assert bounds is not None
            assert 0 <= bounds.lower <= group.impact_ratio <= bounds.upper <= 1
            assert group.below_four_fifths == (group.impact_ratio < 0.8)
        assert found.lowest_impact_ratio == pytest.approx(frame.ratio(method="between_groups"), abs=1e-12)


def test_groups_of_less_than_two_per_cent_have_a_rate_and_no_ratio() -> None:
    c = np.repeat([0, 1, 2], [500, 481, 19])
    chosen = np.arange(1000) % 2 == 0
    # the smallest group would be the highest by far
    chosen[c == 2] = True
    known = np.ones(1000, dtype=bool)
    known[:10] = False
    found = impact(chosen, attribute("race", c, known))
    small = found.groups["race2"]
    assert (small.n, small.counted, small.selection_rate, small.impact_ratio) == (19, False, 1.0, None)
    assert max(g.impact_ratio for g in found.groups.values() if g.impact_ratio is not None) == 1
    assert found.n_unknown == 10
    assert sum(g.n for g in found.groups.values()) == 990


def test_where_nobody_is_chosen_there_is_no_ratio() -> None:
    found = impact(np.zeros(N, dtype=bool), attribute("sex", np.arange(N) % 2))
    assert found.lowest_impact_ratio is None
    assert found.lowest_impact_ratio_interval is None
    assert {g.impact_ratio for g in found.groups.values()} == {None}


def test_a_group_of_whom_nobody_is_chosen_has_a_ratio_of_0_with_an_honest_interval() -> None:
    c = np.arange(N) % 2
    found = impact((c == 1) & (np.arange(N) % 3 == 0), attribute("sex", c))
    none = found.groups["sex0"]
    assert none.impact_ratio == 0
    assert none.below_four_fifths
    assert none.impact_ratio_interval is not None
    assert none.impact_ratio_interval.lower == 0
    assert 0.005 < none.impact_ratio_interval.upper < 0.2


def test_samples_of_one_person_are_no_evidence_of_their_own() -> None:
    rng = np.random.default_rng(5)
    c = rng.integers(0, 2, 100)
    chosen = rng.random(100) < 0.5 - 0.2 * c
    widths = []
    for group in (None, np.repeat(np.arange(100), 4)):
        terms = Terms(
            attributes=(), resamples=Resamples(400, 300, group=group, seed=0), min_cell=5, confidence=0.95
        )  # fmt: skip
        given = [attribute("sex", np.repeat(c, 4))]
        found = impact_findings(np.repeat(chosen, 4), given, {"sex": "sex"}, positive_class="hired", terms=terms)
        bounds = found.lowest_impact_ratio_interval
        assert bounds is not None
        assert found.lowest_impact_ratio is not None
        widths.append(np.log(found.lowest_impact_ratio / bounds.lower))
    assert widths[0] < 0.65 * widths[1]
