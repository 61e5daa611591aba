"""What commands print: text or JSON, and aligned tables."""

from __future__ import annotations

import json

import pytest

from mibias_cli.cli.options import ReportFormat
from mibias_cli.cli.output import aligned, count_table, print_found


@pytest.mark.parametrize(("output", "is_text"), [("text", True), ("json", False), (None, False)])
def test_json_unless_text_is_asked_for_or_a_terminal_reads(
    output: ReportFormat | None, is_text: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_found({"größe": 1}, ["size", "1"], output)
    printed = capsys.readouterr().out
    assert printed == ("size\n1\n" if is_text else '{\n  "größe": 1\n}\n')
    assert is_text or json.loads(printed) == {"größe": 1}


def test_tables_are_aligned() -> None:
    assert aligned([["", "a"], ["row", "12"], ["x", ""]]) == ["     a", "row  12", "x"]
    assert aligned([]) == []
    assert count_table(["a", "bb"], [("x", [1000, 2])]) == ["       a  bb", "x  1,000   2"]
