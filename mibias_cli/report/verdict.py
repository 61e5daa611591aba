"""The verdict: what may honestly be said of an audit in a sentence or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mibias_cli.evaluation.fidelity import has_collapsed
from mibias_cli.report.numbers import ceil_bits, format_bits, format_interval, format_p, format_percent, format_plain
from mibias_cli.report.score import format_score, has_before, kind_of, task_score

__all__ = ["collapse_reasons", "make_verdict"]

CHANCE_MARGIN = 0.05
MAX_NAMED = 3


def make_verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on a report in the form of leakage.json.

    A probe that fails proves nothing about what a better probe would find: so the text says what was extracted, never
    that there is no leakage. Features that hold nothing leak nothing; that is named a collapse.

    Returns:
        `headline` (one sentence), `text` (the whole), `collapsed`, `reasons` (of a collapse), `caution` (of features
        with few directions left that tell the target still; empty elsewhere), and a sentence for each attribute.
    """
    reasons = collapse_reasons(report)
    sentences = {name: _attribute_sentence(name, found, report) for name, found in report["attributes"].items()}
    parts = []
    if reasons:
        parts.append(
            f"Collapsed, not debiased: {'; '.join(reasons)}. Features that hold nothing leak nothing, so low leakage "
            "below is no success."
        )
    parts += sentences.values()
    parts.append(_task_sentence(report))
    caution = _caution(report, reasons)
    if caution:
        parts.append(caution)
    return {
        "headline": _headline(report, reasons),
        "text": " ".join(parts),
        "collapsed": bool(reasons),
        "reasons": reasons,
        "caution": caution,
        "attributes": sentences,
    }


def _headline(report: Mapping[str, Any], reasons: list[str]) -> str:
    """The verdict in one sentence: what the leakiest attributes leak at most, and at which accuracy."""
    if reasons:
        return f"Collapsed, not debiased: {'; '.join(reasons)}."
    shares = {
        name: _most(name, found) / found["entropy_bits"] if found["entropy_bits"] else 0.0
        for name, found in report["attributes"].items()
    }
    worst = sorted(shares, key=lambda name: -shares[name])[:MAX_NAMED]
    unlimited: list[str] = []
    limited: list[str] = []
    for name in worst:
        found = report["attributes"][name]
        limit = _limit(name, found)
        (unlimited if limit is None else limited).append(f"{limit or ''} of the {_entropy(name, found)}".strip())
    clauses = [f"Probes here may extract all {_listed(unlimited)}"] if unlimited else []
    if limited:
        clauses.append(f"{'no' if clauses else 'No'} probe here extracts {_listed(limited)}")
    text = "; ".join(clauses)
    if len(shares) > len(worst):
        text += f"; of {len(shares) - len(worst)} further attributes no larger share"
    score = task_score(report, "after")
    if score is None:
        return f"{text}."
    return f"{text}; {score['name']} is {format_score(report, 'after')}{_before(report)}"


def _entropy(name: str, found: Mapping[str, Any]) -> str:
    """What there is to extract, and what was before."""
    text = f"{format_bits(found['entropy_bits'])} bits of {name}"
    before = found["before"]
    return text if before is None else f"{text} (before {format_bits(before['leakage_bits']['estimate'])})"


def _limit(name: str, found: Mapping[str, Any]) -> str | None:
    """What no probe exceeds; None where that is no less than all there is, as intervals of small samples may reach."""
    most = _most(name, found)
    if most <= 0:
        return "any"
    return None if most >= found["entropy_bits"] else f"more than {ceil_bits(most)}"


def _most(name: str, found: Mapping[str, Any]) -> float:
    """The upper end of the headline's interval, or what the strongest of all probes scored, if that is more."""
    channels = found["channels"] or {name: found}
    scored = [p["leakage_bits"] for channel in channels.values() for p in channel["after"]["probes"].values()]
    return float(max([found["after"]["leakage_bits"]["upper"], *(value for value in scored if value is not None)]))


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def collapse_reasons(report: Mapping[str, Any]) -> list[str]:
    """Why the audited features count as collapsed; empty where they do not.

    A fall of the effective rank counts where the task fell with it, see `has_collapsed`.
    """
    rank, rank_before = _ranks(report)
    kind, n_classes = kind_of(report), _n_classes(report)
    before, after = _beyond_chance(report, "before"), _beyond_chance(report, "after")
    kept = None if before is None or after is None else (before, after)
    reasons = []
    if has_collapsed(rank, rank_before, n_classes=n_classes, kept=kept):
        if rank < 1:
            reasons.append("the features are constant (effective rank 0)")
        elif rank_before is not None:
            reasons.append(f"the effective rank fell from {format_plain(rank_before)} to {format_plain(rank)}")
        else:
            reasons.append(f"the effective rank is {format_plain(rank)} for a target of {n_classes} classes")
    elif (report.get("fidelity") or {}).get("collapsed"):
        reasons.append(f"the features have lost nearly all their directions (effective rank {format_plain(rank)})")
    reasons += _chance_reasons(report, kind, n_classes)
    return reasons


