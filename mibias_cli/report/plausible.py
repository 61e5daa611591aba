"""Figures that no audit writes: what an edited or a damaged report gives itself away by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

from mibias_cli.evaluation.leakage_findings import NO_PROBE, AttributeFindings, Finding

__all__ = ["implausible", "once_each"]

_SHARES = {
    "accuracy", "balanced_accuracy", "worst_group_accuracy", "chance_accuracy",
    "p_value", "p_value_holm", "conditional_p_value", "conditional_p_value_holm",
}  # fmt: skip
_NUMBERS = {*_SHARES, "estimate", "lower", "upper", "entropy_bits"}
_ROUNDING = 1e-9
_MOST_ROWS = 10**15


def once_each(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, for `json.loads`; a ValueError where a key stands twice: readers differ in which counts."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def implausible(plain: Mapping[str, object], attributes: Mapping[str, AttributeFindings]) -> Iterator[str]:
    """What cannot be, as sentences: in the plain report, and where figures of it that are one do not agree."""
    # a difference may be negative, and what others say of a run is no figure of the audit
    for name, value in plain.items():
        if name not in ("provenance", "gates", "verdict", "training_warnings"):
            yield from _tree(value, name)
    for name, found in attributes.items():
        yield from _attribute(name, found)


def _tree(value: object, place: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _tree(item, f"{place}.{index}")
    if not isinstance(value, Mapping):
        return
    lower, upper = value.get("lower"), value.get("upper")
    if _is_number(lower) and _is_number(upper) and lower > upper + _ROUNDING:
        yield f"the interval of {place} ends ({upper:g}) before it begins ({lower:g})"
    for key, item in value.items():
        there = f"{place}.{key}"
        # classes, groups and attributes may be called like a figure, but are no single values
        if key in _NUMBERS and isinstance(item, str | bool):
            yield f"{there} is {item!r}, no number"
        elif key in _SHARES and _is_number(item) and not -_ROUNDING <= item <= 1 + _ROUNDING:
            yield f"{there} is {item:g}, and lies between 0 and 1 by its meaning"
        elif key == "entropy_bits" and _is_number(item) and item < -_ROUNDING:
            yield f"{there} is {item:g}, and no entropy is negative"
        elif key.startswith("n_") and _is_number(item) and item > _MOST_ROWS:
            yield f"{there} counts more than any data set holds"
        elif key != "change":
            yield from _tree(item, there)


def _attribute(name: str, found: AttributeFindings) -> Iterator[str]:
    sides = {"before": found.before, "after": found.after, "loaded": found.loaded, "random": found.random}
    for side, leakage in sides.items():
        for question, answer in leakage.questions if leakage is not None else ():
            # a regressor's gain on a number is no share of the entropy of its bins
            whole = found.whole_bits("marginal", answer.headline_channel) if found.kind == "categorical" else math.inf
            yield from _finding(f"{question} leakage of {name} ({side})", answer, whole)
    before, after = found.before, found.after
    if before is None or found.change is None:
        return
    for question, answer in after.questions:
        change, start = found.change.answer(question), before.answer(question)
        if change is None or start is None:
            continue
        expected = answer.leakage_bits.estimate - start.leakage_bits.estimate
        if not _same(change.estimate, expected):
            what = f"the change of {question} leakage of {name}"
            yield f"{what} is {change.estimate:g} bits, but {expected:g} by both sides"


def _finding(what: str, answer: Finding, entropy_bits: float) -> Iterator[str]:
    bits, probe = answer.leakage_bits, answer.probes.get(answer.headline_probe)
    # reports by hand, or of long ago, may name none
    if probe is None and answer.headline_probe not in ("", NO_PROBE):
        yield f"{what} is of the probe {answer.headline_probe!r}, which is not among its probes"
    # the same number twice: an audit writes both from one
    if probe is not None and not _same(probe.leakage_bits, bits.estimate):
        yield f"{what} is {bits.estimate:g} bits, but {probe.leakage_bits:g} by its own probe ({answer.headline_probe})"
    # no features tell more of an attribute than there is of it; scored rows may hold somewhat more than all of them
    if bits.estimate > 1 + 1.5 * entropy_bits:
        yield f"{what} is {bits.estimate:g} bits of the {entropy_bits:g} that there are"
    # a mean lies about where its resamples do
    width = bits.upper - bits.lower + 0.01
    if bits.estimate > bits.upper + width or bits.estimate < bits.lower - width:
        yield f"{what} is {bits.estimate:g} bits, far outside of its interval ({bits.lower:g} to {bits.upper:g})"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
