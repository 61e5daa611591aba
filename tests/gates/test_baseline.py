from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mibias_cli.evaluation.leakage_findings import ProbeFindings
from mibias_cli.gates.baseline import Tolerance, baseline_gates, difference
from mibias_cli.gates.figure_names import Figure
from mibias_cli.report.document import Report

Make = Callable[..., Report]


def statuses(new: Report, old: Report, tolerance: Tolerance) -> list[str]:
    return [gate.status for gate in baseline_gates(new, old, tolerance)]


def test_the_same_report_passes_without_tolerance(make: Make) -> None:
    assert statuses(make(), make(), Tolerance()) == ["pass"] * 3


def test_a_clear_rise_fails_a_slight_one_is_inconclusive_a_fall_passes(make: Make) -> None:
    # half-widths are 0.02 each, so a difference has one of 0.0283
    assert statuses(make(after=0.5), make(after=0.05), Tolerance())[0] == "fail"
    assert statuses(make(after=0.07), make(after=0.05), Tolerance())[0] == "inconclusive"
    assert statuses(make(after=0.07), make(after=0.05), Tolerance(leakage_bits=0.03))[0] == "pass"
    assert statuses(make(after=0.01), make(after=0.05), Tolerance())[0] == "pass"


def test_accuracy_may_not_fall(make: Make) -> None:
    lower, higher = make(accuracies=(0.7, 0.6)), make(accuracies=(0.7, 0.9))
    assert statuses(lower, higher, Tolerance())[2] == "fail"
    assert statuses(higher, lower, Tolerance())[2] == "pass"
    assert statuses(lower, higher, Tolerance(accuracy=0.31))[2] == "pass"


def test_an_attribute_that_is_gone_is_an_error(make: Make) -> None:
    gates = baseline_gates(make(name="place"), make(name="colour"), Tolerance())
    assert [gate.status for gate in gates] == ["error", "error", "error", "error", "pass"]
    assert "'colour'" in gates[0].message
    # nor can one be compared of which the baseline says nothing
    assert gates[2].message.startswith("baseline: the report has no 'place'")


def test_other_data_are_named(make: Make) -> None:
    old = make().model_copy(update={"provenance": {"data_sha256": "other"}})
    assert "not those of the baseline" in baseline_gates(make(), old, Tolerance())[0].message


def test_other_probes_are_named(make: Make) -> None:
    new = make()
    probes = ("logistic", "quadratic", "gradient_boosting")
    old = new.model_copy(update={"settings": new.settings.model_copy(update={"probes": probes})})
    assert baseline_gates(new, old, Tolerance())[0].message.endswith("(audited without quadratic, unlike the baseline)")
    assert baseline_gates(old, new, Tolerance())[2].message.endswith("(audited with quadratic, unlike the baseline)")
    assert "audited with" not in baseline_gates(new, new, Tolerance())[0].message


def test_a_head_that_was_not_there_is_no_probe_more(make: Make) -> None:
    def by(*probes: str) -> Report:
        return make().model_copy(update={"settings": make().settings.model_copy(update={"probes": probes})})

    old, new = by("logistic", "quadratic"), by("logistic", "quadratic", "head")
    assert "audited with" not in baseline_gates(new, old, Tolerance())[0].message
    name, found = next(iter(new.attributes.items()))
    told = {**found.after.marginal.probes, "head": ProbeFindings(leakage_bits=0.01)}
    marginal = found.after.marginal.model_copy(update={"probes": told})
    found = found.model_copy(update={"after": found.after.model_copy(update={"marginal": marginal})})
    new = new.model_copy(update={"attributes": {**new.attributes, name: found}})
    assert "audited with head, unlike the baseline" in baseline_gates(new, old, Tolerance())[0].message


def test_a_difference_covers_as_often_as_its_parts() -> None:
    """Of 4,000 differences of two independent normals with 95 % intervals; the standard error of a share is 0.35 %."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 2, 4000), rng.normal(3, 1, 4000)
    half = 1.959964
    hits = 0
    for x, y in zip(a, b, strict=True):
        found = difference(
            Figure(estimate=x, lower=x - half * 2, upper=x + half * 2),
            Figure(estimate=y, lower=y - half, upper=y + half),
        )
        assert found.lower is not None
        assert found.upper is not None
        hits += found.lower <= -2 <= found.upper
    assert hits / 4000 == pytest.approx(0.95, abs=0.012)
    assert found.upper - found.lower == pytest.approx(2 * half * math.sqrt(5))


def test_a_difference_of_plain_numbers_has_no_interval() -> None:
    assert difference(Figure(estimate=2), Figure(estimate=1, lower=0, upper=2)) == Figure(estimate=1)
