"""Recipes with faults: every fault at once, in plain words, on its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mibias_cli.errors import RecipeError
from mibias_cli.output.text import shown
from mibias_cli.recipe.load import dump_recipe, load_recipe, parse_recipe, public_weights
from mibias_cli.recipe.overrides import refuse_undone
from mibias_cli.recipe.schema import Recipe

DIGITS = """\
version: 1
data:
  source: digits
backbone:
  name: test_resnet
"""
MANIFEST = """\
version: 1
data:
  source: manifest
  path: images/list.csv
  attributes:
    sex:
    age: {kind: continuous}
backbone:
  name: resnet18
"""
FIVE_FAULTS = """\
version: 1
name: five
data:
  source: digit
backbone:
  name: test_resnet
  weights: none
debias:
  critc: {steps: 3}
  weight: off
training:
  epochs: 2
  epochs: 3
evaluation:
  probes: [logistic, mpl]
"""


def problems_of(text: str, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, path="recipe.yaml", overrides=overrides)
    return [str(problem) for problem in caught.value.problems]


def first_lines(text: str, overrides: tuple[str, ...] = ()) -> list[str]:
    return [problem.splitlines()[0] for problem in problems_of(text, overrides)]


def test_five_faults_are_five_problems_each_with_its_line() -> None:
    assert (
        "\n".join(problems_of(FIVE_FAULTS))
        == """\
recipe.yaml:4:11 data.source: must be one of manifest, imagefolder, digits, mnist, table, embeddings, webdataset; not 'digit', did you mean 'digits'?
      source: digit
              ^
recipe.yaml:9:3 debias.critc: unknown key, did you mean 'critic'?
      critc: {steps: 3}
      ^
recipe.yaml:10:11 debias.weight: must be auto or a number of at least 0, not 'off'
      weight: off
              ^
recipe.yaml:13:3 training.epochs: key repeated, it stands on line 12 already; keep one of the two
      epochs: 3
      ^
