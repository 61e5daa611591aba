"""docs/users.md: every test, command, option, recipe key and Python name that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import mibias_cli
from mibias_cli.cli.main import app
from mibias_cli.recipe.fields import field_at

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "users.md"
COLUMNS = 5
SOURCES = ("manifest", "imagefolder", "table", "embeddings")
"""What a key of the data section may belong to."""


class Row(NamedTuple):
    """A row of the page's tables."""

    expected: str
    command: str
    happens: str
    others: str
    test: str


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == COLUMNS for row in cells), "a row with a column too few or too many"
    return [Row(*row) for row in cells if row[0] != "what you expect"]


ROWS = rows()
BY_NAME = pytest.mark.parametrize("row", ROWS, ids=[row.expected for row in ROWS])


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def fault_of_command(words: list[str]) -> str:
    """What a command line names that there is not; empty where all is there."""
    command: Any = typer.main.get_command(app)
    options = [word for word in words if word.startswith("--")]
    for word in words:
        if word.startswith("--"):
            continue
        # only a group has commands below it
        below = getattr(command, "commands", {})
        if word not in below:
            return f"mibias has no command {word}"
        command = below[word]
    known = {name for parameter in command.params for name in parameter.opts}
    return next((f"{command.name} has no {option}" for option in options if option not in known), "")


def is_key(name: str) -> bool:
    path = tuple(name.split("."))
    return any(field_at(path, {"data": {"source": source}}) is not None for source in SOURCES)


def fault_of(span: str) -> str:
    """What is wrong with a command, recipe key or Python name of the second column; empty where nothing is."""
    if span.startswith("mibias "):
        return fault_of_command(span.split()[1:])
    if span.startswith("mibias_cli."):
        return "" if hasattr(mibias_cli, span.removeprefix("mibias_cli.")) else f"there is no {span}"
    return "" if is_key(span) else f"the recipe has no {span}"


def has_test(name: str) -> bool:
    """Whether pytest would collect this `path::function`, read without importing it."""
    path, _, function = name.partition("::")
    file = ROOT / "tests" / path
    if not file.is_file():
        return False
    body = ast.parse(file.read_text("utf-8")).body
    return function.startswith("test_") and any(isinstance(n, ast.FunctionDef) and n.name == function for n in body)


def test_there_are_as_many_rows_as_promised_and_none_twice() -> None:
    assert len(ROWS) >= 30
    assert len({row.expected for row in ROWS}) == len(ROWS)
    assert all(all(row) for row in ROWS), "an empty cell"


@BY_NAME
def test_the_test_of_a_row_is_there(row: Row) -> None:
    names = code(row.test)
    assert len(names) == 1, f"{row.expected}: one test"
    assert has_test(names[0]), f"{row.expected}: there is no {names[0]}"


@BY_NAME
def test_the_command_or_key_of_a_row_is_there(row: Row) -> None:
    spans = code(row.command)
    assert spans, f"{row.expected}: names no command and no key"
    assert [fault for span in spans if (fault := fault_of(span))] == []
    # commands named in passing
    passing = [span for span in code(row.happens) if span.startswith("mibias ")]
    assert [fault for span in passing if (fault := fault_of(span))] == []


def test_what_is_not_there_is_found() -> None:
    """The checks above can fail."""
    assert not has_test("report/test_summary.py::test_that_nobody_wrote")
    assert not has_test("report/test_nothing.py::test_every_part_is_there_in_order")
    assert not has_test("report/test_summary.py::with_task")
    assert fault_of("mibias trian") == "mibias has no command trian"
    assert fault_of("mibias train --dry-rum") == "train has no --dry-rum"
    assert fault_of("evaluation.min_cel") == "the recipe has no evaluation.min_cel"
    assert fault_of("mibias_cli.audti") == "there is no mibias_cli.audti"
