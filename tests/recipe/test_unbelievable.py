"""Values that nobody means: each is refused by what is wrong with it, in one problem at its place."""

from __future__ import annotations

import pytest

from mibias_cli.cli.recipe_checks import recipe_checks
from mibias_cli.errors import MibiasError, RecipeError
from mibias_cli.recipe.load import parse_recipe
from mibias_cli.run import workflow

TABLE = """
version: 1
data: {source: table, path: a.csv, columns: {target: y, split: part}, attributes: {age: {}, sex: {}}}
backbone: {name: mlp}
"""


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("evaluation.confidence=0.05", "--set evaluation.confidence: must be at least 0.5, not 0.05"),
        (
            "evaluation.confidence=0.999",
            "of 1000 resamples too few lie outside such an interval; set n_bootstrap: 5000",
        ),
        ("evaluation.confidence=0.99999999", "set a confidence of at most 0.9999"),
        ("training.momentum=1", "must be less than 1"),
        ("discover={clusters: 1}", "must be at least 2"),
        ("training.augment=true", "data of source table are rows of numbers"),
        ("data.columns.group=y", "'y' is the target already"),
        ("data.columns.group=part", "'part' is the split column already"),
        ("data.columns.split=y", "'y' is the target already"),
        ("data.features=[a, part]", "--set data.features.1: 'part' is the split column"),
        ("data.features=[a, y]", "--set data.features.1: 'y' is the target, which is not to be read off"),
        (
            "data.attributes.age={bins: 4}",
            "--set data.attributes.age.bins: has no effect where any value is a class; set",
        ),
        ("data.attributes.age={kind: categorical, bins: 4}", "--set data.attributes.age.bins: has no effect where any"),
        ("evaluation.crossings=[[age]]", "--set evaluation.crossings.0: names fewer than two attributes; name two"),
        ("evaluation.crossings=[[age, sex], []]", "--set evaluation.crossings.1: names fewer than two attributes"),
        ("evaluation.crossings=[[age, sex, age]]", "--set evaluation.crossings.0.2: 'age' is named twice"),
        ("evaluation.crossings=[[age, sex], [sex, age]]", "--set evaluation.crossings.1: is crossed above already"),
        (
            "evaluation.crossings=[[age, sx]]",
            "--set evaluation.crossings.0.1: the data have no attribute 'sx', did you",
        ),
        ("data.attributes={a: {column: c}, b: {}, d: {column: c}}", "d: reads column 'c' as 'a' does, so that it"),
        ("data.attributes={age: {}, b: {column: age}}", "data.attributes.b: reads column 'age' as 'age' does"),
        ("data.attributes={'1': {}, b: {column: 1}}", "data.attributes.b: reads column '1' as '1' does"),
        (
            "data.attributes={a: {column: c, kind: continuous, bins: 8}, b: {column: c, kind: continuous}}",
            "data.attributes.b: reads column 'c' as 'a' does",
        ),
        ("data.splits={train: a, validation: a}", "--set data.splits.validation: 'a' is data.splits.train already"),
        ("data.splits={train: test}", "--set data.splits.train: 'test' is data.splits.audit already"),
        ("data.splits={train: 1, audit: '1'}", "--set data.splits.audit: '1' is data.splits.train already"),
        ("debias={mix: {layer: a}}", "--set debias.mix: mixes channels of a network's maps"),
        ("backbone.grad_checkpointing=true", "--set backbone.grad_checkpointing: the built-in networks are small"),
        ("debias={estimator: none, balance: task}", "--set debias.balance: has no effect with estimator: none"),
        ("debias={schedule: fresh, watch: true}", "--set debias.watch: compares the critic with a fit on the queue"),
        ("debias={estimator: none, budget_bits: 0.1}", "--set debias.budget_bits: has no effect with estimator: none"),
        ("debias={estimator: none, budget_bits: {age: 1}}", "--set debias.budget_bits: has no effect with estimator"),
        ("debias.weight=1e7", "--set debias.weight: must be at most 1,000,000, not 1"),
        ("debias.weight=-1", "--set debias.weight: must be auto or a number of at least 0"),
        ("debias.weight=.nan", "--set debias.weight: must be auto or a number of at least 0"),
        ("debias.attribute_weights={age: 1e7}", "--set debias.attribute_weights.age: must be at most 1,000,000"),
        ("debias.attribute_weights={age: .inf}", "--set debias.attribute_weights.age: must be a finite number"),
        ("debias.budget.max_weight=1e7", "must be at most 1,000,000"),
        ("training.learning_rate=101", "--set training.learning_rate: must be at most 100, not 101"),
        ("training.learning_rate=-1e-3", "--set training.learning_rate: must be greater than 0"),
        ("training.learning_rate=.inf", "--set training.learning_rate: must be a finite number"),
        ("original={epochs: 1, learning_rate: 1000}", "--set original.learning_rate: must be at most 100"),
        ("debias.critic.learning_rate=.nan", "--set debias.critic.learning_rate: must be a finite number"),
        ("debias.critic.learning_rate=1000", "--set debias.critic.learning_rate: must be at most 100"),
        # written as numbers, columns are names all the same
        ("data.columns={target: [0, 0]}", "--set data.columns.target.1: '0' is named twice"),
        ("data.columns={target: [0], group: 0}", "'0' is the target already"),
        ("data.path=https://example.org/a.csv", "is an address, and only files and folders are read"),
        ("backbone.weights=s3://a/b.pth", "is an address"),
        ("logging=[jsonl, jsonl]", "--set logging.1: 'jsonl' is named twice"),
        ("name=" + "x" * 101, "must be at most 100 letters"),
        ("debias.budget_bits=0", "--set debias.budget_bits: must be greater than 0, not 0"),
        ("debias.budget_bits=1e9", "--set debias.budget_bits: must be at most 100"),
        ("debias.budget_bits={age: .nan}", "--set debias.budget_bits.age: must be a finite number"),
        ("data.values={age: {x: .inf}}", "--set data.values: age: x: must be text, a number"),
    ],
)
def test_what_nobody_means_is_refused(setting: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TABLE, path="r.yaml", overrides=[setting])
    assert len(caught.value.problems) == 1
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("size", "given", "least"),
    [
        (1, "debias={estimator: mine}", 2),
        (3, "debias={estimator: mmd}", 4),
        (7, "debias={estimator: hgr}", 8),
        (1, "method=end", 2),
    ],
)
def test_what_compares_rows_needs_some_in_a_batch(size: int, given: str, least: int) -> None:
    with pytest.raises(RecipeError, match=f"batch_size: is {size}, and .* compares the rows of a batch, {least} at"):
        parse_recipe(TABLE, path="r.yaml", overrides=[given, f"training.batch_size={size}"])
    parse_recipe(TABLE, path="r.yaml", overrides=[given, f"training.batch_size={least}"])
    # heads score each row by itself
    parse_recipe(TABLE, path="r.yaml", overrides=["training.batch_size=1"])


