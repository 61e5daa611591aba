"""Reports that no audit wrote: edited ones, and ones with figures that are no numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mibias_cli.errors import RunError
from mibias_cli.evaluation.leakage_findings import NO_PROBE, Finding, Interval, ProbeFindings
from mibias_cli.report.document import Report
from mibias_cli.report.read import read_report
from mibias_cli.report.verdict import make_verdict


def test_an_edited_figure_is_refused(make: Callable[..., Report], tmp_path: Path) -> None:
    path = tmp_path / "leakage.json"
    plain = json.loads(make(name="colour").to_json())
    path.write_text(json.dumps(plain))
    read_report(path)
    plain["attributes"]["colour"]["after"]["leakage_bits"]["estimate"] += 0.5
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match="was edited or damaged: marginal leakage of colour .after. is .* audit again"):
        read_report(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_windows_saves_is_read(make: Callable[..., Report], tmp_path: Path, encoding: str) -> None:
    """Editors put a byte-order mark before it, and `>` of its shell writes UTF-16."""
    report = make(name="Hautfarbe é")
    (tmp_path / "leakage.json").write_text(report.to_json(), encoding=encoding)
    assert read_report(tmp_path / "leakage.json") == report


def test_nan_is_refused(make: Callable[..., Report], tmp_path: Path) -> None:
    path = tmp_path / "leakage.json"
    plain = json.loads(make(name="colour").to_json())
    plain["task"]["after"]["accuracy"] = float("nan")
    path.write_text(json.dumps(plain))
    with pytest.raises(RunError, match="is no JSON .NaN is no number"):
        read_report(path)


def test_the_verdict_says_that_the_target_determines_an_attribute(make: Callable[..., Report]) -> None:
    report = make(name="colour")
    found = report.attributes["colour"]
    nothing = Finding(
        leakage_bits=Interval(estimate=0, lower=0, upper=0), headline_probe=NO_PROBE,
        probes={NO_PROBE: ProbeFindings(leakage_bits=0, selection_bits=0)},
    )  # fmt: skip
    after = found.after.model_copy(update={"conditional": nothing})
    changed = report.model_copy(update={"attributes": {"colour": found.model_copy(update={"after": after})}})
    for question in ("marginal", "conditional"):
        assert "The target determines colour" in make_verdict(changed, question).text


def test_a_folder_stands_for_the_report_in_it(make: Callable[..., Report], tmp_path: Path) -> None:
    report = make()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "leakage.json").write_text(report.model_dump_json())
    assert read_report(str(tmp_path)) == read_report(tmp_path / "report") == report
    with pytest.raises(RunError, match=r"nowhere: cannot be read"):
        read_report(str(tmp_path / "nowhere"))
