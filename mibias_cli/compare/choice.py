"""Who is on the frontier, what is chosen without unbiased data, and what should be known before it is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mibias_cli.compare.records import SEEDS, ComparedRun, Group, Row

__all__ = ["as_good_as", "choice_note", "choose", "frontier_members", "notes", "on_same_data", "with_frontier"]

MAX_NAMED = 5


def with_frontier(groups: Sequence[Group]) -> list[Group]:
    """The groups, marked for each attribute where no other leaks less at no less accuracy."""
    names = {name for group in groups for name in group.attributes}
    # features that hold nothing leak nothing: a group with a collapsed run must not beat the others
    members = {
        name: frontier_members([None if group.collapsed else group.point(name) for group in groups]) for name in names
    }

    def marked(k: int, group: Group) -> Group:
        found = group.attributes.items()
        own = {name: figures.model_copy(update={"on_frontier": members[name][k]}) for name, figures in found}
        return group.model_copy(update={"attributes": own})

    return [marked(k, group) for k, group in enumerate(groups)]


def frontier_members(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which points (leakage, accuracy) no other beats: none leaks less at no less accuracy, or as little at more.

    Example:
        >>> frontier_members([(0.1, 0.8), (0.2, 0.7), (0.3, 0.9), None])
        [True, False, True, False]
    """

    # two equal points do not beat each other: both are on the frontier
    def beaten(point: tuple[float, float]) -> bool:
        return any(p is not None and p != point and p[0] <= point[0] and p[1] >= point[1] for p in points)

    return [point is not None and not beaten(point) for point in points]


def choose(groups: Sequence[Group]) -> Group | None:
    """The group of the highest net gain: information on the target beyond the bias, less leakage beyond the target.

    Collapsed runs and failed gates are out. Both figures come from validation data, which are as biased as the training
    data; nobody needs unbiased ones to choose. None where fewer than two groups have the figure.
    """
    n_known = sum(group.net_gain_bits is not None for group in groups)
    fit = _choosable(groups)
    return max(fit, key=lambda pair: pair[1])[0] if n_known > 1 and fit else None


def _choosable(groups: Sequence[Group]) -> list[tuple[Group, float]]:
    """Groups that may be chosen, and their net gains."""
    known = [(group, group.net_gain_bits.mean) for group in groups if group.net_gain_bits is not None]
    return [(group, gain) for group, gain in known if not group.collapsed and not group.gates_failed]


def as_good_as(chosen: Group | None, groups: Sequence[Group]) -> list[Group]:
    """Other groups that could have been chosen, less than the chosen one's standard error below it."""
    if chosen is None or chosen.net_gain_bits is None or chosen.net_gain_error_bits is None:
        return []
    least = chosen.net_gain_bits.mean - chosen.net_gain_error_bits
    return [group for group, gain in _choosable(groups) if group is not chosen and gain > least]


def choice_note(chosen: Group | None, groups: Sequence[Group]) -> Iterator[str]:
    """What was chosen, and by which figures."""
    if chosen is None or chosen.gain_over_bias_bits is None or chosen.leakage_given_target_bits is None:
        return
    # said, because the best figure may be among those that were left out
    out = sum(group.gates_failed > 0 for group in groups)
    beside = f" {out} with failed gates left out." if out else ""
    yield (
        f"Chosen without unbiased data: {chosen.number}: {chosen.name}, which tells "
        f"{chosen.gain_over_bias_bits.mean:.3f} bits of the target beyond the attributes and "
        f"{chosen.leakage_given_target_bits.mean:.3f} bits of the attributes beyond the target: the highest "
        f"difference.{beside}"
    )
    if alike := as_good_as(chosen, groups):
        named = ", ".join(f"{group.number}: {group.name}" for group in alike[:MAX_NAMED])
        more = f" and {len(alike) - MAX_NAMED} more" if len(alike) > MAX_NAMED else ""
        yield (
            f"The data cannot tell it from {named}{more}: their differences are less than its standard error below it "
            f"({chosen.net_gain_error_bits:.3f} bits). More seeds help where seeds differ, more validation rows in "
            "which the attribute misleads where they do not."
        )


def on_same_data(runs: Sequence[ComparedRun]) -> bool:
    """Whether runs of the same seeds were audited on the same data; under other seeds they are what the seed drew."""
    by_seed: dict[str, set[str]] = {}
    for run in runs:
        seeds = repr(sorted(item for item in run.settings.items() if item[0] in SEEDS))
        by_seed.setdefault(seeds, set()).add(str(run.report.data_sha256))
    return all(len(data) == 1 for data in by_seed.values())


def notes(runs: Sequence[ComparedRun], rows: Sequence[Row]) -> Iterator[str]:
    """What should be known before the figures are believed."""
    if not on_same_data(runs):
        yield (
            "The runs were not audited on the same data: their figures differ for that reason, too, so no frontier is "
            "drawn and none is chosen."
        )
    elif len({str(run.report.data_sha256) for run in runs}) > 1:
        yield "Each seed draws the audited samples anew: the spread over seeds holds that, too."
    collapsed = [row.name for row in rows if row.collapsed]
    if collapsed:
        yield f"Collapsed, so their low leakage is no success: {', '.join(collapsed)}."
    if len({tuple(row.attributes) for row in rows}) > 1:
        yield "The runs do not have the same attributes."
