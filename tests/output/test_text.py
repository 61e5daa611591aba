"""Names that would steer a terminal, a browser or a CI system do nothing, wherever text leaves the program."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from reports_by_hand import make_report

from mibias_cli.cli import ci
from mibias_cli.errors import did_you_mean
from mibias_cli.export.new_rows import PredictedRows
from mibias_cli.gates.junit import render_junit
from mibias_cli.heads.target import HeadKind
from mibias_cli.output.text import one_line, shown
from mibias_cli.recipe.load import load_recipe
from mibias_cli.report.document import GateResult, Report
from mibias_cli.report.read import read_report
from mibias_cli.report.write import write_report
from mibias_cli.training.run_log import RunLog

# clears the screen, sets the clipboard, turns the line around, ends the line, and is an invisible tag
EVIL = "sex\x1b[2J\x1b]52;c;aGk=\x07\u202e\u2028\x9b31m\r\U000e0041"
STEERING = set("\x1b\x07\u202e\u2028\x9b\r\U000e0041")
COMMAND = "x\n::add-mask::0\n  ::stop-commands::t\n##[add-mask]1"
ROOT = Path(__file__).parents[2]


def harmless(text: str) -> bool:
    lines = [line.strip() for line in text.splitlines()]
    return not STEERING & set(text) and not any(line.startswith("::") or "##[" in line for line in lines)


def mibias(*arguments: str, cwd: Path, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "mibias_cli.cli"]
    done = subprocess.run(
        [sys.executable, *start, *arguments], cwd=cwd, capture_output=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **environment},
    )  # fmt: skip
    # decoded here: subprocess would take \r for the end of a line
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def hostile() -> Report:
    report = make_report(name=EVIL, channels=(EVIL,))
    gate = GateResult(
        expression=f"attributes.{EVIL} < 1\n::add-mask::0", source="recipe", status="fail", inconclusive="warn",
        figure=None, threshold=1.0, message=EVIL,
    )  # fmt: skip
    return report.model_copy(update={"gates": (gate,), "warnings": (EVIL, COMMAND)})


def test_what_is_escaped_stays_json() -> None:
    assert json.loads(shown(json.dumps(EVIL, ensure_ascii=False))) == EVIL
    assert shown("näme – λ 名前\tשלום\n") == "näme – λ 名前\tשלום\n"
    assert one_line("a\nb") == "a\\nb"
    assert shown(os.fsdecode(b"caf\xe9.png")) == "caf\\udce9.png"


def test_reports(tmp_path: Path) -> None:
    paths = write_report(tmp_path, hostile())
    for path in paths.values():
        assert not STEERING & set(path.read_text()), path
    # and yet the JSON names what the data name
    assert list(read_report(paths["json"]).attributes) == [EVIL]


def test_junit() -> None:
    text = render_junit(hostile())
    assert not STEERING & set(text)
    assert "\\u202e" in str(ET.fromstring(text)[0][0].attrib["name"])


def test_the_log_of_a_run_is_a_line_each(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.line(f"{EVIL}\nwarning: forged")
    (line,) = (tmp_path / "train.log").read_text().splitlines()
    assert harmless(line)


def test_annotations_and_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    ci.annotate("error", EVIL, file=EVIL)
    text = capsys.readouterr().err
    assert text.startswith("::error file=sex\\u001b[2J")
    assert not STEERING & set(text)
    ci.append_summary(lambda: EVIL)
    assert not STEERING & set((tmp_path / "summary.md").read_text())


@pytest.mark.parametrize("in_actions", [False, True])
def test_a_recipe(tmp_path: Path, in_actions: bool) -> None:
    # as JSON escapes it, so does YAML, but for the tag
    key = json.dumps(f"{EVIL[:-1]}{COMMAND}")
    (tmp_path / "r.yaml").write_text(f"version: 1\n{key}: 1\ndata: {{source: digits}}\nbackbone: {{name: mlp}}\n")
    environment = {"GITHUB_ACTIONS": "true"} if in_actions else {}
    done = mibias("validate", "r.yaml", "--set", f"{COMMAND}=1", cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert "unknown key" in done.stderr
    said = [line for line in done.stderr.split("\n") if not line.startswith("::error ")]
    assert len(said) < len(done.stderr.split("\n")) or not in_actions
    assert harmless("\n".join(said))
    assert not STEERING & set(done.stderr)


def test_columns_and_files_on_both_streams(tmp_path: Path) -> None:
    rows = "\n".join(f"{k % 2},{k}" for k in range(40))
    (tmp_path / "t.csv").write_text(f'"{EVIL}\n::add-mask::0",b\n{rows}\n', newline="")
    for output in ("text", "json"):
        done = mibias("init", "t.csv", "--out", f"{output}.yaml", "--format", output, cwd=tmp_path)
        assert harmless(done.stdout + done.stderr), done
    name = os.fsdecode(b"\x1b]0;title\x07\n::add-mask::1\xff")
    done = mibias("validate", f"{name}.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert harmless(done.stderr), done.stderr


def test_a_class_name_adds_no_key_to_a_first_recipe(tmp_path: Path) -> None:
    names = ("no", "yes\nexport: {formats: [onnx]}")
    rows = "\n".join(f'{k}.5,"{names[k % 2]}",{"uv"[k % 3 % 2]}' for k in range(60))
    (tmp_path / "t.csv").write_text(f"x,y,c\n{rows}\n")
    done = mibias("init", "t.csv", "--target", "y", "--attribute", "c", "--out", "r.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.yaml").read_text()
    assert "yes\\nexport: " in text  # in a comment, escaped
    assert load_recipe(tmp_path / "r.yaml").export.formats == ["safetensors"]


def test_predictions_are_no_formulas(tmp_path: Path) -> None:
    rows = PredictedRows(
        id_name="path", ids=("=cmd|x.png", "b.png"), kind="classes", names=("@SUM(A1)", "-1"),
        values=np.array([[0.9, 0.1], [0.1, 0.9]]),
    )  # fmt: skip
    rows.write(tmp_path / "p.csv")
    _, first, second = csv.reader((tmp_path / "p.csv").read_text().splitlines())
    assert first[:2] == ["'=cmd|x.png", "'@SUM(A1)"]
    assert second[:2] == ["b.png", "-1"]


@pytest.mark.parametrize("kind", ["classes", "labels", "regression"])
def test_predictions_on_a_terminal(tmp_path: Path, kind: HeadKind) -> None:
    PredictedRows(id_name="path", ids=(EVIL,), kind=kind, names=(EVIL,), values=np.ones((1, 1))).write(
        tmp_path / "p.csv"
    )
    assert harmless((tmp_path / "p.csv").read_bytes().decode())


def test_names_that_look_alike_are_told_apart() -> None:
    one, other = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
    assert (
        did_you_mean(one, [other])
        == f", did you mean '{other}' (which looks the same, and is written 'gro\\u0308\\xdfe')?"
    )
    assert did_you_mean("sexx", ["sex"]) == ", did you mean 'sex'?"
    assert did_you_mean("X", ["y", "x"]) == ", did you mean 'x'?"


SHOW = f"""
import sys
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT / "tests/output")!r}]
from test_text import COMMAND, EVIL, hostile
from mibias_cli.cli.output import print_found, show_report
from mibias_cli.cli.progress import shown_progress
from mibias_cli.cli.streams import safe_streams

