"""The verdict in plain words, sentence by sentence, on reports made by hand."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest

from mibias_cli.evaluation.leakage_findings import Bounds, Change, Interval, Leakage, Sides, SizeCurve, SizePoint
from mibias_cli.evaluation.task_findings import (
    ErrorRow,
    FairnessChange,
    FairnessFindings,
    FairnessSides,
    GroupRow,
    HeadFindings,
    NumberFigures,
    RegressionFindings,
    TaskChange,
    TaskFindings,
    TaskSides,
)
from mibias_cli.report.document import Report, make_report
from mibias_cli.report.html import render_html
from mibias_cli.report.markdown import render_markdown
from mibias_cli.report.summary import EMPTY_FEATURES, headline_note, summarise
from mibias_cli.report.task.summary import worse_clauses, worst_group_sentence
from mibias_cli.report.task.tables import task_table
from mibias_cli.report.verdict import make_verdict


def interval(estimate: float, reach: float) -> Interval:
    return Interval(estimate=estimate, lower=estimate - reach, upper=estimate + reach)


def with_task(report: Report, **changes: object) -> Report:
    return report.model_copy(update={"task": report.task.model_copy(update=changes)})


def rows(*given: tuple[str, str, int, float]) -> tuple[GroupRow, ...]:
    """Cells of target and place: (y, c, n, accuracy), with intervals of ± .05."""
    return tuple(
        GroupRow(
            attribute="place", channel="place", y=y, c=c, n=n, accuracy=accuracy, lower=max(accuracy - 0.05, 0),
            upper=accuracy + 0.05, counted=n >= 10,
        )
        for y, c, n, accuracy in given
    )  # fmt: skip


def grouped(report: Report, before: tuple[GroupRow, ...], after: tuple[GroupRow, ...]) -> Report:
    assert isinstance(report.task.before, TaskFindings)
    assert isinstance(report.task.after, TaskFindings)
    return with_task(
        report,
        before=report.task.before.model_copy(update={"groups": before}),
        after=report.task.after.model_copy(update={"groups": after}),
    )


def test_every_part_is_there_in_order(make: Callable[..., Report]) -> None:
    report = with_task(make(channels=("colour",)), change=TaskChange(accuracy=interval(0.2, 0.04)))
    assert summarise(report, "marginal") == (
        "What was asked for: features that tell less of colour.",
        "Leakage of colour fell from 0.800 to 0.050 of 2.000 bits (change −0.750, 95\u00a0% interval "
        "−0.780 to −0.720).",
        "Task accuracy did not pay for it: it rose from 70.0\u00a0% to 90.0\u00a0% (change +20.0\u00a0points, "
        "95\u00a0% interval +16.0 to +24.0).",
        "The worst group, before and after, is target cat with colour low (40 samples): 70.0\u00a0% right before, "
        "90.0\u00a0% right (interval 80.0 to 95.0\u00a0%) after; 1 other group is no better.",
        "What nobody can say from 88 samples: other probes than these may find more.",
    )


def test_the_verdict_holds_it_and_a_report_keeps_it(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    assert report.verdict.summary == summarise(report, "marginal")
    assert Report.model_validate(report.to_dict()).verdict.summary == report.verdict.summary


def test_a_difference_that_the_rows_cannot_tell_is_no_cost(make: Callable[..., Report]) -> None:
    report = with_task(make(accuracies=(0.9, 0.89)), change=TaskChange(accuracy=interval(-0.01, 0.02)))
    assert (
        "Task accuracy was 90.0\u00a0% and is 89.0\u00a0%: these 88 samples cannot tell a difference "
        "(change −1.0\u00a0points, 95\u00a0% interval −3.0 to +1.0)." in summarise(report, "marginal")
    )


def test_a_cost_is_named_of_the_rule_and_of_the_trained_head(make: Callable[..., Report]) -> None:
    report = with_task(make(accuracies=(0.9, 0.8)), change=TaskChange(accuracy=interval(-0.1, 0.02)))
    report = report.model_copy(update={"head": HeadFindings(task=report.task)})
    text = " ".join(summarise(report, "marginal"))
    assert (
        "Task accuracy (refitted head) paid for it: it fell from 90.0\u00a0% to 80.0\u00a0% (change −10.0\u00a0points"
        in text
    )
    assert "The trained head's own accuracy paid for it: it fell from 90.0\u00a0%" in text


@pytest.mark.parametrize(("change", "verb"), [(-0.1, "fell from 90.0"), (0.1, "rose from 70.0")])
def test_nothing_is_paid_where_no_leakage_fell(make: Callable[..., Report], change: float, verb: str) -> None:
    report = make(after=0.8, accuracies=(0.9, 0.8) if change < 0 else (0.7, 0.8))
    report = with_task(report, change=TaskChange(accuracy=interval(change, 0.02)))
    (cost,) = [sentence for sentence in summarise(report, "marginal") if sentence.startswith("Task accuracy")]
    assert cost.startswith(f"Task accuracy {verb}")


def test_a_report_of_before_changes_were_measured_claims_none(make: Callable[..., Report]) -> None:
    assert "Task accuracy was 70.0\u00a0% and is 90.0\u00a0%." in summarise(make(), "marginal")


def test_the_minima_of_two_groups_are_never_joined(make: Callable[..., Report]) -> None:
    before = rows(("bird", "land", 50, 0.2), ("bird", "water", 60, 0.95), ("fish", "land", 9, 0.0))
    after = rows(("bird", "land", 50, 0.9), ("bird", "water", 60, 0.7), ("fish", "land", 9, 0.0))
    assert worst_group_sentence(grouped(make(), before, after)) == (
        "The worst group now is target bird with place water (60 samples): 95.0\u00a0% right before, 70.0\u00a0% right "
        "(interval 65.0 to 75.0\u00a0%) after. Before, the worst was target bird with place land (50 samples): "
        "20.0\u00a0% right before, 90.0\u00a0% right (interval 85.0 to 95.0\u00a0%) after."
    )


def test_no_sample_right_is_said_as_what_it_is(make: Callable[..., Report]) -> None:
    before = rows(("2", "dark", 10, 0.0), ("2", "light", 30, 0.0), ("3", "dark", 30, 0.5))
    after = rows(("2", "dark", 10, 0.0), ("2", "light", 30, 0.4), ("3", "dark", 30, 0.0))
    # of two groups at 0 the one that was there before: it is the one that nothing helped
    assert worst_group_sentence(grouped(make(), before, after)) == (
        "The worst group, before and after, is target 2 with place dark (10 samples): no sample of this group is "
        "right, before or after (interval 0.0 to 5.0\u00a0%); 1 other group is no better."
    )


def test_the_worst_group_of_one_side_and_of_none(make: Callable[..., Report]) -> None:
    assert worst_group_sentence(make(before=None, channels=("colour",))) == (
        "The worst group is target cat with colour low (40 samples): 90.0\u00a0% right (interval 80.0 to "
        "95.0\u00a0%); 1 other group is no better."
    )
    few = rows(("bird", "land", 4, 0.2))
    assert "No group holds 10 samples" in worst_group_sentence(grouped(make(), few, few))


def test_all_follows_the_question_that_was_asked(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    found = report.attributes["colour"]
    assert found.after.conditional is not None
    limits = {"marginal": 2.5, "conditional": 0.0303}
    after = found.after.model_copy(
        update={
            name: answer.model_copy(update={"detectable_bits": limits[name]}) for name, answer in found.after.questions
        }
    )
    report = report.model_copy(update={"attributes": {"colour": found.model_copy(update={"after": after})}})
    said = summarise(report, "conditional")
    assert said[0] == "What was asked for: features that tell less of colour beyond what the target itself tells."
    # H(c | y) = 2 − .123, and half of the marginal leakage
    assert said[1].startswith("Leakage of colour given the target fell from 0.400 to 0.025 of 1.877 bits")
    assert (
        "leakage given the target below 0.031 bits of colour may go unnoticed (80\u00a0% power), and other" in said[-1]
    )
    # more than there is cannot leak
    assert "leakage below all 2.000 bits of colour may go unnoticed" in summarise(report, "marginal")[-1]
    assert "Leakage below all 2.000 bits may go unnoticed" in make_verdict(report).text


def test_no_change_and_nothing_left_are_said(make: Callable[..., Report]) -> None:
    assert "did not measurably change: it was 0.060 and is 0.050" in summarise(make(before=0.06), "marginal")[1]
    assert summarise(make(after=0.01), "marginal")[1].endswith("; what is left is not told apart from nothing.")


@pytest.mark.parametrize(("p_value", "is_none"), [(None, True), (0.06, True), (0.04, False)])
def test_what_shuffled_labels_tell_apart_is_not_called_nothing(
    make: Callable[..., Report], p_value: float | None, is_none: bool
) -> None:
    report = make(after=0.01, channels=("colour",))
    found = report.attributes["colour"]
    marginal = found.after.marginal.model_copy(update={"p_value_holm": p_value})
    after = found.after.model_copy(update={"marginal": marginal})
    report = report.model_copy(update={"attributes": {"colour": found.model_copy(update={"after": after})}})
    assert summarise(report, "marginal")[1].endswith("not told apart from nothing.") == is_none


def test_what_was_not_asked_for_is_no_request(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    both = report.model_copy(update={"attributes": {"size": report.attributes["colour"], **report.attributes}})
    assert summarise(both, "marginal", ["colour"])[0] == (
        "What was asked for: features that tell less of colour. Measured beside it, and not asked for: size."
    )
    assert summarise(both, "marginal", ())[0] == "What was measured: how much the features tell of size and colour."
    alone = summarise(make(before=None, channels=("colour",)), "marginal")
    assert alone[0] == "What was measured: how much the features tell of colour."
    assert alone[1] == "Leakage of colour is 0.050 of 2.000 bits (95\u00a0% interval 0.030 to 0.070)."


def test_a_rise_is_first_among_attributes_and_never_left_out(make: Callable[..., Report]) -> None:
    found = make(channels=("colour",)).attributes["colour"]
    up = found.model_copy(
        update={"change": Change(leakage_bits=interval(0.2, 0.1), conditional_leakage_bits=interval(0.3, 0.1))}
    )
    many = {f"a{k}": found for k in range(5)} | {"z": up}
    report = make(channels=("colour",)).model_copy(update={"attributes": many})
    said = summarise(report, "marginal")
    assert said[1].startswith("Leakage of z rose from 0.800")
    assert "Of 3 further attributes no larger share is left." in said
    # the question that nobody asked has risen, too
    worse = next(sentence for sentence in said if sentence.startswith("Worse than before"))
    assert "leakage of z given the target has risen by 0.300 bits (0.200 to 0.400)" in worse


def test_task_figures_that_got_worse_are_named(make: Callable[..., Report]) -> None:
    report = grouped(
        make(channels=("colour",)),
        rows(("bird", "land", 50, 0.9), ("bird", "water", 50, 0.9), ("fish", "land", 50, 0.8)),
        rows(("bird", "land", 50, 0.5), ("bird", "water", 50, 0.85), ("fish", "land", 50, 0.69)),
    )
    nothing = FairnessFindings(
        positive_class=None, groups_left_out=(), demographic_parity_difference=None, demographic_parity_ratio=None,
        equal_opportunity_difference=None, equal_opportunity_ratio=None, equalized_odds_difference=None,
        equalized_odds_ratio=None, bias_amplification=None,
    )  # fmt: skip
    change = FairnessChange(
        demographic_parity_difference=interval(0.05, 0.02), equalized_odds_difference=interval(0.05, 0.06)
    )
    report = report.model_copy(
        update={"fairness": {"colour": FairnessSides(before=nothing, after=nothing, change=change)}}
    )
    before, after = (
        task.model_copy(update={"auroc": area, "auroc_interval": Bounds(lower=area - 0.01, upper=area + 0.01)})
        for task, area in ((report.task.before, 0.9), (report.task.after, 0.8))
        if isinstance(task, TaskFindings)
    )
    report = with_task(report, before=before, after=after, change=TaskChange(balanced_accuracy=interval(-0.02, 0.01)))
    assert worse_clauses(report) == [
        "balanced accuracy fell by 2.0\u00a0points",
        "AUROC fell from 0.900 to 0.800",
        "target bird with place land (50 samples): 90.0\u00a0% right before, 50.0\u00a0% right (interval 45.0 to "
        "55.0\u00a0%) after, and 1 other group is worse",
        "demographic parity difference of colour rose by 0.050 (0.030 to 0.070)",
    ]
    assert worse_clauses(make()) == []


def test_a_collapse_comes_first(make: Callable[..., Report]) -> None:
    assert make(ranks=(9.0, 0.0)).verdict.summary[0] == EMPTY_FEATURES
    assert EMPTY_FEATURES not in make().verdict.summary


def curve(half: float, whole: float, *, grows: bool) -> SizeCurve:
    points = tuple(SizePoint(n_fit=n, leakage_bits=interval(v, 0.05)) for n, v in ((100, half), (200, whole)))
    return SizeCurve(
        question="marginal", probe="gradient_boosting", channel="colour", points=points,
        last_step_bits=interval(whole - half, 0.02), tolerance_bits=0.01, grows_with_n=grows,
    )  # fmt: skip


@pytest.mark.parametrize("grows", [True, False])
def test_an_estimate_that_still_grows_is_unreliable(make: Callable[..., Report], grows: bool) -> None:
    found = make(channels=("colour",)).attributes["colour"]
    sizes = Sides[SizeCurve](before=curve(0.7, 0.8, grows=False), after=curve(0.01, 0.05, grows=grows))
    report = make(channels=("colour",)).model_copy(
        update={"attributes": {"colour": found.model_copy(update={"sizes": sizes})}}
    )
    last = summarise(report, "marginal")[-1]
    told = (
        "Unreliable: leakage of colour still grows with n: after, the gradient boosting probe finds 0.010 bits from "
        "100 samples and 0.050 from 200. Fitted on more samples, probes would find more."
    )
    assert (last == told) == grows


def test_without_a_task_nothing_is_said_of_one(make: Callable[..., Report]) -> None:
    said = summarise(make().model_copy(update={"task": TaskSides()}), "marginal")
    assert "What it cost in accuracy was not measured: the audit had no task." in said
    assert not any("worst group" in sentence for sentence in said)


def test_make_report_passes_on_what_was_asked(make: Callable[..., Report]) -> None:
    found = make(channels=("colour",))
    assert make_report(found, {}, debiased=()).verdict.summary[0].startswith("What was measured")


def test_pooled_classes_of_every_channel_and_column_are_told(make: Callable[..., Report]) -> None:
    report = make()
    found = report.attributes["colour"]
    # the headline is of the first channel, but the second has figures, too
    channels = {**found.channels, "green": found.channels["green"].model_copy(update={"pooled": ("low", "never")})}
    report = report.model_copy(update={"attributes": {"colour": found.model_copy(update={"channels": channels})}})
    told = [line for line in summarise(report, "marginal") if "counted together" in line]
    assert told == [
        "Classes of colour, green that probes counted together, as some have too few samples: low and never; "
        "H(c) and I(y; c) are of all classes as they are."
    ]


@pytest.mark.parametrize(("before", "change"), [(0.9352, -0.0003), (0.9346, 0.0008), (0.9344, 0.0002)])
def test_what_is_written_alike_neither_rose_nor_fell(make: Callable[..., Report], before: float, change: float) -> None:
    sure = Interval(estimate=change, lower=change - 1e-4, upper=change + 1e-4)
    report = with_task(
        make(before=before, after=before + change, accuracies=(before, before + change)),
        change=TaskChange(accuracy=sure),
    )
    (name, found), *_ = report.attributes.items()
    found = found.model_copy(update={"change": Change(leakage_bits=sure, conditional_leakage_bits=None)})
    report = report.model_copy(update={"attributes": {name: found}, "head": HeadFindings(task=report.task)})
    text = " ".join(summarise(report, "marginal"))
    assert "Leakage of colour hardly changed: it was 0.93" in text
    assert "Task accuracy (refitted head) hardly changed: it was 93." in text
    assert "The trained head's own accuracy hardly changed: it was 93." in text
    assert "fell" not in text
    assert "rose" not in text
    # the sentence of the attribute names a rise that its digits show
    assert ("leakage has risen" in make_verdict(report).text) == (change == 0.0008)


def test_figures_that_are_written_alike_are_not_worse(make: Callable[..., Report]) -> None:
    report = make(channels=("colour",))
    before, after = (
        task.model_copy(
            update={
                "auroc": area, "auroc_interval": Bounds(lower=area - 1e-5, upper=area + 1e-5),
                "calibration_error": 1 - area, "calibration_error_interval": Bounds(lower=1 - area, upper=1 - area),
                "groups": (row.model_copy(update={"accuracy": area, "lower": area - 1e-5, "upper": area + 1e-5}),),
            }
        )
        for task, area in ((report.task.before, 0.9502), (report.task.after, 0.9501))
        if isinstance(task, TaskFindings)
        for row in task.groups[:1]
    )  # fmt: skip
    small = Interval(estimate=-1e-4, lower=-2e-4, upper=-5e-5)
    report = with_task(report, before=before, after=after, change=TaskChange(balanced_accuracy=small))
    assert worse_clauses(report) == []


@pytest.mark.parametrize(
    ("n_attributes", "last"), [(1, "1 further fairness figure rose"), (2, "5 further fairness figures rose")]
)
def test_figures_that_are_not_named_are_counted(make: Callable[..., Report], n_attributes: int, last: str) -> None:
    rose = Interval(estimate=0.2, lower=0.1, upper=0.3)
    change = FairnessChange(
        demographic_parity_difference=rose, equal_opportunity_difference=rose, equalized_odds_difference=rose,
        bias_amplification=rose,
    )  # fmt: skip
    sides = FairnessSides.model_construct(change=change)
    report = make().model_copy(update={"fairness": {f"colour {k}": sides for k in range(n_attributes)}})
    assert worse_clauses(report)[-1] == last


def above(report: Report, *sides: str) -> Report:
    """The report with .9 bits by the logistic probe on these sides, where another probe is the headline's."""
    found = report.attributes["colour"]

    def changed(side: str) -> Leakage | None:
        at = getattr(found, side)
        if side not in sides or at is None:
            return at
        better = at.marginal.probes["logistic"].model_copy(update={"leakage_bits": 0.9})
        probes = {**at.marginal.probes, "logistic": better}
        return at.model_copy(update={"marginal": at.marginal.model_copy(update={"probes": probes})})

    new = found.model_copy(update={side: changed(side) for side in ("before", "after")})
    return report.model_copy(update={"attributes": {"colour": new}})


