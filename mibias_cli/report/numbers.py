"""How numbers are written for people; rounding happens here and nowhere below."""

from __future__ import annotations

import math
from typing import Literal, TypeGuard

from mibias_cli.evaluation.leakage_findings import Interval, NullBand

__all__ = [
    "ABSENT", "SPACE", "ceil_bits", "detectable_words", "direction", "format_bits", "format_decimals",
    "format_interval", "format_number", "format_p", "format_percent", "format_percent_interval", "format_points",
]  # fmt: skip

ABSENT = "–"
MINUS = "−"
SPACE = "\u00a0"  # keeps a number and its unit on one line


def _known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number to show: what could not be worked out is None or NaN."""
    return value is not None and math.isfinite(value)


def _signed(text: str) -> str:
    # a small negative value that rounds to zero is written without a sign
    zero = text.lstrip("-").strip("0.") == ""
    return text.lstrip("-") if zero else text.replace("-", MINUS)


def format_decimals(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A fixed number of decimals, with a real minus sign; with `signed` also a plus sign, for changes.

    Example:
        >>> format_decimals(0.12345), format_decimals(-0.0001), format_decimals(0.1, 2, signed=True)
        ('0.123', '0.000', '+0.10')
    """
    if not _known(value):
        return ABSENT
    return f"{value:+.{digits}f}".replace("-", MINUS) if signed else _signed(f"{value:.{digits}f}")


def format_bits(value: float | None) -> str:
    """Bits with three decimals."""
    return format_decimals(value)


def format_interval(interval: Interval | NullBand | None) -> str:
    """`lower to upper` in bits."""
    return ABSENT if interval is None else f"{format_bits(interval.lower)} to {format_bits(interval.upper)}"


def direction(change: Interval) -> Literal[-1, 0, 1]:
    """Which way a figure measurably went: 1 up, -1 down, 0 where the interval holds 0 or three decimals show no change.

    Shares count as figures, so that in per cent the change shows in the one decimal that they have.

    Example:
        >>> direction(Interval(estimate=-0.2, lower=-0.3, upper=-0.1))
        -1
        >>> direction(Interval(estimate=0.0003, lower=0.0002, upper=0.0004))
        0
    """
    if format_decimals(change.estimate) == format_decimals(0.0):
        return 0
    return 1 if change.lower > 0 else -1 if change.upper < 0 else 0


def ceil_bits(value: float) -> str:
    """Rounded up to three decimals: for a bound that must stay true when written.

    Example:
        >>> ceil_bits(0.0121)
        '0.013'
    """
    # the subtraction forgives floats their rounding error: 1000 * 0.009 is a hair more than 9 or less
    return _signed(f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f}")


def detectable_words(detectable: float, whole: float) -> str:
    """The smallest leakage that a sample detects, in bits: never more than all that could leak, such as H(c).

    Example:
        >>> detectable_words(0.0303, 1.0), detectable_words(1.2, 0.978)
        ('0.031 bits', 'all 0.978 bits')
    """
    return f"{ceil_bits(detectable)} bits" if detectable < whole else f"all {format_bits(whole)} bits"


def format_percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}{SPACE}%" if _known(share) else ABSENT


def format_percent_interval(lower: float | None, upper: float | None) -> str:
    """`lower to upper` in per cent."""
    return f"{100 * lower:.1f} to {100 * upper:.1f}{SPACE}%" if _known(lower) and _known(upper) else ABSENT


def format_points(before: float | None, after: float | None) -> str:
    """The change of a share in percentage points, with its sign."""
    if not _known(before) or not _known(after):
        return ABSENT
    return f"{100 * (after - before):+.1f}{SPACE}points".replace("-", MINUS)


def format_number(value: float | None, *, signed: bool = False) -> str:
    """A number in the user's units, four significant digits.

    Example:
        >>> format_number(12345.6), format_number(0.012345), format_number(-2.0, signed=True)
        ('12,350', '0.01235', '−2')
    """
    if not _known(value):
        return ABSENT
    text = f"{value:{'+' if signed else ''}.4g}"
    # `g` gives few digits in front of the point an exponent; people read 12,350 faster than 1.235e+04
    if ("e" not in text and len(text.lstrip("+-").partition(".")[0]) > 3) or "e+0" in text:
        text = f"{float(text):{'+' if signed else ''},.0f}"
    return _signed(text)


def format_p(value: float | None) -> str:
    """A p-value: three decimals, never 0.

    Example:
        >>> format_p(0.0304), format_p(0.0002)
        ('0.030', '<\\xa00.001')
    """
    if not _known(value):
        return ABSENT
    # a permutation test of finitely many shuffles never shows p = 0
    return f"<{SPACE}0.001" if value < 0.001 else f"{value:.3f}"
