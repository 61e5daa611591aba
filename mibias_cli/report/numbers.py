"""How numbers are written for people; rounding happens here and nowhere below."""

from __future__ import annotations

import math
from typing import TypeGuard

from mibias_cli.evaluation.findings import Interval, NullBand

__all__ = [
    "ABSENT",
    "ceil_bits",
    "format_bits",
    "format_interval",
    "format_number",
    "format_p",
    "format_percent",
    "format_percent_interval",
    "format_plain",
    "format_points",
    "format_share",
]

ABSENT = "–"
MINUS = "−"
SPACE = "\u00a0"  # keeps a number and its unit on one line


def _known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number to show: what could not be worked out is None or NaN."""
    return value is not None and math.isfinite(value)


def _signed(text: str) -> str:
    zero = text.lstrip("-").strip("0.") == ""
    return text.lstrip("-") if zero else text.replace("-", MINUS)


def format_bits(value: float | None) -> str:
    """Three decimals, with a real minus sign.

    Example:
        >>> format_bits(-0.0214), format_bits(-0.0001), format_bits(None)
        ('−0.021', '0.000', '–')
    """
    return _signed(f"{value:.3f}") if _known(value) else ABSENT


def format_interval(interval: Interval | NullBand | None) -> str:
    """`lower to upper` in bits."""
    return ABSENT if interval is None else f"{format_bits(interval.lower)} to {format_bits(interval.upper)}"


def ceil_bits(value: float) -> str:
    """Rounded up to three decimals: for a bound that must stay true when written.

    Example:
        >>> ceil_bits(0.0121)
        '0.013'
    """
    return _signed(f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f}")


def format_percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}{SPACE}%" if _known(share) else ABSENT


def format_percent_interval(lower: float | None, upper: float | None) -> str:
    """`lower to upper` in per cent."""
    return f"{100 * lower:.1f} to {100 * upper:.1f}{SPACE}%" if _known(lower) and _known(upper) else ABSENT


def format_plain(value: float | None) -> str:
    """Two decimals."""
    return _signed(f"{value:.2f}") if _known(value) else ABSENT


def format_points(before: float | None, after: float | None) -> str:
    """The change of a share in percentage points, with its sign."""
    if not _known(before) or not _known(after):
        return ABSENT
    return f"{100 * (after - before):+.1f}{SPACE}points".replace("-", MINUS)


def format_share(value: float | None, *, signed: bool = False) -> str:
    """Three decimals of a share, a ratio or a difference of such.

    Example:
        >>> format_share(0.12345), format_share(-0.1), format_share(0.1, signed=True)
        ('0.123', '−0.100', '+0.100')
    """
    if not _known(value):
        return ABSENT
    return f"{value:+.3f}".replace("-", MINUS) if signed else _signed(f"{value:.3f}")


def format_number(value: float | None, *, signed: bool = False) -> str:
    """A number in the user's units, four significant digits.

    Example:
        >>> format_number(12345.6), format_number(0.012345), format_number(-2.0, signed=True)
        ('12,350', '0.01235', '−2')
    """
    if not _known(value):
        return ABSENT
    text = f"{value:{'+' if signed else ''}.4g}"
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
    return f"<{SPACE}0.001" if value < 0.001 else f"{value:.3f}"
