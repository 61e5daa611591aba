"""Leakage beyond the target, where it is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mibias_cli.errors import EvaluationError
from mibias_cli.evaluation.audit import audit
from mibias_cli.evaluation.findings import AuditSettings
from mibias_cli.evaluation.inputs import AuditedAttribute, AuditInput, Features
from mibias_cli.evaluation.leakage.held_out import leakage_given_target
from mibias_cli.progress import Silent

N = 4000
FLIPPED = 0.1
"""Of the attribute: how often it is not the target."""
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, N)
C = np.where(RNG.random(N) < FLIPPED, 1 - Y, Y)
H_C_GIVEN_Y = -(FLIPPED * math.log2(FLIPPED) + (1 - FLIPPED) * math.log2(1 - FLIPPED))


def attribute(name: str, c: np.ndarray) -> AuditedAttribute:
    return AuditedAttribute(
        name=name, channels=(name,), class_names=(("a", "b"),), c=c[:, None], known=np.ones(len(c), dtype=bool)
    )


def leakage(z: np.ndarray, *attributes: AuditedAttribute, y: np.ndarray = Y) -> float:
    return leakage_given_target(z, y, attributes, class_names=("n", "p"), seed=0)


def columns(*parts: np.ndarray) -> np.ndarray:
    noise = RNG.normal(size=(len(parts[0]), 3))
    return np.column_stack([*(part + 0.0 for part in parts), noise])


def test_features_that_repeat_the_target_tell_nothing_beyond_it() -> None:
    assert leakage(columns(Y), attribute("c", C)) == pytest.approx(0.0, abs=0.01)


def test_features_that_hold_the_attribute_tell_what_the_target_leaves_open() -> None:
    assert leakage(columns(C), attribute("c", C)) == pytest.approx(H_C_GIVEN_Y, abs=0.03)


def test_it_is_the_audits_own_figure() -> None:
    z, audited = columns(C), attribute("c", C)
    inputs = AuditInput(
        before=None, after=Features(train=z, audit=z), train_y=Y, audit_y=Y, class_names=("n", "p"),
        attributes=(audited,),
    )  # fmt: skip
    settings = AuditSettings(probes=("logistic",), n_bootstrap=100, n_permutations=0)
    found = audit(inputs, settings, seed=0, progress=Silent()).attributes["c"].after.conditional_leakage_bits
    assert found is not None
    assert leakage(z, audited) == pytest.approx(found.estimate, abs=1e-9)


def test_attributes_add_up() -> None:
    free = RNG.integers(0, 2, N)
    found = leakage(columns(C, free), attribute("c", C), attribute("d", free))
    assert found == pytest.approx(H_C_GIVEN_Y + 1.0, abs=0.04)


@pytest.mark.parametrize(
    ("z", "c", "told"),
    [
        (columns(C)[:12], C[:12], "10 are needed"),
        (columns(C), np.zeros_like(C), "one class only"),
        (columns(np.where(C, np.nan, 0.0)), C, "NaN"),
    ],
)
def test_what_nothing_can_be_told_by_is_refused(z: np.ndarray, c: np.ndarray, told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        leakage(z, attribute("c", c), y=Y[: len(c)])
