from __future__ import annotations

import random

import pytest

from mibias_cli.errors import GateError
from mibias_cli.recipe.gate_expression import parse_gate, write_name


@pytest.mark.parametrize(
    ("text", "name", "comparison", "threshold"),
    [
        ("task.after.accuracy < 0.9", ("task", "after", "accuracy"), "<", 0.9),
        ("  a.b>=1e-3 ", ("a", "b"), ">=", 0.001),
        ("a<=-.5", ("a",), "<=", -0.5),
        ("a > +2.", ("a",), ">", 2.0),
        ('attributes["a.b c"].after.leakage_bits > 1', ("attributes", "a.b c", "after", "leakage_bits"), ">", 1.0),
        ("attributes['it is']['x']['y'] > 0", ("attributes", "it is", "x", "y"), ">", 0.0),
        ('a["quote \\" and \\u00e4"].b > 0', ("a", 'quote " and ä', "b"), ">", 0.0),
        ("attributes.skin-tone.after.p_value < 5e-2", ("attributes", "skin-tone", "after", "p_value"), "<", 0.05),
        ("attributes.5.after > 0", ("attributes", "5", "after"), ">", 0.0),
    ],
)
def test_what_can_be_read(text: str, name: tuple[str, ...], comparison: str, threshold: float) -> None:
    gate = parse_gate(text)
    assert (gate.name, gate.comparison, gate.threshold) == (name, comparison, threshold)
    assert gate.text == text.strip()


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "is empty", None),
        ("0.05 < a", "the figure's name comes first", 0),
        ("> 1", "the figure's name comes first", 0),
        ("a.b", "a comparison and a number are missing", 3),
        ("a.b == 1", "'==' is no comparison that a gate knows; use >, >=, < or <=", 4),
        ("a.b => 1", "'=>' is no comparison", 4),
        ("a.b >", "a number is missing", 5),
        ("a..b > 1", "a part of the figure's name is expected", 2),
        ("a.b > x", "must be compared with a finite number, not 'x'", 6),
        ("a > 5%", "not '5%'; write 0.05", 4),
        ("a > nan", "finite number", 4),
        ("a > 1e999", "finite number", 4),
        ("a > 1 and b > 2", "a gate is one comparison", 4),
        ("a[b] > 1", "a quoted name is expected in brackets", 1),
        ("a b > 1", "a comparison is expected here", 2),
        ('a["\\x"] > 1', "escapes are as in JSON", 1),
        ("a.b > 1; import os", "must be compared with a finite number", 6),
    ],
)
def test_what_cannot_is_said_with_its_place(text: str, message: str, column: int | None) -> None:
    with pytest.raises(GateError) as caught:
        parse_gate(text)
    first, *shown = str(caught.value).splitlines()
    assert message in first
    assert message in caught.value.message
    if column is None:
        assert shown == []
    else:
        assert shown == [f"    {text}", f"    {' ' * column}^"]


def test_an_error_shows_the_place_in_a_long_expression() -> None:
    with pytest.raises(GateError) as found:
        parse_gate(f"{'a' * 3000} ? {'b' * 3000}")
    _, shown, caret = str(found.value).splitlines()
    assert len(shown) < 300
    assert shown[caret.index("^")] == "?"


def test_names_are_written_so_that_they_read_back() -> None:
    rng = random.Random(0)
    letters = "ab.[]\"'\\ <>=é\n5-_"
    for _ in range(500):
        name = ("top", *("".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in range(rng.randint(1, 3))))
        assert parse_gate(f"{write_name(name)} > 0").name == name
