"""What a scan finds: frozen records with the names that scan.json has."""

from __future__ import annotations

from typing import Annotated, Literal

from mibias_cli.evaluation.leakage_findings import Count, Interval, Share
from mibias_cli.evaluation.record import Beside, FlatRecord, Real, Record

__all__ = ["Scan", "Shortcut", "Tested"]


class Tested(FlatRecord):
    """A property of the images, or a column of the table, and what it tells of the target."""

    name: str
    kind: Literal["image", "column"]
    target_bits: Annotated[Interval, Beside()]
    """I(property; y) in bits, less what counting finds in independent columns."""
    p_value: Share
    """Of shuffled targets, corrected for all properties that were tested."""


class Shortcut(Tested):
    """A property that tells of the target beyond what the best of as many properties would tell by chance."""

    share_of_target: Share
    """target_bits by the target's entropy."""
    values: tuple[str, ...]
    """Its values, or bins of a number."""
    counts: dict[str, tuple[Count, ...]]
    """By class of the target, rows with each value."""
    feature_bits: Interval | None = None
    """What the backbone's features tell of it, in bits: a lower bound; null without a backbone."""
    entropy_bits: Real
    """The most that they could tell."""
    attribute: str
    """The line below `data.attributes` of a recipe that names it."""
    remark: str = ""
    """What to look at first."""


class Scan(Record):
    """Everything that a scan found, the strongest shortcut first."""

    data: str
    target: str
    classes: tuple[str, ...]
    target_entropy_bits: Real
    n_rows: Count
    """Rows that were looked at."""
    n_available: Count
    """Rows among which they were drawn."""
    group: str | None
    """Rows of one group were kept together in all shuffles and resamples."""
    level: Share
    """p_value at which a property is listed as a shortcut."""
    shortcuts: tuple[Shortcut, ...]
    others: tuple[Tested, ...]
    """Properties that were tested and tell no more than chance."""
    notes: tuple[str, ...] = ()
