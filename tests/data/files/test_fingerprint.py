from __future__ import annotations

from dataclasses import replace

import numpy as np

from mibias_cli.data.batch import Split
from mibias_cli.data.files.fingerprint import fingerprint
from mibias_cli.data.sources.digits import load_digits


def test_any_part_changes_it() -> None:
    data = load_digits()
    splits = [data.train, data.validation, data.audit]

    def of(
        *, train: Split = data.train, names: tuple[str, ...] = data.class_names, texts: tuple[str, ...] = ("a", "b")
    ) -> str:
        return fingerprint([train, *splits[1:]], data.attributes, names, {"paths": texts})

    base = of()
    assert len(base) == 64
    assert base == of()
    y = data.train.y.copy()
    y[0] = (y[0] + 1) % 10
    known = {"colour": np.arange(len(y)) > 0}
    others = [
        of(train=replace(data.train, y=y)),
        of(train=replace(data.train, known=known)),
        of(train=replace(data.train, group=np.arange(len(y)))),
        of(names=("x", *data.class_names[1:])),
        of(texts=("ab",)),
        of(texts=("a", "b", "")),
    ]
    assert len({base, *others}) == 7
