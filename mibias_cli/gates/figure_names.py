"""Names of the figures of a report: `attributes.colour.after.leakage_bits`, looked up in a report or in its schema.

The schema knows every name except those that come from the data (attributes, channels, columns), so a misspelt gate is
found before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeGuard

from pydantic import BaseModel, Field, JsonValue

from mibias_cli.errors import GateError, did_you_mean, shortened
from mibias_cli.recipe.gate_expression import GateExpression, write_name

__all__ = ["BOUNDS", "Figure", "check_name", "find_figure", "names_of"]

BOUNDS = ("estimate", "lower", "upper")
"""What an interval is made of."""
_INTERVAL = "_interval"  # task.after.accuracy has its interval beside it, as accuracy_interval
_SHARES = ("accuracy", "_difference", "auroc", "p_value", "calibration_error")
"""How figures end that lie between 0 and 1; a limit of 10 for 10 % would never be reached."""
_ANYTHING = object()  # in an outline: a value of any kind, such as what stands in provenance
_ANY_NAME = "\0"  # key in an outline: stands for every name that comes from the data
Tree: TypeAlias = Mapping[str, object]
"""A report, or the outline of one."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a report: its estimate, and its interval where it has one."""

    estimate: float
    lower: float | None = None
    upper: float | None = None


def find_figure(report: Tree, gate: GateExpression) -> Figure:
    """The figure that a gate names; a GateError where the report has no such name, or no number by it."""
    found = _walk(report, gate, "the report has no")
    last = len(gate.name) - 1
    estimate, lower, upper = map(found.get, BOUNDS)
    if not _is_number(estimate):
        # NaN and infinities are written as null, so this may also be a figure that could not be computed
        raise gate.error(f"{write_name(gate.name)} was not measured in this report (it is null)", part=last)
    if _is_number(lower) and _is_number(upper):
        return Figure(estimate=float(estimate), lower=float(lower), upper=float(upper))
    # an interval that lost a bound must not pass for a plain number, which is compared as it is
    if lower is not None or upper is not None or "lower" in found:
        raise gate.error("has no whole interval in this report; name .estimate to gate on the estimate", part=last)
    return Figure(estimate=float(estimate))


def check_name(schema: Mapping[str, object], gate: GateExpression) -> None:
    """Refuse (GateError) a name that no report can have by its JSON Schema; names that come from the data pass."""
    whole = _Node.model_validate(schema)
    outline = _outline(whole, whole.definitions)
    assert isinstance(outline, Mapping), "a report is an object"
    _walk(outline, gate, "no report has")
    figure = [part for part in gate.name if part not in BOUNDS][-1]
    if figure.endswith(_SHARES) and abs(gate.threshold) > 1:
        raise gate.error(f"{figure} is a share, of 1 at most; {gate.threshold:g} % are {gate.threshold / 100:g}")


def _walk(tree: Tree, gate: GateExpression, who: str) -> Tree:
    """Follow a name, part by part, to an interval (estimate, lower, upper), or to an estimate alone."""
    value: object = tree
    above, last = tree, len(gate.name) - 1
    for depth, part in enumerate(gate.name):
        if depth == last and part in BOUNDS and _is_number(value):
            value = _with_bounds(above, gate.name[depth - 1], value)
        if value is _ANYTHING:
            break
        if not isinstance(value, Mapping):
            raise gate.error(_nothing_below(value, gate.name[:depth]), part=depth)
        if part not in value and _ANY_NAME not in value:
            raise gate.error(f"{who} {shortened(part)[0]!r} {_hint(part, value, depth, tree, gate)}", part=depth)
        above, value = value, value[part if part in value else _ANY_NAME]
    if isinstance(value, Mapping) and "estimate" not in value:
        names = ", ".join(str(name) for name in value if name != _ANY_NAME)
        raise gate.error(f"{write_name(gate.name)} is no figure{names and f'; name one of {names}'}", part=last)
    if isinstance(value, str | list):
        raise gate.error(f"{write_name(gate.name)} is no number, so nothing can be compared with it", part=last)
    if isinstance(value, Mapping):
        return value
    # a bound that was named itself is compared without an interval
    return _with_bounds({} if gate.name[-1] in BOUNDS else above, gate.name[-1], value)


