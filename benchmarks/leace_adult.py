"""UCI Adult erased by LEACE, audited: a linear probe finds no sex in it, another one does.

    python benchmarks/leace_adult.py --adult data/adult

The folder holds adult.data.gz with a header row. Features are all columns but sex and income, numbers standardised and
the rest one-hot; LEACE is fitted on the training rows and erases sex from all. Columns of categories rarer than 1 % are
left out; with --rare they stay, and then even a linear probe reads sex: where a rare category does not occur its column
holds nothing but what LEACE subtracted, which is the very direction that tells sex.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mibias_cli.data.columns import AttributeColumn, Columns, SplitRule
from mibias_cli.data.sources.table import load_table
from mibias_cli.estimators.protocol import Sample
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.methods.erasers.linear_eraser import fit_leace
from mibias_cli.progress import Silent

N_AUDIT = 6000


def main() -> None:
    """Erase, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adult", type=Path, required=True, help="folder with adult.data.gz")
    parser.add_argument("--rare", action="store_true", help="keep the columns of rare categories")
    arguments = parser.parse_args()
    folder = arguments.adult
    data = load_table(
        folder / "adult.data.gz", columns=Columns(target="income"), attributes={"sex": AttributeColumn()},
        splits=SplitRule(fractions=(0.6, 0.1, 0.3)), seed=0,
    )  # fmt: skip
    train, held = data.train, data.audit
    rows = np.random.default_rng(0).permutation(len(held))[:N_AUDIT]
    x = {name: split.reader.read(split.rows, None).double() for name, split in (("train", train), ("audit", held))}
    if not arguments.rare:
        common = (x["train"] != 0).double().mean(dim=0) >= 0.01
        x = {name: v[:, common] for name, v in x.items()}
    c = torch.from_numpy(train.c["sex"])
    eraser = fit_leace(Sample(z=x["train"], c=c, y=None, weight=None, known=torch.ones(len(c), dtype=torch.bool)), (2,))

    def features(erased: bool) -> Features:
        z = {name: (eraser(v) if erased else v).numpy() for name, v in x.items()}
        return Features(train=z["train"], audit=z["audit"][rows])

    attribute = AuditedAttribute(
        name="sex", channels=("sex",), class_names=data.attributes["sex"].class_names, c=held.c["sex"][rows],
        known=held.known["sex"][rows],
    )  # fmt: skip
    inputs = AuditInput(
        before=features(False), after=features(True), train_y=train.y, audit_y=held.y[rows],
        class_names=data.class_names, attributes=(attribute,),
    )  # fmt: skip
    found = audit(inputs, AuditSettings(), seed=0, progress=Silent()).attributes["sex"]
    print(f"H(sex) = {found.entropy_bits:.3f} bits; majority {found.after.chance_accuracy:.3f}")
    print("| probe | bits before | bits after LEACE | accuracy before | after |\n| --- | ---: | ---: | ---: | ---: |")
    assert found.before is not None
    for name, before in found.before.marginal.probes.items():
        after = found.after.marginal.probes[name]
        print(
            f"| {name} | {before.leakage_bits:.3f} | {after.leakage_bits:.3f} | {before.accuracy:.3f} "
            f"| {after.accuracy:.3f} |"
        )
    top, interval = found.after.marginal, found.after.leakage_bits
    print(f"after: {top.headline_probe}, {interval.estimate:.3f} [{interval.lower:.3f}, {interval.upper:.3f}]")
    print(f"p = {top.p_value}, corrected {top.p_value_holm}")


if __name__ == "__main__":
    main()
