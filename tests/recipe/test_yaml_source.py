"""YAML 1.2 scalars, positions, and everything that is refused."""

from __future__ import annotations

import math

import pytest

from mibias_cli.errors import RecipeError
from mibias_cli.recipe.yaml_source import parse_value, parse_yaml

SCALARS = {
    "1e-3": 1e-3,
    "1E5": 1e5,
    "1.": 1.0,
    ".5": 0.5,
    "-3": -3,
    "+7": 7,
    "012": 12,
    "0o14": 12,
    "0xFF": 255,
    "off": "off",
    "on": "on",
    "yes": "yes",
    "No": "No",
    "y": "y",
    "1:30": "1:30",
    "190:20:30": "190:20:30",
    "2020-01-01": "2020-01-01",
    "1_000": "1_000",
    "0b11": "0b11",
    "true": True,
    "False": False,
    "TRUE": True,
    "tRUE": "tRUE",
    "~": None,
    "null": None,
    "Null": None,
    "nULL": "nULL",
    "": None,
    "'12'": "12",
    '"off"': "off",
    "!!str 12": "12",
    "!!float 1": 1.0,
    "<<": "<<",
    "=": "=",
    ".inf": math.inf,
    "-.INF": -math.inf,
    "1.2.3": "1.2.3",
    "e5": "e5",
    "[a, 1]": ["a", 1],
    "{a: {b: 2}}": {"a": {"b": 2}},
    "é": "é",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_nan() -> None:
    assert math.isnan(parse_value(".nan"))


def test_positions_of_keys_values_and_items() -> None:
    source = parse_yaml("a:\n  bb: 1\n  c:\n  - x\n  -   y\nd: {e: [1,  2]}\nf:\n", path="r.yaml")
    places = {path: (*p.key, *p.value) for path, p in source.positions.items()}
    assert places == {
        ("a",): (1, 1, 1, 1),
        ("a", "bb"): (2, 3, 2, 7),
        ("a", "c"): (3, 3, 3, 3),
        ("a", "c", 0): (4, 5, 4, 5),
        ("a", "c", 1): (5, 7, 5, 7),
        ("d",): (6, 1, 6, 4),
        ("d", "e"): (6, 5, 6, 8),
        ("d", "e", 0): (6, 9, 6, 9),
        ("d", "e", 1): (6, 13, 6, 13),
        ("f",): (7, 1, 7, 1),
    }


def test_aliases_are_followed_and_point_at_the_key_that_uses_them() -> None:
    source = parse_yaml("a: &x [1, 2]\nb: *x\nc: [*x]\n", path="r.yaml")
    assert source.data == {"a": [1, 2], "b": [1, 2], "c": [[1, 2]]}
    assert source.positions[("b",)].value[0] == 2
    assert source.positions[("c", 0)].key[0] == 3


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_line_breaks_of_every_system(line_break: str) -> None:
    source = parse_yaml(line_break.join(["a: 1", "b: 2", "c: 3", ""]), path="r.yaml")
    assert source.positions[("c",)].key == (3, 1)
    assert source.problem(("c",), (3, 1), "wrong").source_line == "c: 3"


def test_keys_are_text_as_written() -> None:
    assert parse_yaml("1: a\noff: b\n0x1: c\ntrue: d\n", path="r").data == {
        "1": "a",
        "off": "b",
        "0x1": "c",
        "true": "d",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "r.yaml:1:1: the file is empty"),
        ("# only a comment\n", "r.yaml:1:1: the file is empty"),
        ("\n- a\n", "r.yaml:2:1: a recipe is a mapping of keys to values, this is a list"),
        ("words", "r.yaml:1:1: a recipe is a mapping of keys to values, this is a single value"),
        ("a:\n\tb: 1\n", "r.yaml:2:1: a tab cannot indent YAML"),
        ("a: b: c\n", "r.yaml:1:5: `:` is not expected here"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2:1: a second document begins here"),
        ("a: [1, 2\n", "r.yaml:2:1: not valid YAML: expected ',' or ']'"),
        ("a:\n  b: 1\n c: 2\n", "r.yaml:3:2: not valid YAML: expected block end"),
        ("a: 'x\n", "r.yaml:2:1: not valid YAML: found unexpected end of stream"),
        ("a: *nowhere\n", "r.yaml:1:4: not valid YAML: found undefined alias 'nowhere'"),
        ("a: 1\nb: \x00\n", "r.yaml:2:4: the character U+0000 is not allowed"),
        ("a: &x {b: *x}\n", "r.yaml:1:4 a.b: an alias that contains itself"),
        ("[" * 5000, "r.yaml:1:1: nested too deeply"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
        ), "aliases that expand without end"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused_in_its_place(text: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, path="r.yaml")
    assert expected in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "r.yaml:5:3 b.c: key repeated, it stands on line 3 already"),
        ("x: {a: 1, a: 2}\n", "r.yaml:1:11 x.a: key repeated, it stands on line 1 already"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "r.yaml:3:3 c.<<: merge keys are not part of YAML 1.2"),
        ("a: !!python/object:os.system 1\n", "r.yaml:1:4 a: the tag !!python/object:os.system is not allowed"),
        ("a: !mine {b: 1}\n", "r.yaml:1:4 a: the tag !mine is not allowed"),
        ("a: !!set {b, c}\n", "r.yaml:1:4 a: the tag !!set is not allowed"),
        ("a: !!int x\n", "r.yaml:1:4 a: 'x' does not fit its tag !!int"),
        ("? [1, 2]\n: 3\n", "r.yaml:1:3: a key must be plain text"),
        (f"a: {'9' * 5000}\n", "a: the number is too long"),
    ],
)
def test_what_is_noted_beside_other_problems(text: str, expected: str) -> None:
    problems = parse_yaml(text, path="r.yaml").problems
    assert len(problems) == 1
    assert expected in str(problems[0])


def test_a_repeated_key_keeps_its_first_value() -> None:
    assert parse_yaml("a: 1\na: 2\n", path="r").data == {"a": 1}


def test_parse_value_refuses_what_is_no_value() -> None:
    for text in ("[1", "{a: 1, a: 2}", "a: b: c"):
        with pytest.raises(RecipeError):
            parse_value(text)