def _with_bounds(above: Tree, name: str, value: object) -> Tree:
    """A number with the interval that stands beside it, if one does."""
    beside = above.get(name + _INTERVAL)
    return {"estimate": value, **(beside if isinstance(beside, Mapping) else {})}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float)


def _nothing_below(value: object, name: tuple[str, ...]) -> str:
    if value is None:
        return f"{write_name(name)} was not measured in this report (it is null)"
    what = "a list" if isinstance(value, list) else "a single value"
    return f"{write_name(name)} is {what}, there is no name below it"


def _hint(part: str, there: Iterable[str], depth: int, tree: Tree, gate: GateExpression) -> str:
    """Where a part is missing, and what was probably meant."""
    place = f"in {write_name(gate.name[:depth])}" if depth else "at its top"
    names = [name for name in there if name != _ANY_NAME]
    close = did_you_mean(part, names)
    if not close and depth == 0 and "attributes" in tree:
        # half a name, such as `colour.after.leakage_bits`: a schema knows no attribute by name, so it is looked up
        whole = ("attributes", *gate.name)
        try:
            _walk(tree, replace(gate, name=whole, columns=(0, *gate.columns)), "")
            close = f", did you mean {write_name(whole)!r}?"
        except GateError:
            close = did_you_mean(write_name(gate.name), map(write_name, names_of(tree)))
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return place + (close or (f"; there are {shown}" if names else "; there is nothing there"))


def names_of(value: object, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names of all figures of a report, or of a part of it called `name`; an interval has its estimate's name.

    Example:
        >>> list(names_of({"task": {"gap": 0.1, "groups": []}, "mi": {"estimate": 1, "lower": 0, "upper": 2}}))
        [('task', 'gap'), ('mi',)]
    """
    if _is_number(value) or (isinstance(value, Mapping) and "estimate" in value):
        yield name
    elif isinstance(value, Mapping):
        for key, item in value.items():
            # an interval that stands beside its estimate is found by that one's name
            if key != _ANY_NAME and not (key.endswith(_INTERVAL) and key.removesuffix(_INTERVAL) in value):
                yield from names_of(item, (*name, key))


class _Node(BaseModel):
    """A part of a JSON Schema, as far as it says which names and values there are."""

    ref: str = Field("", alias="$ref")
    any_of: tuple[_Node, ...] = Field((), alias="anyOf")
    one_of: tuple[_Node, ...] = Field((), alias="oneOf")
    const: JsonValue = None
    type: str | tuple[str, ...] = ()
    properties: dict[str, _Node] = {}
    others: bool | _Node = Field(True, alias="additionalProperties")
    definitions: dict[str, _Node] = Field({}, alias="$defs")


def _outline(node: _Node | bool, definitions: Mapping[str, _Node]) -> object:
    """What a report that obeys a schema looks like, as a tree to look names up in: 0 where a number may stand."""
    if isinstance(node, bool) or not node.model_fields_set:
        return _ANYTHING
    if node.ref:
        return _outline(definitions[node.ref.rpartition("/")[2]], definitions)
    options = [_outline(option, definitions) for option in (*node.any_of, *node.one_of)]
    if options:
        # null is what stands where a figure was not measured; the name is right all the same
        options = [option for option in options if option is not None]
        # a task is of one kind of several: whatever one of them has may be gated on, the first kind's keys come first
        merged: dict[str, object] = {}
        for option in options:
            merged = {**merged, **(option if isinstance(option, dict) else {}), **merged}
        return merged or options[0]
    if "const" in node.model_fields_set:
        return node.const
    kinds = (node.type,) if isinstance(node.type, str) else node.type
    if "object" in kinds:
        tree = {key: _outline(item, definitions) for key, item in node.properties.items()}
        return tree if node.others is False else {**tree, _ANY_NAME: _outline(node.others, definitions)}
    if any(kind in kinds for kind in ("number", "integer", "boolean")):
        return 0.0
    return None if kinds == ("null",) else [] if "array" in kinds else ""
