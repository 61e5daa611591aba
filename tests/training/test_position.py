"""Which epoch's weights are kept, and when a collapse is named, from validation figures alone."""

from __future__ import annotations

import pytest

from mibias_cli.data.target import Target, classes_target
from mibias_cli.training.position import Position
from mibias_cli.training.settings import SelectSettings

DIGITS = classes_target(tuple("0123456789"))
TWO = classes_target(("no", "yes"))
NUMBERS = Target(kind="regression", columns=("a", "b", "c"), class_names=("low", "high"))


def named_at(epochs: list[tuple[float, float]], target: Target) -> list[int]:
    """Epochs at which a collapse is named, given effective rank and balanced accuracy (or R²) of each."""
    figure = "r2" if target.kind == "regression" else "balanced_accuracy"
    position = Position()
    return [
        k
        for k, (rank, score) in enumerate(epochs)
        if position.collapse({"validation/effective_rank": rank, f"validation/{figure}": score}, target) is not None
    ]


@pytest.mark.parametrize(
    ("epochs", "target", "named"),
    [
        # a fall of the rank counts where the target falls with it
        ([(30.0, 0.6), (9.0, 0.9), (2.0, 0.89)], DIGITS, []),
        ([(30.0, 0.6), (9.0, 0.9), (2.0, 0.5)], DIGITS, [2]),
        # constant features tell nothing, whatever came before; it is said once
        ([(30.0, 0.6), (0.0, 0.1), (0.0, 0.1)], DIGITS, [1]),
        # nothing to compare with in the first epoch: below 2 directions are too few for ten classes, not for two
        ([(1.01, 0.1), (1.01, 0.1)], DIGITS, [0]),
        ([(1.01, 0.5), (1.01, 0.5)], TWO, []),
        # and enough where the ten classes are told nevertheless
        ([(1.9, 0.7)], DIGITS, []),
        # below 2 is a fall whatever a tenth of the largest is, but only below half of it
        ([(8.0, 0.6), (1.5, 0.2)], DIGITS, [1]),
        ([(2.5, 0.6), (1.5, 0.2)], DIGITS, []),
        # two classes need one direction: only constant features are a collapse
        ([(2.75, 0.71), (1.34, 0.73), (1.16, 0.69), (0.0, 0.5)], TWO, [3]),
        # targets of three numbers, by R²
        ([(8.0, 0.6), (1.5, 0.58)], NUMBERS, []),
        ([(8.0, 0.6), (1.5, 0.1)], NUMBERS, [1]),
    ],
)
def test_a_collapse_is_named_by_the_audits_rule(
    epochs: list[tuple[float, float]], target: Target, named: list[int]
) -> None:
    assert named_at(epochs, target) == named


def test_without_features_to_look_at_nothing_is_named() -> None:
    assert Position().collapse({}, DIGITS) is None


@pytest.mark.parametrize(("mode", "kept"), [("max", [True, True, False, False]), ("min", [True, False, True, False])])
def test_the_best_epoch_is_kept_and_patience_ends_the_stage(mode: str, kept: list[bool]) -> None:
    position = Position()
    select = SelectSettings(metric="m", mode="max" if mode == "max" else "min", patience=2)
    assert [position.improves({"m": value}, select) for value in (0.5, 0.7, 0.1, 0.6)] == kept
    assert position.finished == (mode == "max")  # 0.7 was followed by two that are no better


def test_without_a_metric_the_last_epoch_is_kept() -> None:
    assert all(Position().improves({}, SelectSettings()) for _ in range(3))


@pytest.mark.parametrize(
    ("figures", "target", "said"),
    [
        (
            {"validation/balanced_accuracy": 0.12},
            DIGITS,
            "balanced accuracy on validation rows is 0.120, chance is 0.100",
        ),
        ({"validation/balanced_accuracy": 0.2}, DIGITS, None),
        ({"validation/balanced_accuracy": 0.51}, TWO, "chance is 0.500"),
        ({"validation/balanced_accuracy": 0.55}, TWO, None),
        ({"validation/r2": -0.01}, NUMBERS, "R² on validation rows is -0.010, chance is 0.000"),
        ({"validation/r2": 0.3}, NUMBERS, None),
        ({}, DIGITS, None),
    ],
)
def test_a_head_that_ends_at_chance_is_named(figures: dict[str, float], target: Target, said: str | None) -> None:
    position = Position()
    assert position.at_chance(target, penalised=True) is None
    position.keep(figures, target)
    warning = position.at_chance(target, penalised=True)
    assert warning is None if said is None else warning is not None and said in warning
    plain = position.at_chance(target, penalised=False)
    assert plain is None or (said is not None and said in plain and "debias.weight" not in plain)