def test_where_another_probe_finds_more_than_the_headlines_one_line_says_so(make: Callable[..., Report]) -> None:
    """Once in every form, for both sides; nothing is said where the headline is the largest figure."""
    report = make(channels=("colour",))
    assert headline_note(report) == ""
    assert "Other probes find more" not in render_html(report) + render_markdown(report)
    clauses = {
        "before": "colour, before: logistic 0.900 (headline: gradient boosting 0.800)",
        "after": "colour, after: logistic 0.900 (headline: gradient boosting 0.050)",
    }
    for sides in (("before",), ("after",), ("before", "after")):
        found = above(report, *sides)
        listed = "; ".join(clauses[side] for side in sides)
        start = f"Other probes find more than the headline's on these samples, in bits: {listed}. "
        assert headline_note(found).startswith(start)
        assert html.unescape(render_html(found)).count(start) == 1
        assert render_markdown(found).count(start) == 1


def of_numbers(*columns: tuple[str, float]) -> RegressionFindings:
    """Errors of columns, each of one size in group "old" and half of it in "new", with deviations of 10 and .1."""
    units = dict(zip(("age", "height"), (10.0, 0.1), strict=True)) if len(columns) > 1 else {columns[0][0]: 1.0}
    errors = tuple(
        ErrorRow(
            attribute="place", channel="place", column=name, c=c, n=40, mae=mae * share, lower=None, upper=None,
            rmse=mae, mean_error=0.0, counted=True,
        )
        for name, mae in columns
        for c, share in (("old", 1.0), ("new", 0.5))
    )  # fmt: skip
    mean = sum(mae / units[name] for name, mae in columns) / len(columns)
    found = {
        name: NumberFigures(r2=0.5, mae=mae, rmse=mae, worst_group_mae=mae, unit=units[name]) for name, mae in columns
    }
    return RegressionFindings(
        r2=interval(0.5, 0.1), mae=interval(mean, 0), rmse=interval(mean, 0), worst_group_mae=mean, gap_mae=0.0,
        columns=found, group_errors=errors,
    )  # fmt: skip