recipe.yaml:15:22 evaluation.probes.1: must be logistic, quadratic, mlp, knn, gradient_boosting or head, not 'mpl', did you mean 'mlp'?
      probes: [logistic, mpl]
                         ^"""
    )


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("debias:\n  critc_steps: 3\n", "7:3 debias.critc_steps: unknown key, did you mean 'critic.steps'?"),
        ("debias:\n  queue_batches: true\n", "7:18 debias.queue_batches: must be a whole number, not true"),
        ("debias:\n  queue_batches: 1.5\n", "7:18 debias.queue_batches: must be a whole number, not 1.5"),
        ("debias:\n  queue_batches: 0\n", "7:18 debias.queue_batches: must be greater than 0, not 0"),
        ("debias:\n  weight: '2'\n", "7:11 debias.weight: must be auto or a number of at least 0, not '2'; take the quotes off"),
        ("debias:\n  weight: .nan\n", "7:11 debias.weight: must be auto or a number of at least 0, not nan"),
        ("debias:\n  weight:\n", "7:3 debias.weight: must be auto or a number of at least 0, not null"),
        ("debias: [1]\n", "6:9 debias: must be a section of keys and values, not a list"),
        ("debias:\n  estimator: mime\n", "must be classifier, lntl, vclub, mine, dv, nwj"),
        ("debias:\n  estimator: mime\n", "hgr, hgr_basis or none, not 'mime', did you mean 'mine'?"),
        ("debias:\n  learning_rate: 1\n", "'learning_rate' belongs to original or debias.critic or training"),
        ("debias:\n  critic:\n    hidden: [8, x]\n", "8:17 debias.critic.hidden.1: must be a whole number, not 'x'"),
        ("debias:\n  critic:\n    hidden: 8\n", "8:13 debias.critic.hidden: must be a list, not 8"),
        ("training:\n  augment: off\n", "must be true or false, not 'off' (in YAML 1.2 on, off, yes and no are text)"),
        ("training:\n  augment: 1\n", "7:12 training.augment: must be true or false, not 1"),
        ("training:\n  precision: 8\n", "7:14 training.precision: must be 32, 64, bf16, 16 or auto, not '8'"),
        ("evaluation:\n  confidence: 1\n", "7:15 evaluation.confidence: must be less than 1, not 1"),
        ("evaluation:\n  probes: []\n", "7:11 evaluation.probes: needs at least 1 entry, it has 0"),
        ("evaluation:\n  probes: [mlp, mlp]\n", "7:17 evaluation.probes.1: 'mlp' is named twice"),
        ("original: {}\n", "6:11 original: needs epochs of plain training, or the weights"),
        ("original:\n", ""),
        ("debias:\n", ""),
        ("name: a b\n", "6:7 name: must be at most 100 letters, digits, '.', '_' and '-', a letter or digit first; not 'a b'"),
        ("name: 3\n", "6:7 name: must be text, not 3; put it in quotes if it is meant as text"),
        ("splits: {}\n", "6:1 splits: unknown key"),
        ("nonsense: {}\n", "6:1 nonsense: unknown key; known here: version, name, seed, data, backbone"),
        ("training:\n  select: {patience: 2}\n", "7:22 training.select.patience: needs training.select.metric"),
        ("debias:\n  attributes: [color]\n", "7:16 debias.attributes.0: the data have no attribute 'color', did you mean 'colour'?"),
        ("debias:\n  attributes: []\n", "7:15 debias.attributes: is empty"),
    ],
)  # fmt: skip
def test_one_fault_one_problem(section: str, expected: str) -> None:
    if not expected:
        assert isinstance(parse_recipe(DIGITS + section, path="recipe.yaml"), Recipe)
        return
    (line,) = first_lines(DIGITS + section)
    assert expected in line


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("version: 1", "version: 2", "recipe.yaml:1:10 version: must be 1, not 2"),
        ("version: 1\n", "", "recipe.yaml:1:1 version: missing key"),
        ("  path: images/list.csv\n", "", "recipe.yaml:2:1 data.path: missing key: Table (.csv, .tsv, .parquet, .feather, .jsonl)"),
        ("  source: manifest\n", "", "recipe.yaml:2:1 data.source: missing key: where the data come from"),
        ("source: manifest", "sourcq: manifest", "recipe.yaml:3:3 data.sourcq: unknown key, did you mean 'source'?"),
        ("source: manifest", "source:", "recipe.yaml:3:3 data.source: must be one of manifest, imagefolder"),
        ("    age: {kind: continuous}", "    age: {kind: continous}", "7:17 data.attributes.age.kind: must be categorical"),
        ("    age: {kind: continuous}", "    age: 3", "7:10 data.attributes.age: must be a section of keys"),
        ("name: resnet18", "name: mlp", "9:9 backbone.name: `mlp` takes rows of numbers"),
        ("name: resnet18", "weights: none", "8:1 backbone.name: missing key: A timm model name"),
        ("name: resnet18", "name: resnet18\n  weights: pretrain", "not 'pretrain', did you mean 'pretrained'?"),
        ("name: resnet18", "name: digit_cnn\n  weights: pretrained", "digit_cnn has no pretrained weights"),
        ("name: resnet18", "name: resnet18\n  train: [a, 2]", "10:10 backbone.train: must be all, none, or a list of stage names"),
        ("name: resnet18", "name: resnet18\n  train: [a, a]", "10:14 backbone.train.1: 'a' is named twice"),
        ("source: manifest", "source: table", "backbone.name: data of source table are rows of numbers, they need `mlp`"),
        ("  path:", "  splits: {fractions: [0.5, 0.5]}\n  path:", "4:23 data.splits.fractions: needs 3 entries, it has 2"),
        ("  path:", "  splits: {fractions: [0.5, 0.5, 0, 0]}\n  path:", "4:23 data.splits.fractions: needs 3 entries, it has 4"),
        ("  path:", "  splits: {fractions: [0.5, 0.5, 0.5]}\n  path:", "4:23 data.splits.fractions: must sum to 1, they sum to 1.5"),
        ("  path:", "  colums: {}\n  path:", "4:3 data.colums: unknown key, did you mean 'columns'?"),
        ("  path:", "  columns: {targt: y}\n  path:", "4:13 data.columns.targt: unknown key, did you mean 'target'?"),
    ],
)  # fmt: skip
def test_faults_of_a_manifest_recipe(old: str, new: str, expected: str) -> None:
    text = MANIFEST.replace(old, new)
    assert any(expected in line for line in first_lines(text)), first_lines(text)


def test_cross_checks_run_beside_faults_of_the_schema() -> None:
    lines = first_lines(MANIFEST + "debias: {attributes: [sx], wieght: 1}\n")
    assert [line.split(": ")[0] for line in lines] == [
        "recipe.yaml:10:23 debias.attributes.0",
        "recipe.yaml:10:28 debias.wieght",
    ]


def test_overrides_are_read_as_yaml_1_2() -> None:
    recipe = parse_recipe(
        DIGITS,
        path="r.yaml",
        overrides=[
            "debias.weight=1e-1",
            "training.augment=true",
            "representation.layers.0=blocks.1",
            "original.epochs=2",
            "debias.critic.hidden=[8, 8]",
            "seed=1",
            "seed=2",
            "training.precision=16",
            "backbone.options={width: 8}",
            "name=off",
        ],
    )
    assert recipe.debias.weight == 0.1
    assert recipe.training.augment is True
    assert recipe.representation.layers == ["blocks.1"]
    assert recipe.original is not None
    assert recipe.original.epochs == 2
    assert recipe.debias.critic.hidden == [8, 8]
    assert (recipe.seed, recipe.training.precision, recipe.name) == (2, "16", "off")
    assert recipe.backbone.options == {"width": 8}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["seed=1", "seed=2"], "--set seed: is set twice"),
        (["debias.weight=1", "debias={weight: 2}"], "--set debias: undoes what was set before, debias.weight"),
    ],
)
def test_an_override_that_undoes_another_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        refuse_undone(given)


def test_a_value_inside_a_section_that_is_set_refines_it() -> None:
    given = ["original={epochs: 2}", "original.epochs=3", "seed=1"]
    refuse_undone(given)
    recipe = parse_recipe(DIGITS, path="r.yaml", overrides=given)
    assert recipe.original is not None
    assert (recipe.original.epochs, recipe.seed) == (3, 1)


def test_faults_of_overrides_name_the_option_and_come_all_at_once() -> None:
    overrides = (
        "debias.wieght=1",
        "training.epochs=two",
        "no-equals",
        "a..b=1",
        "version.x=1",
        "representation.layers.4=a",
        "representation.layers.x=a",
        "debias.weight=[",
        "original.learning_rate=1e-3",
    )
    lines = first_lines(DIGITS.replace("test_resnet", "3"), overrides)
    assert lines[0].startswith("recipe.yaml:5:9 backbone.name: must be text, not 3")
    for expected in (
        "--set original: needs epochs of plain training, or the weights of an earlier run or export",
        "--set debias.wieght: unknown key, did you mean 'weight'?",
        "--set training.epochs: must be a whole number, not 'two'",
        "--set no-equals: write --set KEY=VALUE, for example --set training.epochs=3",
        "--set a..b=1: write --set KEY=VALUE, for example --set training.epochs=3",
        "--set representation.layers.4: representation.layers is a list of 1; its items are 0 to 0, not '4'",
    ):
        assert expected in lines
    assert any(line.startswith("--set debias.weight: not valid YAML") for line in lines)
    assert "--set version.x: version is a single value, it has no 'x'" in lines
    assert len(lines) == 10


def test_a_syntax_error_comes_with_faults_of_overrides() -> None:
    lines = first_lines("a: [\n", ("nonsense",))
    assert lines[0].startswith("recipe.yaml:2:1: not valid YAML")
    assert lines[1].startswith("--set nonsense: write --set KEY=VALUE")


def test_an_override_mends_a_faulty_value() -> None:
    recipe = parse_recipe(DIGITS + "debias: {weight: big}\n", path="r.yaml", overrides=["debias.weight=3"])
    assert recipe.debias.weight == 3


def test_relative_paths_start_from_the_recipe_or_for_set_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = tmp_path / "recipes" / "r.yaml"
    file.write_text(MANIFEST.replace("  attributes:", "  root: ~/pictures\n  attributes:") + "  weights: ../w/a.pth\n")
    recipe = load_recipe(Path("../recipes/r.yaml"))
    assert recipe.data.source == "manifest"
    assert recipe.data.path == tmp_path / "recipes" / "images" / "list.csv"
    assert recipe.data.root == tmp_path / "home" / "pictures"
    assert recipe.backbone.weights == str(tmp_path / "w" / "a.pth")
    moved = load_recipe(file, ["data.path=mine.csv", "backbone.weights=local-dir:exported"])
    assert moved.data.source == "manifest"
    assert moved.data.path == tmp_path / "elsewhere" / "mine.csv"
    assert moved.backbone.weights == f"local-dir:{tmp_path / 'elsewhere' / 'exported'}"


@pytest.mark.parametrize(
    "weights", ["none", "pretrained", "hf-hub:org/model", "hf-hub:org/model.bin", "/a/b.safetensors"]
)
def test_other_weights_stay_as_they_are(weights: str) -> None:
    assert parse_recipe(f"{DIGITS}  weights: {weights}\n", path="/x/r.yaml").backbone.weights == weights


def test_numbers_as_column_names_and_split_values() -> None:
    text = MANIFEST.replace(
        "  path:", "  columns: {target: 20, split: 3}\n  splits: {train: 0, validation: 1, audit: 2}\n  path:"
    )
    recipe = parse_recipe(text, path="r.yaml")
    assert recipe.data.source == "manifest"
    assert (recipe.data.columns.target, recipe.data.splits.train, recipe.data.splits.audit) == ("20", "0", "2")


TRICKY = ["off", "yes", "No", "1e-3", "12", "0o14", "012", "1_000", "1:30", "null", "~", "", "true", "2020-01-01", "a: b",
          "# no comment", "- x", "'", '"', "é ü 漢字 🎈", "line\nbreak", " padded ", "tab\there", "<<", "=", "0x1F", ".inf",
          "!tag", "&a", "*a", "%x", "@x", "`x", "[x", "{x", "x" * 300, "\u2028", "\x7f", "a\u202eb\U000e0041é"]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
def test_dumped_text_comes_back(text: str) -> None:
    recipe = parse_recipe(DIGITS, path="/x/r.yaml")
    changed = recipe.model_copy(
        update={
            "backbone": recipe.backbone.model_copy(update={"options": {"text": text, f"key {text}": [text]}}),
            "representation": recipe.representation.model_copy(update={"layers": [text]}),
        }
    )
    dumped = dump_recipe(changed)
    assert parse_recipe(dumped, path="/elsewhere/r.yaml") == changed
    assert shown(dumped) == dumped


@pytest.mark.parametrize("number", [1e-3, 1e-12, 1e16, 5, 0.1 + 0.2, True, None, -0.0])
def test_dumped_numbers_come_back(number: object) -> None:
    recipe = parse_recipe(DIGITS, path="/x/r.yaml")
    changed = recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"options": {"value": number}})})
    back = parse_recipe(dump_recipe(changed), path="/x/r.yaml").backbone.options["value"]
    assert back == number
    assert type(back) is type(number)


@pytest.mark.parametrize(
    "text", [DIGITS, MANIFEST, DIGITS + "original: {epochs: 1}\ntraining: {select: {metric: a/b}}\n"]
)
def test_a_dumped_recipe_is_equal_and_stable(text: str) -> None:
    recipe = parse_recipe(text, path="/x/r.yaml")
    dumped = dump_recipe(recipe)
    again = parse_recipe(dumped, path="/elsewhere/r.yaml")
    assert again == recipe
    assert dump_recipe(again) == dumped


def test_a_byte_order_mark_and_windows_line_breaks_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + DIGITS.replace("\n", "\r\n").encode())
    assert load_recipe(file).data.source == "digits"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "there is no such file"),
        (b"version: 1\nname: \xff\xfe\n", "is not UTF-8 text (line 2)"),
        (DIGITS.encode("utf-16"), "is not UTF-8 text (line 1)"),
        (b"\x00\x01\x02binary", "the character U+0000 is not allowed"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, raw: bytes | None, expected: str) -> None:
    file = tmp_path / "r.yaml"
    if raw is not None:
        file.write_bytes(raw)
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="this is a folder"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ("/private/weights of mine/w.safetensors", "w.safetensors"),
        ("local-dir:/private/model", "local-dir:model"),
        ("hf-hub:org/model.bin", "hf-hub:org/model.bin"),
        ("pretrained", "pretrained"),
        ("none", "none"),
    ],
)
def test_others_are_told_no_folders_of_the_author(weights: str, told: str) -> None:
    assert public_weights(weights) == told
