"""Figures that no audit writes: each edit of a report is told by what it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mibias_cli.errors import RunError
from mibias_cli.report.document import Report
from mibias_cli.report.read import read_report

Plain = dict[str, Any]


def leakage(plain: Plain) -> Plain:
    found: Plain = plain["attributes"]["colour"]["after"]
    return found


def set_estimate(plain: Plain, value: object) -> None:
    after = leakage(plain)
    after["leakage_bits"]["estimate"] = after["probes"][after["headline_probe"]]["leakage_bits"] = value


EDITS: dict[str, Callable[[Plain], object]] = {
    "ends .0.1. before it begins .0.9.": lambda p: p["task"]["after"].update(
        accuracy_interval={"lower": 0.9, "upper": 0.1}
    ),
    "attributes.colour.after.leakage_bits ends": lambda p: leakage(p)["leakage_bits"].update(lower=9),
    "task.after.accuracy is 7, and lies between 0 and 1": lambda p: p["task"]["after"].update(accuracy=7),
    "p_value_holm is -1, and lies": lambda p: leakage(p).update(p_value_holm=-1),
    "chance_accuracy is 2": lambda p: leakage(p).update(chance_accuracy=2),
    "entropy_bits is -1, and no entropy": lambda p: p["attributes"]["colour"].update(entropy_bits=-1),
    "n_known counts more": lambda p: p["attributes"]["colour"].update(n_known=10**400),
    "estimate is True, no number": lambda p: set_estimate(p, True),
    "estimate is '0.1', no number": lambda p: set_estimate(p, "0.1"),
    "is 60 bits of the": lambda p: set_estimate(p, 60),
    "is -5 bits, far outside of its interval": lambda p: set_estimate(p, -5),
    "probe 'oracle', which is not among": lambda p: leakage(p).update(headline_probe="oracle"),
    "'gradient_boosting', which is not among": lambda p: leakage(p)["probes"].clear(),
    r"marginal leakage of colour \(before\) is 0.2": lambda p: p["attributes"]["colour"]["before"][
        "leakage_bits"
    ].update(estimate=0.2),
    "the change of marginal leakage of colour is -0.9 bits, but -0.75": lambda p: p["attributes"]["colour"]["change"][
        "leakage_bits"
    ].update(estimate=-0.9),
}


@pytest.mark.parametrize("said", EDITS)
def test_an_edit_gives_itself_away(said: str, make: Callable[..., Report], tmp_path: Path) -> None:
    path = tmp_path / "leakage.json"
    plain = json.loads(make(name="colour").to_json())
    EDITS[said](plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match=f"was edited or damaged: .*{said}.*; audit again"):
        read_report(path)


def test_a_key_that_stands_twice_is_refused(make: Callable[..., Report], tmp_path: Path) -> None:
    path = tmp_path / "leakage.json"
    text = make(name="colour").to_json()
    path.write_text(text.replace('"attributes":', '"attributes": {}, "attributes":', 1))
    with pytest.raises(RunError, match="the key 'attributes' stands twice"):
        read_report(path)


def test_groups_may_be_called_like_figures(make: Callable[..., Report], tmp_path: Path) -> None:
    path = tmp_path / "leakage.json"
    plain = json.loads(make(name="accuracy").to_json())
    plain["provenance"] = {"accuracy": 7, "lower": 2, "upper": 1, "estimate": "x"}
    path.write_text(json.dumps(plain))
    assert list(read_report(path).attributes) == ["accuracy"]


def test_each_side_and_question_of_several_channels_has_its_own_headline(
    make: Callable[..., Report], tmp_path: Path
) -> None:
    path = tmp_path / "leakage.json"
    plain = json.loads(make(name="colour").to_json())
    found = plain["attributes"]["colour"]
    # the second channel leads given the target, and has far more to tell than the first
    found["channels"]["green"]["entropy_bits"] = 6.0
    after = found["after"]
    after["conditional_headline_channel"] = "green"
    for place in (after["conditional_leakage_bits"], after["conditional_probes"][after["conditional_headline_probe"]]):
        for key in place.keys() & {"estimate", "lower", "upper", "leakage_bits"}:
            place[key] = 4.5
    expected = 4.5 - found["before"]["conditional_leakage_bits"]["estimate"]
    found["change"]["conditional_leakage_bits"] = {"estimate": expected, "lower": expected, "upper": expected}
    path.write_text(json.dumps(plain))
    assert read_report(path).attributes["colour"].channels["green"].entropy_bits == 6
    # of the first channel 4.5 bits are more than there are
    after["conditional_headline_channel"] = "red"
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match="conditional leakage of colour .after. is 4.5 bits of the 2 that there are"):
        read_report(path)


def test_a_regressor_may_gain_more_than_the_bins_of_a_number_hold(make: Callable[..., Report], tmp_path: Path) -> None:
    path = tmp_path / "leakage.json"
    plain = json.loads(make(name="colour", channels=("colour",), before=None).to_json())
    found = plain["attributes"]["colour"]
    found["entropy_bits"], found["kind"] = 1.0, "continuous"
    after = found["after"]
    after["leakage_bits"] = {"estimate": 4.5, "lower": 4.4, "upper": 4.6}
    after["probes"][after["headline_probe"]]["leakage_bits"] = 4.5
    path.write_text(json.dumps(plain))
    assert read_report(path).attributes["colour"].after.leakage_bits.estimate == 4.5
    # an interval that its estimate is far from is told all the same, and of classes so is the sum
    after["leakage_bits"]["upper"] = 9.0
    after["leakage_bits"]["lower"] = 8.9
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match="far outside of its interval"):
        read_report(path)
    after["leakage_bits"] = {"estimate": 4.5, "lower": 4.4, "upper": 4.6}
    found["kind"] = "categorical"
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match="is 4.5 bits of the 1 that there are"):
        read_report(path)
