from __future__ import annotations

import pytest

from mibias_cli.evaluation.leakage_findings import Finding, Interval, Leakage, ProbeFindings
from mibias_cli.evaluation.statistics.correction import correct, enough_permutations
from mibias_cli.evaluation.statistics.permutation import holm


def leakage(p: dict[str, float | None], conditional: dict[str, float | None]) -> Leakage:
    def finding(values: dict[str, float | None], headline: str) -> Finding:
        probes = {
            name: ProbeFindings(accuracy=0.5, leakage_bits=0.0, selection_bits=0.0, p_value=value)
            for name, value in values.items()
        }
        interval = Interval(estimate=0.0, lower=0.0, upper=0.0)
        return Finding(leakage_bits=interval, probes=probes, headline_probe=headline, p_value=values[headline])

    return Leakage(marginal=finding(p, "a"), conditional=finding(conditional, "b"), chance_accuracy=0.5)


def test_all_attributes_channels_and_probes_are_one_family_and_conditional_ones_another() -> None:
    red, green = leakage({"a": 0.004, "b": 0.5}, {"a": 0.3, "b": 0.02}), leakage({"a": 0.2, "b": 1.0}, {"a": 1, "b": 1})
    sex = leakage({"a": 0.03, "b": 0.6}, {"a": 0.7, "b": 0.001})
    found = correct({"colour": {"red": red, "green": green}, "sex": {"sex": sex}})
    expected = holm([0.004, 0.5, 0.2, 1.0, 0.03, 0.6])
    assert found["colour"]["red"].marginal.p_value_holm == expected[0]
    assert found["colour"]["green"].marginal.probes["a"].p_value_holm == expected[2]
    assert found["sex"]["sex"].marginal.probes["a"].p_value_holm == expected[4] == pytest.approx(0.15)
    given = holm([0.3, 0.02, 1, 1, 0.7, 0.001])
    pairs = ((found["sex"]["sex"], given[5]), (found["colour"]["red"], given[1]))
    assert all(each.conditional is not None and each.conditional.p_value_holm == p for each, p in pairs)


def test_without_tests_there_is_nothing_to_correct() -> None:
    plain = leakage({"a": None}, {"b": None})
    assert correct({"sex": {"sex": plain}}) == {"sex": {"sex": plain}}


@pytest.mark.parametrize("n_tests", [1, 30, 200])
def test_the_least_p_value_can_pass_after_correction(n_tests: int) -> None:
    least = 1 / (1 + enough_permutations(999, n_tests))
    assert holm([least, *[1.0] * (n_tests - 1)])[0] < 0.05