def test_errors_over_several_columns_are_told_in_deviations_and_each_column_in_its_unit(
    make: Callable[..., Report],
) -> None:
    two = of_numbers(("age", 5.0), ("height", 0.2))
    rose = TaskChange(mae=Interval(estimate=0.25, lower=0.2, upper=0.3))
    report = with_task(make(), before=two, after=two, change=rose)
    # (5 / 10 + .2 / .1) / 2
    assert "a mean absolute error of 1.25 standard deviations" in worst_group_sentence(report)
    assert "the mean absolute error rose by 0.25 standard deviations" in worse_clauses(report)
    labels = [row.cells[0].text for row in task_table(report).lines]
    assert "Mean absolute error, in standard deviations" in labels
    assert "R²" in labels
    assert "age: Mean absolute error" in labels


def test_errors_of_one_column_are_in_its_unit(make: Callable[..., Report]) -> None:
    one = of_numbers(("age", 5.0))
    rose = TaskChange(mae=Interval(estimate=0.25, lower=0.2, upper=0.3))
    report = with_task(make(), before=one, after=one, change=rose)
    assert "a mean absolute error of 5 before" in worst_group_sentence(report)
    assert "deviation" not in worst_group_sentence(report) + " ".join(worse_clauses(report))
    assert not any("deviation" in row.cells[0].text for row in task_table(report).lines)
