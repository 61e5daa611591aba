"""action.yml's steps run here as GitHub would run them: on a folder with a recipe and stored embeddings."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parent.parent
RECIPE = """
version: 1
data:
  source: embeddings
  path: features.npz
  manifest: rows.csv
  columns: {split: split}
  attributes: {place: {}}
backbone: {name: mlp}
evaluation: {probes: [logistic], n_bootstrap: 100, n_permutations: 20}
"""
GATE = "attributes.place.after.leakage_bits > 0.3"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's repository: a recipe, features that tell the place (in `leaky.npz`) and features that do not."""
    folder = tmp_path_factory.mktemp("repository")
    rng = np.random.default_rng(0)
    n = 600
    y, c = rng.integers(0, 2, n), rng.integers(0, 2, n)
    z = rng.normal(size=(n, 4)).astype(np.float32)
    z[:, 0] += 4 * y
    np.savez(folder / "features.npz", features=z)
    z[:, 1] += 6 * c
    np.savez(folder / "leaky.npz", features=z)
    split = np.where(np.arange(n) < 200, "train", "test")
    rows = [f"{'ab'[y[k]]},{['land', 'water'][c[k]]},{split[k]}" for k in range(n)]
    (folder / "rows.csv").write_text("target,place,split\n" + "\n".join(rows) + "\n")
    (folder / "audit.yaml").write_text(RECIPE)
    commands = folder / "bin"
    commands.mkdir()
    (commands / "mibias").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mibias_cli.cli "$@"\n')
    (commands / "mibias").chmod(0o755 | stat.S_IXUSR)
    return folder


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


def filled(text: str, given: dict[str, str]) -> str:
    """The text with `${{ inputs.… }}` replaced, as GitHub does."""
    return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: given[found.group(1)], text)


def run_steps(repository: Path, **inputs: str) -> tuple[int, str, dict[str, str]]:
    """Run the action's own steps (not the set-up of Python, nor pip); exit code, what was said, and its outputs."""
    given = {name: str(declared.get("default", "")) for name, declared in action()["inputs"].items()}
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    outputs = repository / "outputs.txt"
    outputs.write_text("")
    said = ""
    for step in action()["runs"]["steps"]:
        if "run" not in step or "pip" in step["run"]:
            continue
        environment = {
            **os.environ, "PATH": f"{repository / 'bin'}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(outputs),
            "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(repository / "summary.md"),
            **{name: filled(value, given) for name, value in step.get("env", {}).items()},
        }  # fmt: skip
        assert "${{" not in step["run"], "an input in a script's text would be run"
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        said += done.stdout + done.stderr
        if done.returncode:
            break
    found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return done.returncode, said, found


def test_features_that_do_not_tell_pass(repository: Path) -> None:
    code, said, outputs = run_steps(
        repository, target="features.npz", recipe="audit.yaml", fail_on=f"{GATE}\n\ntask.after.accuracy < 0.5\n",
        arguments="--offline\n", out="passed",
    )  # fmt: skip
    assert code == 0, said
    assert outputs == {"report": "passed", "junit": "mibias-gates.xml"}
    assert (repository / "passed" / "leakage.html").is_file()
    assert "# Leakage report" in (repository / "summary.md").read_text()
    cases = list(ET.parse(repository / "mibias-gates.xml").getroot().iter("testcase"))
    assert [case.attrib["name"] for case in cases] == [GATE, "task.after.accuracy < 0.5"]


def test_features_that_tell_fail_and_junit_names_the_gate(repository: Path) -> None:
    shutil.rmtree(repository / "failed", ignore_errors=True)
    code, said, _ = run_steps(
        repository, target="leaky.npz", recipe="audit.yaml", fail_on=GATE, out="failed", junit="failed.xml"
    )
    assert code == 1, said
    assert "::error title=mibias gate%3A fail::attributes.place.after.leakage_bits > 0.3" in said
    (case,) = ET.parse(repository / "failed.xml").getroot().iter("testcase")
    assert case.attrib["name"] == GATE
    assert case.find("failure") is not None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("attributes.place.after.leakage_bit > 0.3", "did you mean 'leakage_bits'?"),
        ("attributes.place.after.leakage_bits >> 0.3", "use >, >=, < or <="),
        ("x > 1; echo pwned", "must be compared with a finite number"),
        ("$(echo pwned) > 1", "expected here"),
    ],
)
def test_a_bad_expression_is_an_error_at_once(repository: Path, expression: str, message: str) -> None:
    code, said, _ = run_steps(repository, target="leaky.npz", recipe="audit.yaml", fail_on=expression, out="bad")
    assert code == 2
    assert message in said
    assert not (repository / "bad").exists()


def test_a_bad_recipe_is_annotated_at_its_line(repository: Path) -> None:
    (repository / "bad.yaml").write_text(RECIPE + "gates: [attributes.plaice.after.leakage_bits > 0.1]\n")
    code, said, _ = run_steps(repository, target="leaky.npz", recipe="bad.yaml")
    assert code == 2
    assert "::error file=bad.yaml,line=11," in said
    assert "did you mean 'place'?" in said


def test_inputs_reach_scripts_as_environment_alone() -> None:
    for step in action()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        for value in step.get("env", {}).values():
            names = re.findall(r"inputs\.([a-z-]+)", value)
            assert all(name in action()["inputs"] for name in names)


def test_the_pre_commit_hook_calls_a_command_that_there_is() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-m", "mibias_cli.cli", *hook["entry"].split()[1:], str(ROOT / "recipes" / "quickstart.yaml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (hook["id"], hook["entry"].split()[0], done.returncode) == ("mibias-validate", "mibias", 0)
