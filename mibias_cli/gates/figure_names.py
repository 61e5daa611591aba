"""Names of the figures of a report: `attributes.colour.after.leakage_bits`, looked up in a report or in its schema.

The schema knows every name but those that the data bring (attributes, channels, columns), so a misspelt gate is found
before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mibias_cli.errors import GateError, did_you_mean
from mibias_cli.recipe.gate_expression import GateExpression, write_name

__all__ = ["BOUNDS", "Figure", "check_name", "find_figure", "names_of"]

BOUNDS = ("estimate", "lower", "upper")
"""What an interval is made of."""
_INTERVAL = "_interval"  # task.after.accuracy has its interval beside it, as accuracy_interval
_NUMBERS = ("number", "integer", "boolean")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a report: its estimate, and its interval where it has one."""

    estimate: float
    lower: float | None = None
    upper: float | None = None


def find_figure(report: Mapping[str, Any], gate: GateExpression) -> Figure:
    """The figure that a gate names, in a report.

    Args:
        report: In the form of leakage.json.
        gate: Whose name is looked up.

    Raises:
        GateError: The report has no such name (with the nearest one), or the figure is null or no number.
    """
    value: Any = report
    above: Mapping[str, Any] = report
    for depth, part in enumerate(gate.name):
        if depth == len(gate.name) - 1 and part in BOUNDS and _is_number(value):
            above, value = above, _beside(above, gate.name[depth - 1], value)
        if not isinstance(value, Mapping):
            raise gate.error(_nothing_below(value, gate.name[:depth]), part=depth)
        if part not in value:
            raise gate.error(_unknown(part, value, depth, report, gate), part=depth)
        above, value = value, value[part]
    return _figure(above, value, gate)


def _beside(above: Mapping[str, Any], name: str, value: float) -> Mapping[str, Any]:
    beside = name + _INTERVAL
    return {"estimate": value, **above[beside]} if beside in above else {"estimate": value}


def _figure(above: Mapping[str, Any], value: Any, gate: GateExpression) -> Figure:
    last = len(gate.name) - 1
    if _is_number(value):
        value = _beside(above, gate.name[-1], value) if gate.name[-1] not in BOUNDS else {"estimate": value}
    if value is None:
        raise gate.error(f"{write_name(gate.name)} was not measured in this report (it is null)", part=last)
    if not isinstance(value, Mapping) or "estimate" not in value:
        below = f"; name one of {', '.join(map(str, value))}" if isinstance(value, Mapping) and value else ""
        raise gate.error(f"{write_name(gate.name)} is no figure{below}", part=last)
    if not _is_number(value["estimate"]):
        raise gate.error(f"{write_name(gate.name)} was not measured in this report (it is null)", part=last)
    bounds = [value.get(bound) for bound in ("lower", "upper")]
    lower, upper = (None if bound is None else float(bound) for bound in bounds)
    if (lower is None) != (upper is None) or (lower is None and "lower" in value):
        raise gate.error("has no whole interval in this report; name .estimate to gate on the estimate", part=last)
    return Figure(estimate=float(value["estimate"]), lower=lower, upper=upper)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _nothing_below(value: Any, name: tuple[str, ...]) -> str:
    if value is None:
        return f"{write_name(name)} was not measured in this report (it is null)"
    what = "a list" if isinstance(value, list) else "a single value"
    return f"{write_name(name)} is {what}, there is no name below it"


def _unknown(part: str, there: Mapping[str, Any], depth: int, report: Mapping[str, Any], gate: GateExpression) -> str:
    hint = _hint(part, there)
    if not close_enough(part, there) and depth == 0:
        # half a name, such as `colour.after.leakage_bits`
        whole = did_you_mean(write_name(gate.name), (write_name(name) for name in names_of(report)))
        hint = whole or hint
    return f"the report has no {part!r} {_where(gate.name[:depth])}{hint}"


def close_enough(part: str, there: Iterable[str]) -> bool:
    """Whether a name is a likely misspelling of one of those that are there."""
    return bool(did_you_mean(part, there))


def _where(name: tuple[str, ...]) -> str:
    return f"in {write_name(name)}" if name else "at its top"


