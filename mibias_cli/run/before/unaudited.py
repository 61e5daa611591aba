"""What the target never is in audited rows, so that no figure of the task speaks of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mibias_cli.data.batch import BiasedData
from mibias_cli.data.files.tabular import first_rows

__all__ = ["unaudited"]


def unaudited(data: BiasedData) -> Iterator[str]:
    """Warnings of classes that no audited row has, and of labels and numbers that are the same in all of them."""
    kind, y = data.target.kind, data.audit.y
    if kind == "classes":
        yield from _absent_classes(data)
    elif kind != "none":
        alike = [repr(name) for name, one in zip(data.target.columns, (y == y[:1]).all(axis=0), strict=True) if one]
        if alike:
            means = "accuracy" if kind == "multilabel" else "R²"
            yield (
                f"target: {first_rows(alike)} has one value in all {len(y):,} audited rows, so that {means} says "
                "nothing of it. Audit rows of other values too, or leave it out"
            )


def _absent_classes(data: BiasedData) -> Iterator[str]:
    names = data.class_names
    trained, audited = (np.bincount(split.y, minlength=len(names)) for split in (data.train, data.audit))
    absent = [f"{names[k]!r} ({trained[k]:,} training rows)" for k in np.flatnonzero(audited == 0)]
    if absent and len(names) - len(absent) == 1:
        yield (
            f"target: all {audited.sum():,} audited rows are {names[int(audited.argmax())]!r}, none is "
            f"{first_rows(absent)}: accuracy is the share of this one class that is found, which a model that always "
            "predicts it has too, and leakage given the target is all leakage. Audit rows of other classes too"
        )
    elif absent:
        yield (
            f"target: {len(absent)} of {len(names)} classes are in no audited row: {first_rows(absent)}; no figure "
            "speaks of them, and balanced accuracy is the mean over the others. Audit rows of these too"
        )
