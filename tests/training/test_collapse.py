"""A collapse is named once, in a run's log and to the user; the rule itself is tested in test_position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import tiny, train_alone

from mibias_cli.progress import Silent


@pytest.mark.parametrize(
    ("epochs", "named"),
    [
        ([(30.0, 0.6), (9.0, 0.9), (2.0, 0.89)], False),
        ([(30.0, 0.6), (0.0, 0.1), (0.0, 0.1)], True),
    ],
)
def test_a_fall_of_the_rank_is_named_once_where_the_target_falls_with_it(
    epochs: list[tuple[float, float]], named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Told(Silent):
        def warn(self, text: str) -> None:
            told.append(text)

    figures = iter(epochs)

    def validate(*_: Any, **__: Any) -> dict[str, float]:
        rank, accuracy = next(figures)
        return {"validation/effective_rank": rank, "validation/balanced_accuracy": accuracy}

    monkeypatch.setattr("mibias_cli.training.loop.validate", validate)
    train_alone(tiny("original=null"), tmp_path / "run", progress=Told())
    assert sum("they have collapsed" in text for text in told) == named
    assert (tmp_path / "run" / "train.log").read_text().count("they have collapsed") == named
