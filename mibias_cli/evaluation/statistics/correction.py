"""Holm's correction of an extractor's permutation tests over attributes, channels and probes."""

from __future__ import annotations

from collections.abc import Mapping

from mibias_cli.evaluation.leakage_findings import QUESTIONS, Leakage
from mibias_cli.evaluation.statistics.permutation import holm

__all__ = ["correct", "enough_permutations"]


def enough_permutations(n_permutations: int, n_tests: int) -> int:
    """At least as many shuffles as let one of so many tests be significant after Holm's correction.

    The least p-value of B shuffles is 1 / (B + 1): of 999 shuffles and 60 tests none could ever pass .05.

    Example:
        >>> enough_permutations(999, 8), enough_permutations(999, 100), enough_permutations(0, 100)
        (999, 3999, 0)
    """
    return max(n_permutations, 40 * n_tests - 1) if n_permutations else 0


def correct(found: Mapping[str, Mapping[str, Leakage]]) -> dict[str, dict[str, Leakage]]:
    """Leakage by attribute and channel from one representation, with `p_value_holm` wherever there is a `p_value`.

    Marginal and conditional tests are two families: each answers a question of its own.
    """
    corrected = {name: dict(channels) for name, channels in found.items()}
    for question in QUESTIONS:
        answers = {
            (name, channel): finding
            for name, channels in found.items()
            for channel, leakage in channels.items()
            if (finding := leakage.answer(question)) is not None
        }
        # tests of one extractor are one family: attributes × channels × probes
        tests = {
            (place, probe): p.p_value
            for place, finding in answers.items()
            for probe, p in finding.probes.items()
            if p.p_value is not None
        }
        adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
        for (name, channel), finding in answers.items():
            probes = {
                probe: p.model_copy(update={"p_value_holm": adjusted.get(((name, channel), probe))})
                for probe, p in finding.probes.items()
            }
            changes = {"probes": probes, "p_value_holm": probes[finding.headline_probe].p_value_holm}
            answer: dict[str, object] = {question: finding.model_copy(update=changes)}
            corrected[name][channel] = corrected[name][channel].model_copy(update=answer)
    return corrected
