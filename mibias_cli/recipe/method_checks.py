"""What the keys around `method` demand of each other: its settings, a target or none, rows to forget, an original."""

from __future__ import annotations

from collections.abc import Iterator

from mibias_cli.errors import did_you_mean
from mibias_cli.recipe.fields import value_at
from mibias_cli.recipe.messages import Fault
from mibias_cli.recipe.tables import METHODS, MI, MethodRow
from mibias_cli.recipe.unbelievable import Check
from mibias_cli.recipe.yaml_source import YamlMapping, YamlPath

__all__ = ["BUILT_IN", "COLOURED", "METHOD_CHECKS", "TABULAR", "target_is_null"]

COLOURED = ("digits", "mnist")
TABULAR = ("table", "embeddings")
BUILT_IN = ("digit_cnn", "mlp")


def target_is_null(data: YamlMapping) -> bool:
    """Whether `data.columns.target: null` is written; a key that is left out means its default."""
    columns = value_at(("data", "columns"), data)
    return isinstance(columns, dict) and "target" in columns and columns["target"] is None


def _method(data: YamlMapping) -> Iterator[Fault]:
    """A method has settings of its own, and target classes to predict."""
    name = value_at(("method",), data) or MI
    # what is no method is the schema's to refuse
    row = METHODS.get(name) if isinstance(name, str) else None
    settings = value_at(("method_settings",), data)
    given = settings if isinstance(settings, dict) and (row is not None or name == MI) else {}
    for key, value in given.items():
        if row is None or key not in row.settings:
            own = [] if row is None else list(row.settings)
            hint = did_you_mean(key, own) or (f"; {name} has {', '.join(own)}" if own else f"; {name} has none")
            yield ("method_settings", key), f"unknown setting{hint}"
            continue
        bounds = row.settings[key]
        # what is no number is the schema's to refuse
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if not bounds.least <= value <= bounds.most or (bounds.whole and value != int(value)):
            what = "a whole number" if bounds.whole else "a number"
            yield ("method_settings", key), f"must be {what} from {bounds.least:g} to {bounds.most:g}, not {value:g}"
    if row is not None or name == MI:
        yield from _forgetting(data, str(name))
    if row is not None:
        yield from _without_effect(data, row, str(name))
    if row is not None and row.filters:
        yield from _filtering(data, str(name))
    if row is not None and not row.takes_target:
        yield from _unlabelled(data, str(name))
    kind = value_at(("data", "target_kind"), data)
    if not (target_is_null(data) or kind in ("none", "multilabel", "regression")):
        return
    if row is not None and row.takes_target:
        yield ("method",), f"{name} predicts classes, which this target is not; write mi, or name a target of classes"
    if value_at(("discover", "by"), data) == "peers":
        yield ("discover", "by"), "peers predict classes, which this target is not; write clusters"


def _unlabelled(data: YamlMapping, name: str) -> Iterator[Fault]:
    """A method without a target compares augmented views of images, which must differ."""
    if value_at(("data", "source"), data) in TABULAR:
        yield ("method",), f"{name} compares views of images; for rows of numbers write mi and debias.erase: transport"
    elif not (target_is_null(data) or value_at(("data", "target_kind"), data) == "none"):
        why = "learns without a target; set data.columns.target: null"
        yield ("method",), f"{name} {why} (evaluation.fidelity_columns says what features still tell of a column)"
    elif value_at(("backbone", "name"), data) in BUILT_IN:
        yield ("backbone", "name"), f"has no augmented views, which method: {name} compares; name a timm model"
    elif not value_at(("training", "augment"), data):
        yield ("method",), f"{name} compares augmented views of images; set training.augment: true"
    elif value_at(("training", "batch_size"), data) == 1:
        yield ("training", "batch_size"), f"{name} tells an image from the others of its batch; set 2 at least"


def _filtering(data: YamlMapping, name: str) -> Iterator[Fault]:
    """A filter of images needs images, in every epoch."""
    if value_at(("data", "source"), data) in TABULAR:
        yield ("method",), f"{name} filters images; for rows of numbers write mi, or debias.erase: transport"
    cache = value_at(("backbone", "cache"), data)
    if isinstance(cache, str) and cache not in ("auto", "off"):
        why = f"keeps what frozen stages make of images, and method: {name} changes images before; set it to off"
        yield ("backbone", "cache"), why


def _forgetting(data: YamlMapping, name: str) -> Iterator[Fault]:
    """Rows to forget are marked by a column, for a method that forgets, in a model that was trained on them."""
    row, marks = METHODS.get(name), value_at(("data", "columns", "forget"), data)
    if row is None or not row.forgets:
        if marks is not None:
            others = " or ".join(other for other, found in METHODS.items() if found.forgets)
            why = f"marks rows to forget, which method: {name} trains on; set method to {others}, or leave it out"
            yield ("data", "columns", "forget"), why
        return
    if marks is None:
        coloured = value_at(("data", "source"), data) in COLOURED
        why = "coloured digits have no columns" if coloured else "name it in data.columns.forget"
        yield ("method",), f"{name} forgets the training rows that a column marks; {why}"
    if value_at(("discover",), data) is not None:
        why = "trains a model on all rows, those to forget among them; leave it out, and name data.attributes"
        yield ("discover",), why
    if row.starts_from != "original":
        return
    start: YamlPath = ("original", "start_debiasing_from")
    if value_at(("original",), data) is None:
        why = "set original: { weights: FOLDER } to that run, or original: { epochs: 10 } to train one first"
        yield ("method",), f"{name} unlearns rows from a model that was trained on all of them; {why}"
    elif value_at(start, data) == "initial":
        yield start, f"{name} starts from the original's weights; leave it out, or set method: retrain"


def _without_effect(data: YamlMapping, row: MethodRow, name: str) -> Iterator[Fault]:
    """What a method changes is neither frozen nor fitted anew after it."""
    frozen = value_at(("backbone", "train"), data) == "none"
    if row.changes == "features" and frozen and value_at(("representation", "bottleneck"), data) is None:
        why = f"leaves the features as they are, and {name} changes them; set it to all, or representation.bottleneck"
        yield ("backbone", "train"), why
    if row.changes == "head" and value_at(("debias", "erase"), data) not in (None, "none"):
        yield ("debias", "erase"), f"fits the head anew, which is all that {name} changes; leave it out"


def _original(data: YamlMapping) -> Iterator[Fault]:
    """The original is trained, or was."""
    if not isinstance(value_at(("original",), data), dict):
        return
    epochs, weights = (value_at(("original", key), data) for key in ("epochs", "weights"))
    if epochs is None and weights is None:
        yield ("original",), "needs epochs of plain training, or the weights of an earlier run or export"
    for key in ("epochs", "learning_rate") if weights is not None else ():
        if value_at(("original", key), data) is not None:
            yield ("original", key), "is of plain training, which original.weights takes the place of; leave one out"


METHOD_CHECKS: tuple[Check, ...] = (_method, _original)