with safe_streams():
    with shown_progress() as progress:
        for tell in (progress.stage, progress.note, progress.warn):
            tell(EVIL + COMMAND)
        progress.begin(EVIL, 2)
        progress.advance(1, {{EVIL: 1.0}})
        progress.end()
    show_report(hostile())
    print_found({{"name": EVIL}}, [EVIL, COMMAND], "text")
    print(EVIL, COMMAND)
    print(" ", end="")
    print("::add-mask::2")
    print("a", "::", "b")
"""


def test_progress_and_tables(tmp_path: Path) -> None:
    done = mibias(cwd=tmp_path, code=SHOW)
    assert done.returncode == 0, done.stderr
    assert harmless(done.stdout), done.stdout
    assert harmless(done.stderr), done.stderr
    assert "a :: b" in done.stdout


def test_progress_and_tables_on_a_terminal(tmp_path: Path) -> None:
    """Colours and bars are still there, and nothing else steers."""
    ours, theirs = pty.openpty()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW], stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # so Linux says that the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, text.decode()
    seen = text.decode()
    assert "\x1b[1m" in seen  # a stage's line is bold
    assert "\\u001b[2J" in seen
    for steering in ("\x1b[2J", "\x1b]", "\x07", "\u202e", "\x9b", "\U000e0041"):
        assert steering not in seen
    assert not any(line.strip().startswith("::") for line in seen.splitlines())