def _hint(part: str, there: Iterable[str]) -> str:
    names = list(there)
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return did_you_mean(part, names) or (f"; there are {shown}" if names else "; there is nothing there")


def names_of(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The names of all figures of a report, intervals by the name of what they belong to.

    Example:
        >>> names_of({"task": {"gap": 0.1, "groups": []}, "mi": {"estimate": 1, "lower": 0, "upper": 2}})
        [('task', 'gap'), ('mi',)]
    """
    return list(_names(report, ()))


def _names(value: Any, name: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if _is_number(value) or (isinstance(value, Mapping) and "estimate" in value):
        yield name
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not (str(key).endswith(_INTERVAL) and str(key).removesuffix(_INTERVAL) in value):
                yield from _names(item, (*name, str(key)))


def check_name(schema: Mapping[str, Any], gate: GateExpression) -> None:
    """Refuse a name that no report can have, by the JSON Schema of reports; names that data bring pass.

    Args:
        schema: Of leakage.json.
        gate: Whose name is checked.

    Raises:
        GateError: No report has such a figure; the text says what there is instead.
    """
    node: Mapping[str, Any] = _plain(schema, schema)
    above = node
    for depth, part in enumerate(gate.name):
        last = depth == len(gate.name) - 1
        if last and part in BOUNDS and _has_interval(above, gate.name[depth - 1], node):
            return
        if not _is_object(node):
            raise gate.error(
                f"{write_name(gate.name[:depth])} is a single value, there is no name below it", part=depth
            )
        inner = _below(node, part)
        if inner is None:
            raise gate.error(_unknown_in_schema(part, node, depth, schema, gate), part=depth)
        above, node = node, _plain(inner, schema)
        if not node:  # values of any kind, such as provenance
            return
    if any(kind in _types(node) for kind in _NUMBERS) or isinstance(node.get("const"), int | float):
        return
    if _is_object(node) and "estimate" not in node.get("properties", {}):
        below = ", ".join(node.get("properties", {}))
        raise gate.error(f"is no figure{f'; name one of {below}' if below else ''}", part=len(gate.name) - 1)
    if not _is_object(node):
        raise gate.error("is no number, so nothing can be compared with it", part=len(gate.name) - 1)


def _plain(node: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node without references and without the null among its alternatives."""
    if not isinstance(node, Mapping):
        return {}
    while True:
        if "$ref" in node:
            node = schema["$defs"][str(node["$ref"]).rpartition("/")[2]]
        elif "anyOf" in node or "oneOf" in node:
            options = node.get("anyOf") or node["oneOf"]
            node = next((option for option in options if option.get("type") != "null"), {})
        else:
            return node


def _types(node: Mapping[str, Any]) -> list[str]:
    given = node.get("type", [])
    return [given] if isinstance(given, str) else list(given)


def _is_object(node: Mapping[str, Any]) -> bool:
    return "object" in _types(node) or "properties" in node


def _below(node: Mapping[str, Any], part: str) -> Any:
    """The schema of a key; None where there can be no such key."""
    if part in node.get("properties", {}):
        return node["properties"][part]
    others = node.get("additionalProperties", True)
    return None if others is False else {} if others is True else others


def _has_interval(above: Mapping[str, Any], name: str, node: Mapping[str, Any]) -> bool:
    return not _is_object(node) and name + _INTERVAL in above.get("properties", {})


def _unknown_in_schema(
    part: str, node: Mapping[str, Any], depth: int, schema: Mapping[str, Any], gate: GateExpression
) -> str:
    names = list(node.get("properties", {}))
    hint = _hint(part, names)
    if depth == 0 and not close_enough(part, names) and _could_be_attribute(schema, gate):
        hint = f", did you mean {write_name(('attributes', *gate.name))!r}?"
    return f"no report has {part!r} {_where(gate.name[:depth])}{hint}"


def _could_be_attribute(schema: Mapping[str, Any], gate: GateExpression) -> bool:
    longer = GateExpression(
        text=gate.text, name=("attributes", *gate.name), comparison=gate.comparison, threshold=gate.threshold,
        columns=(0, *gate.columns),
    )  # fmt: skip
    try:
        check_name(schema, longer)
    except GateError:
        return False
    return True
