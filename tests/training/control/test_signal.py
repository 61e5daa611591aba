"""When a silent critic is named, from estimates alone; whole runs are in tests/run/test_signal.py."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import pytest
import torch

from mibias_cli.estimators.protocol import Sample
from mibias_cli.training.control.signal import N_SHUFFLES, SignalWatch, beyond_chance


class Fixed:
    """An estimator that finds what it is told on rows as they are, and `chance` where labels are shuffled."""

    def __init__(self, unit: Literal["nats", "own"] = "nats", direction: str = "lower", chance: float = -1.0) -> None:
        self.unit, self.direction, self.chance, self.value = unit, direction, chance, 0.0
        self.calls = 0

    def estimate(self, sample: Sample, generator: torch.Generator) -> float:
        self.calls += 1
        return self.value if bool((sample.c[:, 0] == sample.z[:, 0].long()).all()) else self.chance


def rows(n: int = 40) -> Sample:
    c = torch.arange(n)[:, None] % 4
    return Sample(z=c.float(), c=c, y=torch.arange(n) % 2, weight=None, known=torch.ones(n, dtype=torch.bool))


def named(values: list[float], estimator: Any, penalised: tuple[str, ...] = ("a",)) -> list[tuple[int, bool]]:
    """Epochs at which the attribute is named, and whether it had a signal before."""
    watch, found = SignalWatch(), []
    for epoch, value in enumerate(values):
        estimator.value = value
        watch.look("a", estimator, rows(), torch.Generator().manual_seed(0))
        found += [(epoch, had_one) for _, had_one in watch.silences(penalised)]
        # a run may be resumed after any epoch
        state = watch.state_dict()
        watch = SignalWatch()
        watch.load_state_dict(state)
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-0.1, -0.1, -0.1, -0.1], [(1, False)]),
        ([0.0, 0.0], [(1, False)]),
        # one epoch is no proof, a signal in between begins anew, and what was there before is lost, not missing
        ([-0.1, 0.2, -0.1, 0.1, -0.1], []),
        ([0.2, -0.1, -0.1, -0.1], [(2, True)]),
        ([0.2, 0.2, 0.1], []),
        # too few rows for an estimate say nothing
        ([float("nan")] * 4, []),
    ],
)
def test_two_epochs_without_bits_are_named_once(values: list[float], expected: list[tuple[int, bool]]) -> None:
    assert named(values, Fixed()) == expected


def test_measures_that_are_never_0_are_compared_with_shuffled_labels() -> None:
    assert named([0.3, 0.3, 0.3], Fixed("own", "none", chance=0.3)) == [(1, False)]
    assert named([0.3, 0.3, 0.3], Fixed("own", "none", chance=0.1)) == []
    assert named([0.3, 0.3, 0.3], Fixed("nats", "upper", chance=0.4)) == [(1, False)]


def test_a_bound_in_nats_must_exceed_what_shuffled_labels_reach() -> None:
    assert named([0.01, 0.01], Fixed(chance=0.02)) == [(1, False)]


def test_an_attribute_that_is_not_penalised_needs_no_signal() -> None:
    assert named([-0.1] * 4, Fixed(), penalised=()) == []


def test_labels_are_shuffled_within_target_classes_where_it_is_given() -> None:
    seen: list[Sample] = []

    class Looking(Fixed):
        def estimate(self, sample: Sample, generator: torch.Generator) -> float:
            seen.append(sample)
            return 0.0

    sample = rows()
    for given in (True, False):
        seen.clear()
        beyond_chance(Looking(), sample, torch.Generator().manual_seed(0), given_target=given)
        assert len(seen) == 1 + N_SHUFFLES
        # c is k mod 4 and y is k mod 2: within a class of y, c keeps its parity
        kept = all(bool((s.c[:, 0] % 2 == sample.y).all()) for s in seen)
        assert kept == given


@pytest.mark.parametrize(("n_values", "expected"), [(2, 0), (4, 1)])
def test_where_the_target_settles_the_attribute_rows_can_show_nothing(n_values: int, expected: int) -> None:
    """Each of two classes has one of two values, so H(c | y) is 0 whatever the critic knows; with four it is not."""
    watch, sample = SignalWatch(given_target=True), rows()
    sample = dataclasses.replace(sample, c=sample.c % n_values)
    estimator: Any = Fixed()
    estimator.value = -0.1
    said = []
    for _ in range(3):
        watch.look("a", estimator, sample, torch.Generator().manual_seed(0))
        said += watch.silences(("a",))
    assert len(said) == expected
