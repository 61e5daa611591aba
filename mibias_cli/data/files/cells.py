"""What one cell of a table may be: a number, or a list."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = [
    "EXACT",
    "LARGEST",
    "SEPARATORS",
    "are_lists",
    "are_number_lists",
    "float_of",
    "is_boundless",
    "is_written_list",
    "number_of",
    "split_list",
    "without_zeros",
    "written_list",
]

SEPARATORS = ("|", ";", ",")
"""What stands between the items of a list in a cell."""
LARGEST = 1e30
"""Beyond it no number is one to compute with: in single precision its square is not finite."""
EXACT = 2**53
"""From here on float64 does not tell whole numbers from their neighbours."""
_MOSTLY = 0.75
_FEWEST, _FEWEST_WHOLE = 4, 8
_WHOLE = re.compile(r"[-+]?\d+\.0+")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def float_of(text: str) -> float | None:
    """A cell as the number that is written there, however large, or NaN; None where it is none.

    Example:
        >>> float_of("-1.0"), float_of("inf"), float_of("12_3")
        (-1.0, inf, None)
    """
    try:
        # Python reads 12_3 as 123, and people write codes so
        return None if "_" in text else float(text)
    except ValueError:
        return None


def without_zeros(text: str) -> str:
    """A whole number without zeros behind its point, any other text as it is.

    Example:
        >>> without_zeros("-9.0"), without_zeros("9.50"), without_zeros("v1.0")
        ('-9', '9.50', 'v1.0')
    """
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def number_of(text: str) -> float | None:
    """A cell as a number; None where it is none, or none to compute with (infinite, beyond 1e30, said to be NaN).

    Example:
        >>> number_of("1e3"), number_of("12_3"), number_of("nan"), number_of("1e40")
        (1000.0, None, None, None)
    """
    number = float_of(text)
    return None if number is None or math.isnan(number) or abs(number) > LARGEST else number


def is_boundless(text: str) -> bool:
    """Whether a cell is a number that is infinite, or too large to compute with.

    Example:
        >>> is_boundless("-inf"), is_boundless("1e300"), is_boundless("1e3"), is_boundless("nan"), is_boundless("a")
        (True, True, False, False, False)
    """
    number = float_of(text)
    return number is not None and abs(number) > LARGEST


def split_list(cell: str, separator: str) -> list[str]:
    """The items of a list in a cell; of a separator alone there is none. Lists may be as Python writes them.

    Example:
        >>> split_list("a|b c", "|"), split_list("['a', 'b, c']", ","), split_list("[]", ",")
        (['a', 'b c'], ['a', 'b, c'], [])
    """
    if is_written_list(cell):
        quoted = [a or b for a, b in _QUOTED.findall(cell)]
        if quoted:
            return [item.strip() for item in quoted]
        cell = cell[1:-1]
    return [item.strip() for item in cell.split(separator) if item.strip()]


def written_list(items: Sequence[object]) -> str:
    """Items as `split_list` reads them.

    Raises:
        ValueError: An item is no text, or empty, or has quotes of both kinds.

    Example:
        >>> print(written_list(["a", "b, c", "d's"]), written_list([]))
        ['a', 'b, c', "d's"] []
    """
    for item in items:
        if not isinstance(item, str) or not item.strip() or ("'" in item and '"' in item):
            raise ValueError(f"{item!r} in a list of texts")
    quotes = ['"' if "'" in str(item) else "'" for item in items]
    return "[" + ", ".join(f"{quote}{item}{quote}" for quote, item in zip(quotes, items, strict=True)) + "]"


def is_written_list(cell: str) -> bool:
    """Whether a cell is a list as Python writes it: ['a', 'b']."""
    return cell.startswith("[") and cell.endswith("]")


def are_number_lists(cells: Iterable[str]) -> bool:
    """Whether cells are all lists of numbers written as text, as embeddings are in a CSV: in square brackets, or not.

    Without these they are four numbers or more, and eight where nothing but blanks tells them from a number: 1 234 567.

    Example:
        >>> [are_number_lists([cell]) for cell in ("[0.1, 0.2]", "(1, 2, 3, 4)", "0.1 0.2 -0.3 4e-1", "70 80 " * 9)]
        [True, True, True, True]
        >>> [are_number_lists([cell]) for cell in ("(1.5)", "(255, 0, 0)", "030 123 45 67", "10.0.0.1")]
        [False, False, False, False]
    """
    found = False
    for cell in cells:
        found = True
        bare = cell.strip().strip("()[]{} ")
        if is_written_list(cell.strip()) or cell.startswith(("tensor(", "array(")):
            continue
        items = re.split(r"\s*[,;|]\s*|\s+", bare)
        fewest = _FEWEST if bare != cell.strip() or "." in bare else _FEWEST_WHOLE
        if len(items) < fewest or any(float_of(item) is None for item in items):
            return False
    return found


def are_lists(cells: Iterable[str | None], separators: Sequence[str] = SEPARATORS) -> bool:
    """Whether cells, None where missing, look like lists: A|B, A;B and B; A, B and B, C and C; ['A', 'B'].

    Example:
        >>> are_lists(["A;B", "B"]), are_lists(["['A']", "[]"])
        (True, True)
        >>> are_lists(["Paris, France", "France"]), are_lists(["[0.1, 0.2]", "[0.3, 0.4]"])
        (False, False)
    """
    counts = Counter(str(cell) for cell in cells if cell is not None)
    if counts and all(map(is_written_list, counts)):
        # embeddings are written so too: all different, and without quotes
        return len(counts) < counts.total() or any(map(_QUOTED.search, counts))
    separator = next((s for s in separators if any(s in v for v in counts)), None)
    if separator is None:
        return False
    items = Counter(item for v in counts if separator in v for item in set(split_list(v, separator)))
    alone = counts.keys() & items.keys()
    # a comma is in text too: there nearly all items must be in several cells, or a cell of their own
    again = sum(n > 1 or item in alone for item, n in items.items())
    several = separator == "|" and again > 0
    return several or (bool(alone) and (separator != "," or again >= _MOSTLY * len(items)))
