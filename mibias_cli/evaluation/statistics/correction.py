"""Holm's correction of an extractor's permutation tests over attributes, channels and probes."""

from __future__ import annotations

from collections.abc import Mapping

from mibias_cli.evaluation.leakage_findings import Finding, Leakage
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
    # each question's tests of one extractor are one family: attributes × channels × probes
    adjusted: dict[tuple[str, str, str, str], float] = {}
    for question in ("marginal", "conditional"):
        tests = {
            (question, name, channel, probe): p.p_value
            for name, channels in found.items()
            for channel, leakage in channels.items()
            for asked, finding in leakage.questions
            for probe, p in finding.probes.items()
            if asked == question and p.p_value is not None
        }
        adjusted |= dict(zip(tests, holm(list(tests.values())), strict=True))

    def corrected(name: str, channel: str, leakage: Leakage) -> Leakage:
        changes: dict[str, Finding] = {}
        for question, finding in leakage.questions:
            probes = {
                probe: p.model_copy(update={"p_value_holm": adjusted.get((question, name, channel, probe))})
                for probe, p in finding.probes.items()
            }
            top = probes[finding.headline_probe].p_value_holm
            changes[question] = finding.model_copy(update={"probes": probes, "p_value_holm": top})
        return leakage.model_copy(update=changes)

    return {
        name: {channel: corrected(name, channel, leakage) for channel, leakage in channels.items()}
        for name, channels in found.items()
    }