@pytest.mark.parametrize(
    "settings",
    [
        ["evaluation.confidence=0.999", "evaluation.n_bootstrap=5000"],
        ["evaluation.n_bootstrap=100"],
        ["training.learning_rate=30", "training.optimizer=sgd"],
        # a hospital says something of its patients
        ["data.columns.group=a", "data.features=[a, b]"],
        # one column, read in two ways: loading notes it
        ["data.attributes={a: {column: c}, b: {column: c, kind: continuous}}"],
        ["data.attributes={a: {column: c, kind: continuous, bins: 4}, b: {column: c, kind: continuous}}"],
        ["evaluation.crossings=[[age, sex]]"],
        ["evaluation.crossings=[]"],
        ["training.warmup_epochs=11"],
        ["debias.budget_bits={age: 0.1}"],
        ["data.splits={train: test, audit: train}"],
        ["data.features=[a, sex]"],
        # what is only measured may be the target: a control that must leak
        ["data.attributes.age.column=y", "debias.estimator=none"],
        ["data.attributes.age.column=y", "method=plain"],
        ["data.attributes.age.column=y", "debias.attributes=[sex]"],
    ],
)
def test_what_somebody_may_mean_is_taken(settings: list[str]) -> None:
    parse_recipe(TABLE, path="r.yaml", overrides=settings)


def test_the_target_as_an_attribute_is_refused_where_it_is_debiased() -> None:
    as_target = ["data.attributes.age.column=y"]
    # of data that are named for an audit, it is a control that must leak
    recipe = parse_recipe(TABLE, path="r.yaml", overrides=as_target)
    said = "data.attributes.age.column: 'y' is the target.*or set debias.estimator: none"
    for settings, checks in (([*as_target, "debias={}"], []), (as_target, recipe_checks(trains=True))):
        with pytest.raises(RecipeError, match=said) as caught:
            parse_recipe(TABLE, path="r.yaml", overrides=settings, checks=checks)
        assert len(caught.value.problems) == 1
    with pytest.raises(MibiasError, match=said):
        workflow.train(recipe, out="never-made")
    # the way out that it names
    parse_recipe(TABLE, path="r.yaml", overrides=[*as_target, "debias.estimator=none"])


@pytest.mark.parametrize("digit", ["²", "٣", "①"])
def test_digits_that_are_no_index_end_in_a_problem(digit: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(TABLE, path="r.yaml", overrides=[f"representation.layers.{digit}=x"])
    with pytest.raises(RecipeError, match="is a list of 1"):
        parse_recipe(
            TABLE, path="r.yaml", overrides=["representation.layers=[features]", f"representation.layers.{digit}=x"]
        )


def test_an_empty_list_has_no_items_to_set() -> None:
    with pytest.raises(RecipeError, match=r"gates is an empty list; set all of it: --set 'gates=\[…\]'"):
        parse_recipe(TABLE, path="r.yaml", overrides=["gates.0=x"])


def test_marks_of_rows_to_forget_are_no_feature() -> None:
    overrides = ["data.features=[a, gone]", "data.columns.forget=gone", "method=retrain"]
    with pytest.raises(RecipeError, match=r"data.features.1: 'gone' is the forget column, and says nothing of a sampl"):
        parse_recipe(TABLE, path="r.yaml", overrides=overrides)
