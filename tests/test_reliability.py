"""The scripts behind `make reliability` and `make quality`: what they try, and how they count."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    """Modules of the scripts, which find each other by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        patch.syspath_prepend(str(BENCHMARKS / "reliability"))
        names = (
            "quality",
            "versions",
            "faults",
            "hostile",
            "page",
            "bad_recipes",
            "bad_data",
            "bad_models",
            "bad_reports",
        )
        found = {name: __import__(name) for name in names}
        for name in (*names, "cases", "fault_runs", "fault_stops", "sandbox", "stock"):
            sys.modules.pop(name, None)
    return found


def test_there_are_as_many_cases_as_promised_and_none_twice(modules: dict[str, ModuleType]) -> None:
    faults = list(modules["faults"].cases(0))
    bad = [case for name, module in modules.items() if name.startswith("bad_") for case in module.cases()]
    hostile = list(modules["hostile"].cases())
    assert (len(faults) >= 120, len(bad) >= 250, len(hostile) >= 60) == (True, True, True)
    for cases in (faults, bad, hostile):
        assert [name for name, n in Counter(case.name for case in cases).items() if n > 1] == []
    kinds = Counter(fault.kind for fault in faults)
    assert kinds["SIGKILL"] + kinds["SIGKILL in a write"] >= 60
    assert kinds["Ctrl-C"] >= 60


def test_the_page_counts_what_went_wrong_and_keeps_its_introduction(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    wrong = [
        ("fault", ""),
        ("fault", "lost"),
        ("bad input", "traceback"),
        ("bad input", "silent"),
        ("hostile", "got in"),
    ]
    results = [
        {"group": group, "kind": "Ctrl-C", "name": str(k), "wrong": text, "said": "x|y", "seconds": 0.5 * k}
        for k, (group, text) in enumerate(wrong)
    ]
    expected = {"faults": 2, "lost": 1, "bad_inputs": 2, "tracebacks": 1, "hostile": 1, "got_in": 1, "silent": 1}
    assert modules["page"].counts(results) == expected
    page = tmp_path / "reliability.md"
    page.write_text("# Reliability\n")
    for _ in range(2):  # filled again, it does not grow
        modules["page"].write_page(page, results, seed=0, seconds=60)
    text = page.read_text()
    assert text.startswith("# Reliability\n")
    assert text.count("| fault | Ctrl-C | 2 | 1 | 1 |") == 1
    assert "2.00 s at most" in text
    assert "x/y" in text


def test_a_mutant_is_the_module_with_one_thing_changed(modules: dict[str, ModuleType]) -> None:
    quality = modules["quality"]
    text = "__all__ = ['f']\n\ndef f(x: int) -> bool:\n    return x + 1 < 2 and True\n"
    plain = ast.unparse(ast.parse(text))
    made = [quality.mutated(text, k) for k in range(sum(1 for _ in quality._nodes(ast.parse(text))))]
    # return, and, <, +, 1, 2, True
    assert len(set(made)) == len(made) == 7
    assert plain not in made
    assert all(one.startswith("__all__ = ['f']\n\ndef f(x: int) -> bool:") for one in made)
    mutants = quality.draw_mutants(300, 0)
    assert mutants == quality.draw_mutants(300, 0)
    assert len({mutant.name for mutant in mutants}) == 300
    assert {mutant.module.split("/")[0] for mutant in mutants} == set(quality.ROOMS)
    assert all((quality.ROOT / path).exists() for mutant in mutants for path in quality.tests_of(mutant.module))


def test_coverage_counts_lines_with_code_that_ran(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = modules["quality"]
    (tmp_path / "mibias_cli").mkdir()
    text = "# a word\ndef f():\n    return 1\n\n\ndef g():\n    return 2\n"
    (tmp_path / "mibias_cli" / "__init__.py").write_text(text)
    test = tmp_path / "test_f.py"
    test.write_text("import mibias_cli\n\n\ndef test_f():\n    assert mibias_cli.f() == 1\n")
    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # of the two definitions and the two returns one return never ran
    assert quality._coverage(tmp_path) == 75
    # a part that is done is not done again
    test.write_text("def test_f():\n    assert False\n")
    assert quality._coverage(tmp_path) == 75
    (tmp_path / "coverage.json").unlink()
    with pytest.raises(SystemExit, match="the tests fail"):
        quality._coverage(tmp_path)


def test_the_oldest_versions_are_those_that_the_project_names(modules: dict[str, ModuleType]) -> None:
    versions = modules["versions"]
    root = BENCHMARKS.parent
    pins = versions.floors((root / "pyproject.toml").read_text())
    assert [pin.partition("==")[0] for pin in pins] == list(versions.FLOORS)
    assert "torch==2.6" in pins
    assert all((root / path).exists() for path in versions.TESTS)
