"""Gates on the command line: exit codes, what is said where, and what continuous integration is told."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mibias_cli.cli import ci
from mibias_cli.cli.main import app

INTERVAL = {"estimate": 0.5, "lower": 0.25, "upper": 0.75}
SIDE = {
    "leakage_bits": INTERVAL, "conditional_leakage_bits": INTERVAL, "headline_probe": "mlp",
    "conditional_headline_probe": "mlp", "headline_channel": "colour", "probes": {"mlp": {"leakage_bits": 0.5}},
    "conditional_probes": {"mlp": {"leakage_bits": 0.5}},
}  # fmt: skip
REPORT = {
    "schema_version": 1,
    "attributes": {
        "colour": {
            "before": None, "after": SIDE, "entropy_bits": 2.0, "target_attribute_bits": 0.1, "channels": {},
            "change": None, "others": {},
        }
    },
    "task": {"before": None, "after": {"accuracy": 0.9, "accuracy_interval": {"lower": 0.88, "upper": 0.92}}},
    "similarity": {"n_features_before": None, "n_features_after": 8, "effective_rank_before": None,
                   "effective_rank_after": 4.0, "cka": None},
    "samples": {"train": 1, "audit": 2, "fit": 1, "score": 1},
    "settings": {"confidence": 0.95},
    "provenance": {},
    "verdict": {"text": "No probe.", "headline": "No probe here.", "collapsed": False, "reasons": [], "attributes": {}},
}  # fmt: skip
LEAKAGE = "attributes.colour.after.leakage_bits"


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "leakage.json").write_text(json.dumps(REPORT))
    return str(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--fail-on", f"{LEAKAGE} > 0.8"], 0, "gate pass: "),
        (["--fail-on", f"{LEAKAGE} > 0.1"], 1, "gate fail: "),
        (["--fail-on", f"{LEAKAGE} > 0.5"], 0, "gate inconclusive (passes with a warning): "),
        (["--fail-on", f"{LEAKAGE} > 0.5", "--inconclusive", "fail"], 1, "gate inconclusive (fails): "),
        (["--fail-on", f"{LEAKAGE} > 0.8", "--fail-on", "task.after.accuracy < 0.95"], 1, "gate fail: task"),
        (["--fail-on", f"{LEAKAGE}.upper > 0.7"], 1, "0.75 is > 0.7"),
        (["--fail-on", f"{LEAKAGE[:-1]} > 0.1"], 2, "did you mean 'leakage_bits'?"),
        (["--fail-on", f"{LEAKAGE} > lots"], 2, "must be compared with a finite number"),
        (["--fail-on", "attributes.color.after.leakage_bits > 0.1"], 2, "did you mean 'colour'?"),
        (["--fail-on", "attributes.colour.before.leakage_bits > 0.1"], 2, "was not measured"),
        ([], 2, "nothing to gate by"),
        (["--tolerance", "1", "--fail-on", f"{LEAKAGE} > 1"], 2, "--baseline, which is missing"),
        (["--baseline", "BASE"], 0, "0.5, as "),
        (["--baseline", "BASE", "--tolerance", "leakge_bits=1"], 2, "did you mean 'leakage_bits'?"),
        (["--baseline", "BASE", "--tolerance", "x"], 2, "a number of at least 0 is expected"),
        (["--baseline", "BASE", "--tolerance", "accuracy=.1", "--tolerance", "accuracy=.2"], 2, "given twice"),
        (["--baseline", "BASE", "--tolerance", "accuracy=5"], 2, "5 points are accuracy=0.05"),
        (["--baseline", "BASE", "--tolerance", "5"], 2, "5 points are accuracy=0.05"),
        (["--baseline", "BASE", "--tolerance", "leakage_bits=2"], 0, "gate pass: "),
        # only the second would be compared with
        (["--baseline", "nowhere", "--baseline", "BASE"], 2, "--baseline is given 2 times, and takes one value"),
        (["--fail-on", "task.after.accuracy < 80"], 2, "accuracy is a share, of 1 at most; 80 % are 0.8"),
        (["--fail-on", "fairness.colour.after.demographic_parity_difference > 10"], 2, "10 % are 0.1"),
        (["--baseline", "nowhere"], 2, "nowhere: there is no such file or folder"),
    ],
)
def test_exit_codes_and_words(report: str, arguments: list[str], code: int, said: str) -> None:
    result = run("gate", report, *(report if argument == "BASE" else argument for argument in arguments))
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_worse_report_fails_against_its_baseline(report: str, tmp_path: Path) -> None:
    worse = json.loads(json.dumps(REPORT))
    for kind in ("", "conditional_"):
        after = worse["attributes"]["colour"]["after"]
        after[f"{kind}leakage_bits"] = {"estimate": 1.5, "lower": 1.4, "upper": 1.6}
        after[f"{kind}probes"]["mlp"]["leakage_bits"] = 1.5
    (tmp_path / "worse.json").write_text(json.dumps(worse))
    given = ["gate", str(tmp_path / "worse.json"), "--baseline", report]
    assert run(*given).exit_code == 1
    assert run(*given, "--tolerance", "leakage_bits=2").exit_code == 0
    assert run(*given, "--tolerance", "1").exit_code == 0
    assert run(*given, "--tolerance", "accuracy=1").exit_code == 1


def test_the_report_itself_stays_as_it_is(report: str) -> None:
    before = (Path(report) / "leakage.json").read_bytes()
    run("gate", report, "--fail-on", f"{LEAKAGE} > 0.1")
    assert (Path(report) / "leakage.json").read_bytes() == before


def test_junit_names_the_gate(report: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gates.xml"
    run("gate", report, "--fail-on", f"{LEAKAGE} > 0.1", "--junit", str(path))
    (case,) = ET.parse(path).getroot().iter("testcase")
    assert case.attrib["name"] == f"{LEAKAGE} > 0.1"
    assert case.find("failure") is not None


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    for name, text, said in (
        ("a.json", "{", "is no JSON"),
        ("b.json", "[1]", "is no leakage report"),
        ("d.json", '{"schema_version": 1, "attributes": {}, "task": {}}', "has no similarity, provenance"),
        (
            "e.json",
            json.dumps({**REPORT, "attributes": 3}),
            "is no leakage report (attributes: is not what an audit writes",
        ),
        ("f.json", json.dumps({**REPORT, "mine": 3}), "is no leakage report (mine: is unknown); was it edited"),
        ("c.json", json.dumps({**REPORT, "schema_version": 99}), "version 99"),
    ):
        (tmp_path / name).write_text(text)
        result = run("gate", str(tmp_path / name), "--fail-on", f"{LEAKAGE} > 0.1")
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    (tmp_path / "empty").mkdir()
    assert "holds no report" in run("gate", str(tmp_path / "empty"), "--fail-on", f"{LEAKAGE} > 0.1").stderr


def test_a_report_without_a_target_can_be_gated(tmp_path: Path) -> None:
    alone = {**SIDE, "conditional_leakage_bits": None, "conditional_headline_probe": None}
    attribute = {**REPORT["attributes"]["colour"], "after": alone}
    report = {**REPORT, "attributes": {"colour": attribute}, "task": {"before": None, "after": None}}
    (tmp_path / "leakage.json").write_text(json.dumps(report))
    given = ["gate", str(tmp_path), "--baseline", str(tmp_path), "--fail-on"]
    assert run(*given, f"{LEAKAGE} > 0.8").exit_code == 0
    assert run(*given, f"{LEAKAGE} > 0.1").exit_code == 1


def test_github_gets_a_summary_and_annotations(report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = run("gate", report, "--fail-on", f"{LEAKAGE} > 0.1", "--fail-on", f"{LEAKAGE} > 0.5")
    assert f"::error title=mibias gate%3A fail::{LEAKAGE} > 0.1" in result.stderr
    assert f"::warning title=mibias gate%3A inconclusive::{LEAKAGE} > 0.5" in result.stderr
    text = summary.read_text()
    assert text.startswith("earlier\n\n# Leakage report")
    assert f"**fail** `{LEAKAGE} > 0.1`" in text


def test_a_summary_never_grows_past_githubs_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("x" * 1000)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    ci.append_summary(lambda: "ä line of text\n" * 100_000)
    assert 1_000_000 < summary.stat().st_size <= 1024 * 1024
    assert summary.read_text(encoding="utf-8").rstrip().endswith("the whole report is in the report's folder.")
    ci.append_summary(lambda: "more\n" * 1000)
    assert summary.stat().st_size <= 1024 * 1024


def test_problems_of_a_recipe_are_annotated_at_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub" / "r.yaml"
    path.parent.mkdir()
    path.write_text("version: 1\ndata: {source: digits}\nbackbone: {name: digit_cnn}\nsede: 1\n")
    assert "::error" not in run("validate", str(path)).stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    result = run("validate", str(path))
    assert result.exit_code == 2
    assert "::error file=sub/r.yaml,line=4,col=1,title=mibias::sede: unknown key, did you mean 'seed'?" in result.stderr
    monkeypatch.setenv("GITHUB_WORKSPACE", "/elsewhere")
    assert f"::error file={path}," in run("validate", str(path)).stderr


def test_annotations_escape_what_would_end_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    ci.annotate("error", "50 %\nsecond", file="a,b:c.yaml", line=3)
    assert capsys.readouterr().err == "::error file=a%2Cb%3Ac.yaml,line=3::50 %25%0Asecond\n"


def test_validate_checks_gates(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    base = "version: 1\ndata: {source: digits}\nbackbone: {name: digit_cnn}\ngates:\n"
    path.write_text(base + f"- {LEAKAGE} > 0.05\n")
    assert run("validate", str(path)).exit_code == 0
    path.write_text(base + "- attributes.colour.after.leakage > 0.05\n- task.after.accuracy\n")
    result = run("validate", str(path))
    assert result.exit_code == 2
    assert f"{path}:5:3 gates.0: no report has 'leakage' in attributes.colour.after, did you mean 'leakage_bits'?" in (
        result.stderr
    )
    assert "2 problems" in result.stderr
