from __future__ import annotations

import pytest

from mibias_cli.evaluation.findings import Interval, LeakageFindings, ProbeFindings
from mibias_cli.evaluation.statistics.correction import correct, enough_permutations
from mibias_cli.evaluation.statistics.permutation import holm


def leakage(
    p: dict[str, float], conditional: dict[str, float], channels: dict[str, LeakageFindings] | None = None
) -> LeakageFindings:
    def probes(values: dict[str, float]) -> dict[str, ProbeFindings]:
        return {
            name: ProbeFindings(accuracy=0.5, leakage_bits=0.0, selection_bits=0.0, p_value=value)
            for name, value in values.items()
        }

    interval = Interval(estimate=0.0, lower=0.0, upper=0.0)
    channel = next(iter(channels)) if channels else "c"
    return LeakageFindings(
        leakage_bits=interval, conditional_leakage_bits=interval, probes=probes(p),
        conditional_probes=probes(conditional), headline_probe="a", conditional_headline_probe="b",
        headline_channel=channel, conditional_headline_channel=channel, chance_accuracy=0.5, p_value=p["a"],
        conditional_p_value=conditional["b"], channels=channels or {},
    )  # fmt: skip


def test_all_attributes_channels_and_probes_are_one_family_and_conditional_ones_another() -> None:
    red, green = leakage({"a": 0.004, "b": 0.5}, {"a": 0.3, "b": 0.02}), leakage({"a": 0.2, "b": 1.0}, {"a": 1, "b": 1})
    colour = leakage({"a": 0.004, "b": 0.5}, {"a": 0.3, "b": 0.02}, {"red": red, "green": green})
    found = correct({"colour": colour, "sex": leakage({"a": 0.03, "b": 0.6}, {"a": 0.7, "b": 0.001})})
    expected = holm([0.004, 0.5, 0.2, 1.0, 0.03, 0.6])
    assert found["colour"].p_value_holm == found["colour"].channels["red"].p_value_holm == expected[0]
    assert found["colour"].channels["green"].probes["a"].p_value_holm == expected[2]
    assert found["sex"].probes["a"].p_value_holm == expected[4] == pytest.approx(0.15)
    given = holm([0.3, 0.02, 1, 1, 0.7, 0.001])
    assert found["sex"].conditional_p_value_holm == given[5]
    assert found["colour"].conditional_p_value_holm == given[1]


def test_without_tests_there_is_nothing_to_correct() -> None:
    plain = LeakageFindings(
        leakage_bits=Interval(estimate=0.0, lower=0.0, upper=0.0),
        conditional_leakage_bits=Interval(estimate=0.0, lower=0.0, upper=0.0),
        probes={"a": ProbeFindings(accuracy=0.5, leakage_bits=0.0, selection_bits=0.0)},
        conditional_probes={"a": ProbeFindings(accuracy=0.5, leakage_bits=0.0, selection_bits=0.0)},
        headline_probe="a", conditional_headline_probe="a", headline_channel="c", conditional_headline_channel="c",
        chance_accuracy=0.5,
    )  # fmt: skip
    assert correct({"sex": plain})["sex"] == plain


@pytest.mark.parametrize("n_tests", [1, 30, 200])
def test_the_least_p_value_can_pass_after_correction(n_tests: int) -> None:
    least = 1 / (1 + enough_permutations(999, n_tests))
    assert holm([least, *[1.0] * (n_tests - 1)])[0] < 0.05
