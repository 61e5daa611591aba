"""An audit of plain arrays: features and labels in, the typed report out. No recipe, no files, no training."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike
from pydantic import JsonValue, ValidationError

from mibias_cli.data.encoding import bin_names
from mibias_cli.errors import EvaluationError, did_you_mean
from mibias_cli.evaluation.audit import audit as audit_inputs
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditedTarget, AuditInput, Features
from mibias_cli.evaluation.leakage.jobs import Fitters
from mibias_cli.progress import Progress, Silent
from mibias_cli.recipe.checks import cross_checks
from mibias_cli.recipe.messages import faults_of
from mibias_cli.recipe.sections.evaluation import EvaluationSection
from mibias_cli.report.document import Report, make_report

__all__ = ["audit"]

MAX_CLASSES = 50
"""Classes of a column that is not said to be of numbers: with more it is likelier an identifier or a measurement."""
N_BINS = 4
"""Quantile bins of numbers, for the probes that tell classes apart."""
_NEEDS = (
    (("train_features", "target"), "train_target", "a head is fitted on train_features and their classes"),
    (("train_features", "before"), "train_before", "task figures compare both extractors on training samples"),
    (("train_target",), "train_features", "train_target holds the classes of their rows"),
    (("train_target",), "target", "a head fitted to train_target is scored on it"),
    (("train_before",), "train_features", "train_before holds the original's features of the same samples"),
    (("train_before",), "before", "train_before comes from the same extractor"),
)
"""Arguments, what they need beside them, and why."""


def audit(
    features: ArrayLike,
    attributes: Mapping[str, ArrayLike],
    target: ArrayLike | None = None,
    *,
    before: ArrayLike | None = None,
    train_features: ArrayLike | None = None,
    train_target: ArrayLike | None = None,
    train_before: ArrayLike | None = None,
    group: ArrayLike | None = None,
    numbers: Collection[str] = (),
    settings: AuditSettings | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    jobs: int | None = 1,
) -> Report:
    """Audit features for leakage of bias attributes: what fresh probes extract, in bits, with intervals and controls.

    This is the audit of `mibias evaluate`, for programs that have features already. Every figure is a lower bound on
    what the features hold, up to sampling error; nothing is clamped.

    Args:
        features: (n, d), of samples on which nothing was trained.
        attributes: By name, or a table of pandas: (n,) classes (text, whole numbers, booleans) or numbers (with
            fractions, or named in `numbers`). None, NaN, NaT, the NA of pandas and masked values are missing.
        target: (n,) classes; with it the report holds leakage given the target, I(z; c | y), too.
        before: (n, d') features of an original extractor, on the same samples, to compare with.
        train_features: (m, d) of training samples; with `train_target` the report has task figures of a logistic head.
        train_target: (m,) their classes.
        train_before: (m, d') the original's features of them; needed beside `before` for task figures.
        group: (n,) ids of what belongs together, such as a patient, none missing: never on both sides of a split.
        numbers: Names of attributes whose whole numbers are quantities, not classes.
        settings: Probes, resamples and so on; None: the defaults of a recipe.
        seed: Of everything random: the same arrays and seed give the same report.
        progress: Told of every fitted probe; None: nobody is.
        jobs: Processes that fit probes, on which no figure depends; None: one for each core.

    Returns:
        The report; `report.attributes[name].after.leakage_bits.estimate` is in bits.

    Raises:
        EvaluationError: Arrays that do not fit together or lack another, features that are not finite, an attribute
            that does not vary, or too few samples.

    Example:
        >>> import numpy as np
        >>> g = np.random.default_rng(0)
        >>> scanner = g.integers(0, 2, 600)
        >>> features = g.normal(size=(600, 8)) + 2.0 * scanner[:, None]
        >>> found = audit(features, {"scanner": scanner}).attributes["scanner"].after.leakage_bits
        >>> 0.8 < found.lower <= found.estimate <= 1.0
        True
    """
    attributes = _named(attributes)
    settings = settings or AuditSettings()
    _check_given(
        attributes, numbers, seed, settings, target=target, before=before, train_features=train_features,
        train_target=train_target, train_before=train_before,
    )  # fmt: skip
    z = _matrix("features", features)
    n = len(z)
    # without a target everything is of one stratum
    labels = ["all"] * n if target is None else target
    y, class_names = _complete("target", labels, n, "leave those samples out")
    train_z, train_y = _training(train_features, train_target, z, class_names)
    nothing = AuditedTarget(kind="none", names=(), train=train_y[:, None], audit=y[:, None])
    inputs = AuditInput(
        before=None if before is None else _original(before, train_before, n, len(train_z)),
        after=Features(train=train_z, audit=z),
        train_y=train_y,
        audit_y=y,
        class_names=class_names,
        attributes=tuple(_attribute(name, values, n, numbers) for name, values in attributes.items()),
        group=None if group is None else _complete("group", group, n, "each sample needs an id, if need be its own")[0],
        target=nothing if target is None else None,
    )
    found = audit_inputs(
        inputs, settings, seed=seed, progress=progress or Silent(), fitters=Fitters(jobs), sizes_of="marginal"
    )
    # whether anything was asked of these features is not known
    return make_report(found, _provenance(z, seed), debiased=())


def _provenance(z: np.ndarray, seed: int) -> dict[str, JsonValue]:
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "features_sha256": hashlib.sha256(np.ascontiguousarray(z).tobytes()).hexdigest(),
        "seed": int(seed),
    }


def _named(attributes: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """Also the columns of a table of pandas, which is no mapping."""
    if not hasattr(attributes, "items"):
        kind = type(attributes).__name__
        raise EvaluationError(f"attributes: expected arrays by name, as in {{'sex': sex}}, found one {kind}")
    named = dict(attributes.items())
    for name in named:
        if not isinstance(name, str):
            raise EvaluationError(f"attributes: names are text, but one is {name!r}; write '{name}'")
    return named


def _check_given(
    attributes: Mapping[str, ArrayLike],
    numbers: Collection[str],
    seed: int,
    settings: AuditSettings,
    **arrays: ArrayLike | None,
) -> None:
    """Raise one error that names everything that is missing beside something else, and names that are not there."""
    problems = [] if seed >= 0 else [f"seed: is {seed}; write 0 or more"]
    problems += [] if attributes else ["attributes: is empty; name at least one bias attribute"]
    for name in numbers:
        if name not in attributes:
            problems.append(f"numbers: there is no attribute '{name}'{did_you_mean(name, attributes)}")
    there = {name for name, values in arrays.items() if values is not None}
    # an argument that nothing could be made of would be passed over without a word
    lacking = [(needed, why) for given, needed, why in _NEEDS if there.issuperset(given) and needed not in there]
    problems += [f"{needed}: is missing; {why}" for needed, why in lacking]
    problems += _setting_faults(settings, attributes)
    if problems:
        raise EvaluationError("\n".join(problems))


def _setting_faults(settings: AuditSettings, attributes: Mapping[str, ArrayLike]) -> list[str]:
    """What a recipe with the same `evaluation` would be told."""
    given = settings.model_dump(mode="json")
    told = cross_checks({"data": {"attributes": dict.fromkeys(attributes)}, "evaluation": given})
    try:
        EvaluationSection.model_validate(given)
    except ValidationError as error:
        errors = error.errors()
        for each in errors:
            each["loc"] = ("evaluation", *each["loc"])
        told += faults_of(errors, {"evaluation": given})
    return [f"settings.{'.'.join(map(str, path[1:]))}: {what}" for path, what in told]


def _array(name: str, given: ArrayLike) -> np.ndarray:
    # numpy would read what is behind the mask
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        values = given.data.astype(np.float64 if given.ndim > 1 else object)
        values[np.ma.getmaskarray(given)] = np.nan if given.ndim > 1 else None
        given = values
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor that needs its gradient, or is on a GPU
        raise EvaluationError(f"{name}: cannot be read as an array ({error})") from error


def _matrix(name: str, given: ArrayLike, n: int | None = None) -> np.ndarray:
    z = _array(name, given)
    if z.ndim != 2 or z.dtype.kind not in "fiub":
        raise EvaluationError(f"{name}: expected numbers of shape (samples, features), found {z.shape} of {z.dtype}")
    if n is not None and len(z) != n:
        raise EvaluationError(f"{name}: {len(z)} rows, but {n} are expected: one for each sample")
    bad = int((~np.isfinite(z)).any(axis=1).sum())
    if bad:
        raise EvaluationError(f"{name}: NaN or infinite in {bad} of {len(z)} rows; leave those samples out")
    return z.astype(np.float32 if z.dtype == np.float32 else np.float64)


def _complete(name: str, given: ArrayLike, n: int, fix: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices and names of what may not be missing."""
    codes, names, known = _codes(name, given, n)
    if not known.all():
        raise EvaluationError(f"{name}: missing in {int((~known).sum())} of {n} samples; {fix}")
    return codes, names


def _original(before: ArrayLike, train_before: ArrayLike | None, n: int, n_train: int) -> Features:
    audited = _matrix("before", before, n)
    trained = audited[:0] if train_before is None else _matrix("train_before", train_before, n_train)
    return Features(train=trained, audit=audited)


def _training(
    features: ArrayLike | None, target: ArrayLike | None, z: np.ndarray, class_names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Features and class indices of training samples; empty where there are none."""
    if features is None:
        return z[:0], np.zeros(0, dtype=np.int64)
    train = _matrix("train_features", features)
    if train.shape[1] != z.shape[1]:
        raise EvaluationError(f"train_features: {train.shape[1]} columns, but features has {z.shape[1]}")
    if target is None:
        return train, np.zeros(len(train), dtype=np.int64)
    codes, names, known = _codes("train_target", target, len(train))
    unseen = sorted(set(names) - set(class_names))
    if unseen or not known.all():
        what = f"classes that target does not hold: {', '.join(unseen[:5])}" if unseen else "missing values"
        raise EvaluationError(f"train_target: {what}; leave those samples out")
    place = np.array([class_names.index(name) for name in names])
    return train, place[codes]


def _attribute(name: str, given: ArrayLike, n: int, numbers: Collection[str]) -> AuditedAttribute:
    """Classes, or numbers with the quantile bins that probes of classes need."""
    values = _array(f"attribute '{name}'", given)
    if values.shape != (n,):
        raise EvaluationError(f"attribute '{name}': expected shape ({n},), one value a sample, found {values.shape}")
    if name in numbers or _has_fractions(values[_known(values)]):
        return _of_numbers(name, values)
    codes, names, known = _codes(f"attribute '{name}'", values, n)
    if len(names) > MAX_CLASSES:
        raise EvaluationError(
            f"attribute '{name}': {len(names)} different values; for a quantity pass numbers=[{name!r}], "
            "for classes put rare ones together"
        )
    return AuditedAttribute(name=name, channels=(name,), class_names=(names,), c=codes[:, None], known=known)


def _has_fractions(values: np.ndarray) -> bool:
    # with a gap that is no NaN, numbers come as objects
    if values.dtype.kind == "O" and all(isinstance(value, float | int | np.number) for value in values):
        values = values.astype(np.float64)
    return values.dtype.kind == "f" and bool((np.mod(values[np.isfinite(values)], 1) != 0).any())


def _of_numbers(name: str, given: np.ndarray) -> AuditedAttribute:
    values, there = np.full(len(given), np.nan), _known(given)
    try:
        values[there] = given[there].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"attribute '{name}': is named in numbers, but is not of numbers ({error})") from error
    known = np.isfinite(values)
    if not known.any():
        raise EvaluationError(f"attribute '{name}': holds no number at all")
    edges = np.unique(np.quantile(values[known], np.arange(1, N_BINS) / N_BINS))
    codes = np.where(known, np.searchsorted(edges, values, side="right"), 0)
    return AuditedAttribute(
        name=name, channels=(name,), class_names=(bin_names(tuple(map(float, edges))),), c=codes[:, None], known=known,
        kind="continuous", values=np.where(known, values, 0.0)[:, None],
    )  # fmt: skip


def _codes(name: str, given: ArrayLike, n: int) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Class indices (n,), their names in order, and where a value is known (n,)."""
    values = _array(name, given)
    if values.shape != (n,):
        raise EvaluationError(f"{name}: expected shape ({n},), one value a sample, found {values.shape}")
    known = _known(values)
    written = np.array([_written(value) if there else "" for value, there in zip(values.tolist(), known, strict=True)])
    order = {_written(value): value for value in values[known].tolist()}
    try:
        names = sorted(order, key=lambda text: order[text])
    except TypeError:  # values of several types have no order of their own
        names = sorted(order)
    index = {text: k for k, text in enumerate(names)}
    return np.array([index.get(text, 0) for text in written], dtype=np.int64), tuple(names), known


def _known(values: np.ndarray) -> np.ndarray:
    """(n,) bool: None, NaN, NaT and the NA of pandas are missing values."""
    if values.dtype.kind in "mM":
        return ~np.isnat(values)
    # NaN and NaT are not equal to themselves, and to ask whether NA is gives NA, which is neither true nor false
    same = [value is not None and value == value for value in values.tolist()]
    return np.array([isinstance(equal, bool | np.bool_) and bool(equal) for equal in same], dtype=bool)


def _written(value: object) -> str:
    """`1` and `1.0` are one class."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
