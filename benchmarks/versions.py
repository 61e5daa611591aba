"""The oldest and the newest supported versions of what mibias stands on, each put to its tests: `make versions`.

    python benchmarks/versions.py [--only oldest|newest] [--work runs/versions]

Each is an environment of its own with mibias from this source and the `test` extra. Oldest means: the packages of
`FLOORS` in the version that pyproject.toml names, everything else as pip finds it. The newest are put to pip-audit too.
The last line is JSON: by name of the environment the versions, whether the tests passed, and known vulnerabilities.
Exit code 1 where something failed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

__all__ = ["FLOORS", "TESTS", "floors"]

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("torch", "timm", "typer", "pydantic", "lightning-fabric", "scikit-learn")
"""Packages whose oldest supported version is tried."""
TESTS = (
    "tests/recipe", "tests/cli", "tests/gates", "tests/report", "tests/backbone", "tests/estimators/test_contract.py",
    "tests/evaluation/test_audit.py", "tests/run/test_workflow.py", "tests/export",
)  # fmt: skip
"""Where each of them is used: recipes, command line, weights, estimators, probes, a run from recipe to export."""


def floors(project: str) -> list[str]:
    """`name==version` of the least version that a pyproject.toml's text allows, for each of `FLOORS`.

    Example:
        >>> floors('[project]\\ndependencies = ["torch>=2.6", "numpy>=1.26"]')[0]
        'torch==2.6'
    """
    needed = tomllib.loads(project)["project"]["dependencies"]
    least = {found[1]: found[2] for text in needed if (found := re.match(r"([\w-]+)>=([\w.]+)", text))}
    return [f"{name}=={least[name]}" for name in FLOORS if name in least]


def main() -> None:
    """Make the environments, run the tests in each, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("oldest", "newest"))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "versions")
    options = parser.parse_args()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pins: dict[str, list[str]] = {"oldest": floors(project), "newest": []}
    found = {name: _tried(options.work / name, pins[name]) for name in ([options.only] if options.only else pins)}
    print(json.dumps(found))
    failed = any(not each["passed"] or each["vulnerable"] for each in found.values())
    raise SystemExit(1 if failed else 0)


def _tried(environment: Path, pins: list[str]) -> dict[str, object]:
    """What came of one environment, made where it is not there yet."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    upgrade = [] if pins else ["--upgrade", "--upgrade-strategy", "eager"]
    subprocess.run([*pip, "install", "-q", *upgrade, "-e", f"{ROOT}[test]", *pins], check=True)
    listed = json.loads(subprocess.check_output([*pip, "list", "--format", "json"]))
    versions = {package["name"]: package["version"] for package in listed if package["name"] in FLOORS}
    # old packages call what newer ones beside them call deprecated
    quiet = ["-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning"] if pins else []
    # nor does torch's exporter of that time go with any ONNX of today: `export` says so, and keeps the weights
    tests = subprocess.run(
        [python, "-m", "pytest", "-q", *quiet, *(["-k", "not onnx"] if pins else []), *TESTS], cwd=ROOT, check=False
    )
    return {"versions": versions, "passed": tests.returncode == 0, "vulnerable": [] if pins else _vulnerable(python)}


def _vulnerable(python: Path) -> list[str]:
    """Packages of an environment with known vulnerabilities, by pip-audit in that environment."""
    subprocess.run([python, "-m", "pip", "install", "-q", "pip-audit"], check=True)
    done = subprocess.run(
        [python, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json", "--progress-spinner", "off"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout.strip():
        raise SystemExit(f"pip-audit said nothing:\n{done.stderr}")
    return [each["name"] for each in json.loads(done.stdout)["dependencies"] if each.get("vulns")]


if __name__ == "__main__":
    main()
