from __future__ import annotations

import copy
import json
from collections.abc import Callable

import jsonschema
import numpy as np
import pytest

from mibias_cli.evaluation.task_findings import TaskFindings, TaskSides
from mibias_cli.report.document import Report
from mibias_cli.report.schema import report_schema
from mibias_cli.report.schema_file import load_schema


@pytest.mark.parametrize("options", [{}, {"before": None}, {"channels": ("colour",)}, {"cka": float("nan")}])
def test_every_report_obeys_the_schema(make: Callable[..., Report], options: dict[str, object]) -> None:
    data = json.loads(json.dumps(make(**options).to_dict(), allow_nan=False))
    jsonschema.Draft202012Validator.check_schema(load_schema())
    jsonschema.validate(data, load_schema())


def test_the_schema_refuses_what_is_no_report(make: Callable[..., Report]) -> None:
    validator = jsonschema.Draft202012Validator(load_schema())
    good = make().to_dict()
    for damage in (
        lambda d: d["attributes"]["colour"]["after"].pop("headline_probe"),
        lambda d: d["attributes"]["colour"]["after"]["leakage_bits"].pop("estimate"),
        lambda d: d["task"]["after"].update(accuracy="0.9"),
        lambda d: d.update(schema_version=2),
        lambda d: d["task"].pop("after"),
        lambda d: d.update(extra=1),
    ):
        bad = copy.deepcopy(good)
        damage(bad)
        assert list(validator.iter_errors(bad))


def test_the_names_that_others_read(make: Callable[..., Report]) -> None:
    data = make().to_dict()
    assert data["schema_version"] == 1
    colour = data["attributes"]["colour"]
    for side in ("before", "after"):
        assert set(colour[side]["leakage_bits"]) == set(colour[side]["conditional_leakage_bits"]) == {
            "estimate", "lower", "upper",
        }  # fmt: skip
        assert {"accuracy", "leakage_bits"} <= set(colour[side]["probes"]["logistic"])
        assert colour[side]["headline_probe"] == "gradient_boosting"
        assert colour[side]["chance_accuracy"] == 0.25
        assert {"accuracy", "balanced_accuracy", "worst_group_accuracy", "groups"} <= set(data["task"][side])
        assert {"y", "c", "n", "accuracy"} <= set(data["task"][side]["groups"][0])
    assert (colour["entropy_bits"], colour["target_attribute_bits"]) == (2.0, 0.123)
    assert colour["before"]["leakage_bits"]["estimate"] == 0.8
    assert set(colour["channels"]) == {"red", "green"}
    assert data["task"]["before"]["accuracy"] == 0.7


def test_without_before_it_is_null(make: Callable[..., Report]) -> None:
    data = make(before=None).to_dict()
    assert data["task"]["before"] is None
    assert data["attributes"]["colour"]["before"] is None
    assert data["attributes"]["colour"]["change"] is None


def test_numbers_are_whole_and_finite(make: Callable[..., Report]) -> None:
    data = make(after=1 / 3, cka=float("inf")).to_dict()
    assert data["attributes"]["colour"]["after"]["leakage_bits"]["estimate"] == 1 / 3
    assert data["similarity"]["cka"] is None
    json.dumps(data, allow_nan=False)


def test_what_was_written_is_read_back_the_same(make: Callable[..., Report]) -> None:
    report = make()
    assert Report.model_validate_json(report.to_json()) == report


def test_a_share_that_rounding_lifts_above_one_ends_no_audit(make: Callable[..., Report]) -> None:
    """The adjusted accuracy of a model that is always right is a sum of products over a sum."""
    task = make().task.after
    assert task is not None
    above = np.nextafter(1.0, 2.0)
    found = TaskFindings(**{**dict(task), "adjusted_accuracy": above, "adjusted_accuracies": {"colour": above}})
    report = make().model_copy(update={"task": TaskSides(before=None, after=found)})
    assert Report.model_validate_json(report.to_json()) == report
    jsonschema.validate(report.to_dict(), load_schema())


def test_the_schema_file_is_what_the_types_say() -> None:
    """`python -m mibias_cli.report.schema` writes it anew."""
    assert load_schema() == report_schema()
