"""Values that are legal each by itself, and together are a slip of the hand: nobody means what they say.

Like the checks of keys that contradict each other, these read the parsed YAML, so that they report beside every other
error; places of the wrong type are the schema's to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mibias_cli.recipe.fields import value_at
from mibias_cli.recipe.messages import Fault
from mibias_cli.recipe.tables import LEAST_ROWS, MI
from mibias_cli.recipe.values import text_of_number
from mibias_cli.recipe.yaml_source import Yaml, YamlMapping, YamlPath

__all__ = ["UNBELIEVABLE", "Check", "debiased_target"]

Check = Callable[[YamlMapping], Iterator[Fault]]
"""Reads the parsed recipe and says what does not fit."""

_FEWEST_OUTSIDE = 5
"""Resamples that must lie outside an interval, for its ends to be more than two draws: 100 of them at 95 %."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PATHS: tuple[YamlPath, ...] = (
    ("data", "path"), ("data", "root"), ("data", "sidecar"), ("data", "manifest"), ("backbone", "weights"),
)  # fmt: skip


def _intervals(data: YamlMapping) -> Iterator[Fault]:
    """An interval needs resamples outside of it, or its ends are the two most extreme ones."""
    n = _number(("evaluation", "n_bootstrap"), data, 1000)
    confidence = _number(("evaluation", "confidence"), data, 0.95)
    if n is None or confidence is None or not 0.5 <= confidence < 1 or not 100 <= n <= 100_000:
        return
    needed = round(_FEWEST_OUTSIDE / (1 - confidence))
    if n < needed:
        wanted = f"n_bootstrap: {needed}" if needed <= 100_000 else "a confidence of at most 0.9999"
        yield (
            ("evaluation", "confidence"),
            f"is {confidence:.12g}, and of {n:g} resamples too few lie outside such an interval; set {wanted}",
        )


def _suppressed(data: YamlMapping) -> Iterator[Fault]:
    """The worst group, which is named, must not be one that is not shown."""
    path: YamlPath = ("evaluation", "suppress_below")
    least, counted = _number(path, data, 0), _number(("evaluation", "min_cell"), data, 10)
    if least is not None and counted is not None and least > counted:
        yield path, f"is {least:g}, more than min_cell ({counted:g}), so a worst group could be one that is left out"


def _roles(data: YamlMapping) -> Iterator[Fault]:
    """A column has one role: a target that parts the rows, or that groups them, teaches nothing.

    A group may be a feature, too: a hospital says something of its patients.
    """
    targets, features = _names_at(("data", "columns", "target"), data), _names_at(("data", "features"), data)
    taken = dict.fromkeys(targets, "the target")
    for index, name in enumerate(features):
        if name in taken:
            yield ("data", "features", index), f"{name!r} is the target, which is not to be read off; take it out"
    for key in ("split", "group", "forget"):
        place: YamlPath = ("data", "columns", key)
        for name in _names_at(place, data):
            if name in taken:
                yield place, f"{name!r} is {taken[name]} already; name another column, or null"
            taken[name] = f"the {key} column"
    for key in ("split", "forget"):
        column = _names_at(("data", "columns", key), data)
        for index, name in enumerate(features):
            if name in column:
                why = f"{name!r} is the {key} column, and says nothing of a sample; take it out"
                yield ("data", "features", index), why


def _binned_classes(data: YamlMapping) -> Iterator[Fault]:
    """Bins are of numbers: without `kind: continuous` each number would be a class of its own."""
    attributes = value_at(("data", "attributes"), data)
    for name, section in attributes.items() if isinstance(attributes, dict) else ():
        # a recipe that was written out in full has the default
        if isinstance(section, dict) and section.get("bins") not in (None, 8) and section.get("kind") != "continuous":
            why = "has no effect where any value is a class; set kind: continuous, or leave it out"
            yield ("data", "attributes", name, "bins"), why


def _one_column(data: YamlMapping) -> Iterator[Fault]:
    """Two attributes that read one column alike are one attribute; read otherwise, loading notes them."""
    attributes = value_at(("data", "attributes"), data)
    seen: dict[tuple[str, ...], object] = {}
    for name, section in attributes.items() if isinstance(attributes, dict) else ():
        own = section if isinstance(section, dict) else {}
        column, kind = own.get("column"), own.get("kind") or "categorical"
        bins = own.get("bins") or 8 if kind == "continuous" else None
        read = (str(name if column is None else column), str(kind), str(bins))
        if read in seen:
            why = f"reads column {read[0]!r} as {seen[read]!r} does, so that it counts twice; take one of the two out"
            yield ("data", "attributes", name), why
        seen.setdefault(read, name)


