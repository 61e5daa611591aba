from __future__ import annotations

from collections.abc import Callable

import pytest

from mibias_cli.evaluation.leakage_findings import Bounds, Interval
from mibias_cli.evaluation.task_findings import HeadFindings, TaskFindings, TaskSides
from mibias_cli.report.document import Report
from mibias_cli.report.verdict import make_verdict


def test_the_verdict_bounds_what_was_found_and_never_says_that_nothing_is_there(
    make: Callable[..., Report],
) -> None:
    verdict = make().verdict
    assert verdict.attributes["colour"] == (
        "No probe here extracts more than 0.070 of the 2.000 bits of colour from the debiased features (headline "
        "probe: gradient boosting on channel red, 0.050 bits, 95 % interval 0.030 to 0.070); before it was 0.800 "
        "(0.780 to 0.820)."
    )
    assert verdict.text.endswith("Task accuracy on the audited split: 90.0\u00a0%, before 70.0\u00a0%.")
    assert not verdict.collapsed


def test_the_bound_is_of_all_probes_not_of_the_headline_alone(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",), after=0.05)
    probes = report.attributes["colour"].after.marginal.probes
    object.__setattr__(probes["logistic"], "leakage_bits", 0.2345)
    assert "more than 0.235 of" in make_verdict(report).text


def test_no_gain_and_a_rise_are_named(make: Callable[..., Report]) -> None:
    assert "not measurably less than before" in make(before=0.06, after=0.05).verdict.text
    assert "leakage has risen" in make(before=0.05, after=0.5).verdict.text


def test_an_audit_without_before_speaks_of_audited_features(make: Callable[..., Report]) -> None:
    text = make(before=None).verdict.text
    assert "the audited features" in text
    assert "before" not in text


def test_estimates_below_zero_are_no_negative_bound(make: Callable[..., Report]) -> None:
    text = make(after=-0.1).verdict.text
    assert "extracts any of the 2.000 bits" in text
    assert "−0.100 bits" in text


def test_an_interval_that_reaches_all_there_is_sets_no_bound(make: Callable[..., Report]) -> None:
    verdict = make(before=1.995, after=1.99).verdict  # up to 2.01 of 2 bits
    assert verdict.headline.startswith("Probes here may extract all of the 2.000 bits of colour (before 1.995); task")
    assert "may extract all of the 2.000 bits of colour from the debiased features (headline probe: " in verdict.text
    assert "more than" not in verdict.text


def test_attributes_with_a_bound_and_without_stand_side_by_side(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    size = make(channels=("colour",), before=1.995, after=1.99).attributes["colour"]
    both = report.model_copy(update={"attributes": {**report.attributes, "size": size}})
    assert make_verdict(both).headline.startswith(
        "Probes here may extract all of the 2.000 bits of size (before 1.995); "
        "no probe here extracts more than 0.070 of the 2.000 bits of colour (before 0.800); "
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ranks": (9.0, 0.0)}, "the features are constant"),
        ({"ranks": (9.0, 1.2), "accuracies": (0.9, 0.8)}, "effective rank fell from 9.00 to 1.20"),
        ({"ranks": (200.0, 12.0), "accuracies": (0.9, 0.8)}, "effective rank fell from 200.00 to 12.00"),
        ({"accuracies": (0.9, 0.51)}, "balanced accuracy on the task is 51.0\u00a0%, chance is 50.0\u00a0%"),
    ],
)
def test_a_collapse_is_no_success(make: Callable[..., Report], options: dict[str, object], reason: str) -> None:
    verdict = make(**options).verdict
    assert verdict.collapsed
    assert verdict.text.startswith("Collapsed, not debiased: ")
    assert reason in verdict.reasons[0]


def test_a_binary_task_may_have_low_rank_before_and_after(make: Callable[..., Report]) -> None:
    verdict = make(ranks=(1.6, 1.3)).verdict
    assert not verdict.collapsed
    assert verdict.caution == ""


@pytest.mark.parametrize("accuracies", [(0.7, 0.9), (0.9, 0.87)])
def test_features_that_keep_the_target_alone_are_no_collapse_but_poor(
    make: Callable[..., Report], accuracies: tuple[float, float]
) -> None:
    # fine-tuning ends near as many directions as the target has classes, less one
    verdict = make(ranks=(32.0, 1.2), accuracies=accuracies).verdict
    assert not verdict.collapsed
    assert "few directions left: their effective rank fell from 32.00 to 1.20." in verdict.caution
    assert verdict.caution in verdict.text
    assert "rank" not in verdict.headline


def test_a_conditional_objective_has_its_figure_in_the_headline(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    verdict = make_verdict(report, "conditional")
    # half of the marginal figures, and of H(c) = 2 what the target leaves
    assert verdict.headline.startswith(
        "No probe here extracts more than 0.045 of the 1.877 bits of colour given the target (before 0.400); task"
    )
    assert "before it was 0.400" in verdict.attributes["colour"]
    assert verdict.question == "conditional"
    assert make_verdict(report).question == "marginal"


def test_without_a_target_a_verdict_speaks_of_what_was_measured(make: Callable[..., Report]) -> None:
    found = make(channels=("colour",)).attributes["colour"]
    after = found.after.model_copy(update={"conditional": None})
    report = make(channels=("colour",)).model_copy(
        update={"attributes": {"colour": found.model_copy(update={"after": after})}}
    )
    assert make_verdict(report, "conditional").question == "marginal"


def test_a_rise_anywhere_is_in_the_headline(make: Callable[..., Report]) -> None:
    """Of an attribute that is not the leakiest, and in the question that was not asked."""
    report = make(channels=("colour",))
    found = report.attributes["colour"]
    assert found.change is not None
    up = Interval(estimate=0.25, lower=0.125, upper=0.375)
    change = found.change.model_copy(update={"conditional_leakage_bits": up})
    both = {"colour": found, "size": found.model_copy(update={"change": change})}
    verdict = make_verdict(report.model_copy(update={"attributes": both}))
    rise = "eakage of size given the target has risen by 0.250 bits (0.125 to 0.375)"
    assert f"; l{rise}; task accuracy" in verdict.headline
    assert f"L{rise}." in verdict.text
    assert "has risen" not in make_verdict(report).headline


def test_the_trained_head_has_its_say(make: Callable[..., Report]) -> None:
    report = make()
    head = HeadFindings(task=TaskSides(after=report.task.before))
    text = make_verdict(report.model_copy(update={"head": head})).text
    assert "The trained head itself: 70.0\u00a0%, 70.0\u00a0% in the worst group." in text


@pytest.mark.parametrize(
    ("rare", "auroc", "collapsed"),
    [(5, 0.8, False), (5, 0.45, True), (40, 0.8, True)],
    ids=["ranks the rare class", "ranks nothing", "even classes"],
)
def test_collapse_of_uneven_classes_is_judged_by_ranking(
    make: Callable[..., Report], rare: int, auroc: float, collapsed: bool
) -> None:
    report = make(accuracies=(0.9, 0.9))
    task = report.task.after
    assert isinstance(task, TaskFindings)
    rows = tuple(row.model_copy(update={"n": 60 if row.y == "cat" else rare}) for row in task.groups)
    never_names_it = {
        "balanced_accuracy": 0.5, "groups": rows, "auroc": auroc,
        "auroc_interval": Bounds(lower=auroc - 0.1, upper=auroc + 0.1),
    }  # fmt: skip
    sides = report.task.model_copy(update={"after": task.model_copy(update=never_names_it)})
    assert make_verdict(report.model_copy(update={"task": sides})).collapsed == collapsed