def _caution(report: Mapping[str, Any], reasons: list[str]) -> str:
    """What is said where features have lost most directions and yet tell the target; else empty."""
    rank, rank_before = _ranks(report)
    if reasons or rank_before is None or not has_collapsed(rank, rank_before, n_classes=0):
        return ""
    return (
        f"The features have few directions left: their effective rank fell from {format_plain(rank_before)} to "
        f"{format_plain(rank)}. They tell the target still; for other tasks they may be poor."
    )


def _ranks(report: Mapping[str, Any]) -> tuple[float, float | None]:
    similarity = report["similarity"]
    return similarity["effective_rank_after"], similarity["effective_rank_before"]


def _n_classes(report: Mapping[str, Any]) -> int:
    if kind_of(report) != "classes":
        return 0
    return len({row["y"] for row in report["task"]["after"]["groups"] if row["n"]})


def _beyond_chance(report: Mapping[str, Any], side: str) -> float | None:
    """Balanced accuracy beyond chance, or R²; None where there is no such figure."""
    task, kind = report["task"][side], kind_of(report)
    if task is None or kind == "regression":
        return None if task is None else task["r2"]
    n_classes = 2 if kind == "multilabel" else _n_classes(report)
    reached = task["balanced_accuracy"]
    return None if reached is None or not n_classes else reached - 1 / n_classes


def _chance_reasons(report: Mapping[str, Any], kind: str, n_classes: int) -> list[str]:
    """Features that tell next to nothing of the target, or of the original where there is no target."""
    if kind in ("regression", "none"):
        score = task_score(report, "after")
        if score is None or score["estimate"] is None or score["estimate"] >= CHANCE_MARGIN:
            return []
        return [f"{score['name']} is {format_score(report, 'after')}"]
    reached = report["task"]["after"]["balanced_accuracy"]
    n_classes = 2 if kind == "multilabel" else n_classes
    if n_classes > 1 and reached is not None and reached < 1 / n_classes + CHANCE_MARGIN * (1 - 1 / n_classes):
        chance = format_percent(1 / n_classes)
        return [f"balanced accuracy on the task is {format_percent(reached)}, chance is {chance}"]
    return []


def _attribute_sentence(name: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    before, after, change = found["before"], found["after"], found["change"]
    confidence = f"{100 * report['settings']['confidence']:g} %"
    interval = after["leakage_bits"]
    limit = _limit(name, found)
    features = "audited" if before is None else "debiased"
    channel = f" on channel {after['headline_channel']}" if found["channels"] else ""
    subject = "Probes here may extract all" if limit is None else f"No probe here extracts {limit}"
    text = (
        f"{subject} of the {format_bits(found['entropy_bits'])} bits of {name} "
        f"from the {features} features (strongest: {after['headline_probe'].replace('_', ' ')}{channel}, "
        f"{format_bits(interval['estimate'])} bits, {confidence} interval {format_interval(interval)})"
    )
    if before is not None and change is not None:
        earlier = before["leakage_bits"]
        text += f"; before it was {format_bits(earlier['estimate'])} ({format_interval(earlier)})"
        if change["leakage_bits"]["lower"] > 0:
            text += ": leakage has risen"
        elif change["leakage_bits"]["upper"] >= 0:
            text += ": not measurably less than before"
    return text + "." + _power_sentence(after)


def _power_sentence(after: Mapping[str, Any]) -> str:
    """What would have gone unnoticed; empty where nobody worked it out."""
    detectable, p_value = after.get("detectable_bits"), after.get("p_value_holm")
    chance = "" if p_value is None else f" Shuffled labels reach this with p = {format_p(p_value)} (Holm)."
    if detectable is None:
        return chance
    return (
        f"{chance} Leakage below {ceil_bits(detectable)} bits may go unnoticed in a sample of this size (80 % power)."
    )


def _task_sentence(report: Mapping[str, Any]) -> str:
    score, kind = task_score(report, "after"), kind_of(report)
    if score is None:
        return "Nothing was asked of a task."
    if kind == "none":
        return (
            "There is no task: a linear map from the audited features gives back the original ones with an R² of "
            f"{format_score(report, 'after')}."
        )
    name = score["name"][0].upper() + score["name"][1:]
    return f"{name} on the audited split: {format_score(report, 'after')}{_before(report)}"


def _before(report: Mapping[str, Any]) -> str:
    """What the score was before, and the full stop."""
    known = has_before(report) and kind_of(report) != "none" and task_score(report, "before") is not None
    return f", before {format_score(report, 'before')}." if known else "."