def _splits(data: YamlMapping) -> Iterator[Fault]:
    """A row is in one split."""
    names: dict[str, str] = {}
    # the column's values are compared as text
    for key, default in (("train", "train"), ("validation", "validation"), ("audit", "test")):
        value = text_of_number(value_at(("data", "splits", key), data))
        name = default if value is None else value
        if isinstance(name, str) and name in names:
            written = key if value is not None else names[name]
            other = names[name] if written == key else key
            yield ("data", "splits", written), f"{name!r} is data.splits.{other} already; name another value"
        elif isinstance(name, str):
            names[name] = key


def debiased_target(data: YamlMapping) -> Iterator[Fault]:
    """Features that tell a class cannot be silent about it; that they are not may be measured all the same.

    For recipes that are to be trained.
    """
    penalised = value_at(("debias", "estimator"), data) != "none" and value_at(("debias", "weight"), data) != 0
    if not penalised or value_at(("method",), data) not in (None, MI):
        return
    debiased, declared = value_at(("debias", "attributes"), data), value_at(("data", "attributes"), data)
    target = _names_at(("data", "columns", "target"), data)
    for name in declared if isinstance(declared, dict) else ():
        place: YamlPath = ("data", "attributes", name)
        column = _names_at((*place, "column"), data)
        if target == (column or [name]) and (not isinstance(debiased, list) or name in debiased):
            message = (
                f"{target[0]!r} is the target: features that predict it reveal it; leave it out of debias.attributes, "
                "or set debias.estimator: none to measure it alone"
            )
            yield (*place, *(["column"] if column else [])), message


def _debiased_target_as_written(data: YamlMapping) -> Iterator[Fault]:
    """The same of every recipe that says how to debias; one that names data alone may be for an audit."""
    if "debias" in data:
        yield from debiased_target(data)


def _names_at(path: YamlPath, data: YamlMapping) -> list[str]:
    """The column or columns at a path, as text; none where something else stands."""
    value = value_at(path, data)
    names = [text_of_number(name) for name in (value if isinstance(value, list) else [value])]
    return [name for name in names if isinstance(name, str)]


def _augmented_rows(data: YamlMapping) -> Iterator[Fault]:
    """Rows of numbers are not cropped and flipped."""
    path: YamlPath = ("training", "augment")
    source = value_at(("data", "source"), data)
    if value_at(path, data) is True and source in ("table", "embeddings"):
        yield path, f"is for images, and data of source {source} are rows of numbers; leave it out"


def _addresses(data: YamlMapping) -> Iterator[Fault]:
    """Data and weights are read from disk."""
    for path in _PATHS:
        value = value_at(path, data)
        if isinstance(value, str) and _ADDRESS.match(value):
            yield path, "is an address, and only files and folders are read; fetch it first, then name the file"


def _compared_rows(data: YamlMapping) -> Iterator[Fault]:
    """What compares the rows of a batch needs some; a last fit sees all rows, and drawn ones come on top."""
    path: YamlPath = ("training", "batch_size")
    size, method = _number(path, data, 128), value_at(("method",), data) or MI
    name = value_at(("debias", "estimator"), data) or "classifier" if method == MI else method
    least = LEAST_ROWS.get(str(name), 1) if method == MI else 2 if method == "end" else 1
    elsewhere = (
        value_at(("training", "head_last"), data) is not None or value_at(("debias", "balance_by"), data) == "draws"
    )
    if size is not None and 0 < size < least and not (method == MI and elsewhere):
        yield path, f"is {size:g}, and {name} compares the rows of a batch, {least} at least; set more"


def _number(path: YamlPath, data: YamlMapping, default: float) -> float | None:
    """The number at a path, the default where none is written, None where something else is."""
    value: Yaml = value_at(path, data)
    if value is None:
        return default
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


UNBELIEVABLE: tuple[Check, ...] = (
    _intervals, _suppressed, _roles, _binned_classes, _one_column, _splits,
    _debiased_target_as_written, _augmented_rows, _compared_rows, _addresses,
)  # fmt: skip
