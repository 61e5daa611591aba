"""Gate expressions: `attributes.colour.after.leakage_bits > 0.05`, read by a small parser (no eval).

An expression names a figure of leakage.json, a comparison and a number; the gate fails where it holds.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from mibias_cli.errors import GateError, shortened

__all__ = ["Comparison", "GateExpression", "parse_gate", "write_name"]

Comparison = Literal[">", ">=", "<", "<="]

_EXAMPLE = "attributes.colour.after.leakage_bits > 0.05"
# a part of a name as it is, and one in brackets and quotes
_PART = re.compile(r"[^\s.\[\]<>=!\"']+")
_QUOTED = re.compile(r"\[\s*(\"(?:[^\"\\]|\\.)*\"|'[^']*')\s*\]")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$")
_COMPARISON = re.compile(r"[<>=!]+")


@dataclass(frozen=True, kw_only=True)
class GateExpression:
    """A parsed gate: the figure's name in parts, how it is compared, and with what.

    `columns` holds, for each part of the name, where it begins in `text` (from 0), so that errors can point at it.
    """

    text: str
    name: tuple[str, ...]
    comparison: Comparison
    threshold: float
    columns: tuple[int, ...]

    def error(self, message: str, *, part: int | None = None) -> GateError:
        """An error that shows the expression with a caret below one part of its name."""
        return _error(self.text, message, self.columns[part] if part is not None else None)


def parse_gate(text: str) -> GateExpression:
    """Read `NAME > NUMBER` (or >=, <, <=).

    A name is dotted; a part that holds dots, spaces or signs of its own is quoted: `attributes["skin tone"].after`.

    Raises:
        GateError: It is no such expression; the text says what is wrong and where.

    Example:
        >>> gate = parse_gate('attributes["skin tone"].after.leakage_bits > 5e-2')
        >>> gate.name, gate.comparison, gate.threshold
        (('attributes', 'skin tone', 'after', 'leakage_bits'), '>', 0.05)
    """
    text = text.strip()
    name, columns, position = _name(text)
    found = _COMPARISON.match(text, position)
    if found is None:
        if position == len(text):
            raise _error(text, f"a comparison and a number are missing, as in {_EXAMPLE!r}", position)
        raise _error(text, "a comparison is expected here: >, >=, < or <=", position)
    # `=>` and `==` are read whole, so that the message can show what was written
    comparison: Comparison | None = next((c for c in get_args(Comparison) if c == found.group()), None)
    if comparison is None:
        given = shortened(found.group())[0]
        raise _error(text, f"{given!r} is no comparison that a gate knows; use >, >=, < or <=", position)
    threshold = _number(text, _skip(text, found.end()))
    return GateExpression(text=text, name=name, comparison=comparison, threshold=threshold, columns=columns)


def write_name(name: tuple[str, ...]) -> str:
    """A name as an expression writes it, parts quoted where they must be.

    Example:
        >>> write_name(("attributes", "skin tone", "after"))
        'attributes["skin tone"].after'
    """
    written = ""
    for part in name:
        if _PART.fullmatch(part):
            written += f".{part}" if written else part
        else:
            written += f"[{json.dumps(part, ensure_ascii=False)}]"
    return written


def _name(text: str) -> tuple[tuple[str, ...], tuple[int, ...], int]:
    """The name's parts, where each begins, and where the name (with the space behind it) ends."""
    parts: list[str] = []
    columns: list[int] = []
    position = 0
    if not text:
        raise _error(text, f"is empty; write for example {_EXAMPLE!r}")
    # `0.05 < a` is clear, but the parser reads names first
    if _NUMBER.match(text.split()[0]) or text[0] in "<>=!":
        raise _error(text, f"the figure's name comes first, as in {_EXAMPLE!r}", position)
    while True:
        quoted = _QUOTED.match(text, position)
        part = quoted or _PART.match(text, position)
        if part is None:
            in_brackets = 'a quoted name is expected in brackets, as in ["skin tone"]'
            at_bracket = text[position : position + 1] == "["
            raise _error(text, in_brackets if at_bracket else "a part of the figure's name is expected here", position)
        parts.append(_unquoted(text, quoted.group(1), position) if quoted else part.group())
        columns.append(position)
        position = part.end()
        # a dot or a bracket leads to the next part, anything else ends the name
        if text[position : position + 1] == ".":
            position += 1
        elif text[position : position + 1] != "[":
            return tuple(parts), tuple(columns), _skip(text, position)


def _unquoted(text: str, quoted: str, position: int) -> str:
    """What a quoted part holds: between single quotes as it is, between double quotes with JSON's escapes."""
    if quoted.startswith("'"):
        return quoted[1:-1]
    try:
        return str(json.loads(quoted))
    except json.JSONDecodeError as error:
        raise _error(text, f"the quoted name cannot be read ({error.msg}); escapes are as in JSON", position) from error


def _number(text: str, start: int) -> float:
    given = text[start:].strip()
    if not given:
        raise _error(text, "a number is missing behind the comparison", len(text))
    if _NUMBER.match(given) and math.isfinite(float(given)):  # 1e999 is a number, but infinite
        return float(given)
    # what was meant is often plain
    if re.search(r"\s(?:and|or|&&?|\|\|?)\s", f" {given} "):
        raise _error(text, "a gate is one comparison; give each a gate of its own", start)
    # figures of the report are shares, not percentages
    hint = f"; write {float(given[:-1]) / 100:g}" if given.endswith("%") and _NUMBER.match(given[:-1]) else ""
    raise _error(text, f"must be compared with a finite number, not {shortened(given)[0]!r}{hint}", start)


def _skip(text: str, position: int) -> int:
    """The next place that is no white space."""
    return len(text) - len(text[position:].lstrip())


def _error(text: str, message: str, column: int | None = None) -> GateError:
    """One line where there is no place to point at, else the expression with a caret below."""
    piece, at = shortened(text, column or 0)
    shown = f"gate {piece!r}: {message}"
    if column is not None and text.isprintable():
        shown += f"\n    {piece}\n    {' ' * at}^"
    return GateError(shown, text=text, message=message)
