"""`mibias doctor`: what is there, what is not, and an exit code that only a real fault changes."""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mibias_cli.cli.doctor as doctor_room
from mibias_cli.backbone.weights.network import require_network
from mibias_cli.cli.commands.doctor import check_lines
from mibias_cli.cli.doctor import Check, broken, check_extras, check_folder, check_hub, check_packages
from mibias_cli.cli.main import app

NUMPY = metadata.version("numpy")
LINES = [
    "numpy>=1.0",
    'no-such-package>=2; extra == "onnx"',
    'numpy>=1.0; extra == "leace"',
    'pytest>=8; extra == "test"',
    'mibias[leace,onnx]; extra == "all"',
    'no-such-package>=3; python_version < "3"',
]


def test_packages_by_their_versions() -> None:
    whole = check_packages(LINES)
    assert [(check.name, check.state, check.found) for check in whole[1:]] == [("numpy", "ok", NUMPY)]
    old, gone = check_packages(["numpy>=999", "no-such-package>=2"])[1:]
    assert (old.state, old.found) == ("broken", f"{NUMPY}, needed is >=999")
    assert old.fix == "pip install 'numpy>=999'"
    assert (gone.state, gone.found, gone.fix) == ("broken", "not installed", "pip install 'no-such-package>=2'")


def test_a_package_that_is_not_installed_as_one_is_no_fault() -> None:
    (only,) = check_packages([])
    assert only.state == "warning"


def test_extras_are_installed_or_have_a_line_for_pip() -> None:
    leace, onnx = check_extras(LINES)
    assert (leace.name, leace.state, leace.fix) == ("extra leace", "ok", None)
    assert (onnx.name, onnx.state, onnx.fix) == ("extra onnx", "absent", "pip install 'mibias[onnx]'")
    assert not broken([leace, onnx])


def test_folders_are_tried_and_left_as_they_were(tmp_path: Path) -> None:
    assert check_folder("runs", tmp_path / "a" / "b", needed=True).state == "ok"
    assert list(tmp_path.iterdir()) == []
    # a file stands where the folder is to be: also the system's owner cannot write there
    (tmp_path / "runs").write_text("")
    assert check_folder("runs", tmp_path / "runs", needed=True).state == "broken"
    assert check_folder("cache", tmp_path / "runs", needed=False).state == "warning"


def test_a_hub_that_is_silent_is_a_warning_within_seconds() -> None:
    started = time.monotonic()
    check = check_hub(lambda: require_network("http://192.0.2.1", what="hub", seconds=0.2))
    assert (check.state, "cannot be reached" in check.found) == ("warning", True)
    assert check.fix is not None
    assert "local-dir:" in check.fix
    assert time.monotonic() - started < 5
    assert check_hub(lambda: None).state == "ok"


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("absent", 0), ("warning", 0), ("broken", 2)])
def test_only_what_is_broken_changes_the_exit_code(state: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Check(name="it", state=state, found="so", fix="do this")]  # type: ignore[arg-type]
    monkeypatch.setattr(doctor_room, "examine", lambda **_: found)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code
    # not a terminal: JSON, as of every command
    assert json.loads(result.stdout) == {
        "ok": code == 0,
        "checks": [{"name": "it", "state": state, "found": "so", "fix": "do this"}],
    }
    text = CliRunner().invoke(app, ["doctor", "--format", "text"]).stdout
    assert "→ do this" in text


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests run, so mibias works here; --offline asks nobody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_room, "check_hub", lambda: pytest.fail("--offline asks nobody"))
    checks = {check.name: check for check in doctor_room.examine(offline=True)}
    assert broken(list(checks.values())) == []
    assert {"python", "mibias", "device cpu", "folder runs", "folder cache", "hub"} <= checks.keys()
    assert "bf16" in checks["device cpu"].found


def test_a_torch_that_does_not_load_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (check,) = doctor_room._check_devices()
    assert (check.state, check.found.startswith("torch cannot be loaded")) == ("broken", True)


def test_the_last_line_counts() -> None:
    fault, heed = (Check(name="a", state=state, found="b") for state in ("broken", "warning"))
    assert list(check_lines([fault, heed]))[-1] == "1 broken: mibias does not work so"
    assert list(check_lines([heed]))[-1] == "mibias can work here; 1 to heed"
