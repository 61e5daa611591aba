"""Holm's correction of an extractor's permutation tests over attributes, channels and probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mibias_cli.evaluation.findings import LeakageFindings, ProbeFindings
from mibias_cli.evaluation.statistics.permutation import holm

__all__ = ["correct", "enough_permutations"]

_KEYS = ("", "conditional_")


def enough_permutations(n_permutations: int, n_tests: int) -> int:
    """At least as many shuffles as let one of so many tests be significant after Holm's correction.

    The least p-value of B shuffles is 1 / (B + 1): of 999 shuffles and 60 tests none could ever pass .05.

    Example:
        >>> enough_permutations(999, 8), enough_permutations(999, 100), enough_permutations(0, 100)
        (999, 3999, 0)
    """
    return max(n_permutations, 40 * n_tests - 1) if n_permutations else 0


def correct(findings: Mapping[str, LeakageFindings]) -> dict[str, LeakageFindings]:
    """The findings of one extractor, by attribute, with `p_value_holm` filled in wherever there is a `p_value`.

    Marginal and conditional tests are two families: each answers a question of its own.
    """
    adjusted: dict[tuple[str, str, str, str], float] = {}
    for kind in _KEYS:
        tests = {
            (kind, name, channel, probe): p.p_value
            for name, found in findings.items()
            for channel, part in _channels(found, kind).items()
            for probe, p in _probes(part, kind).items()
            if p.p_value is not None
        }
        adjusted |= dict(zip(tests, holm(list(tests.values())), strict=True))

    def corrected(found: LeakageFindings, name: str, channel: str | None = None) -> LeakageFindings:
        changes: dict[str, object] = {}
        for kind in _KEYS:
            place = kind, name, channel or getattr(found, f"{kind}headline_channel")
            probes = {
                probe: replace(p, p_value_holm=adjusted.get((*place, probe)))
                for probe, p in _probes(found, kind).items()
            }
            changes[f"{kind}probes"] = probes
            top = probes.get(getattr(found, f"{kind}headline_probe"))
            changes[f"{kind}p_value_holm"] = None if top is None else top.p_value_holm
        return replace(found, **changes)  # type: ignore[arg-type]

    out = {}
    for name, found in findings.items():
        channels = {channel: corrected(part, name, channel) for channel, part in found.channels.items()}
        out[name] = replace(corrected(found, name), channels=channels)
    return out


def _channels(found: LeakageFindings, kind: str) -> dict[str, LeakageFindings]:
    return found.channels or {getattr(found, f"{kind}headline_channel"): found}


def _probes(found: LeakageFindings, kind: str) -> dict[str, ProbeFindings]:
    probes: dict[str, ProbeFindings] = getattr(found, f"{kind}probes")
    return probes
