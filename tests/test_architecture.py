"""The lines that hold the package together: import contracts, public names, who prints, and docstrings."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import mibias_cli

PACKAGE = Path(mibias_cli.__file__).parent
ROOT = PACKAGE.parent
MODULES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py" and "__pycache__" not in path.parts
]


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def exported(path: Path) -> list[str] | None:
    """The literal value of a module's __all__, or None."""
    for node in tree(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return ast.literal_eval(getattr(node, "value", None))
    return None


def defined(path: Path) -> set[str]:
    """Names that a module's top level binds: definitions, assignments and imports."""
    names: set[str] = set()
    top = list(tree(path).body)
    top += [inner for node in top if isinstance(node, ast.If) for inner in [*node.body, *node.orelse]]
    for node in top:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {item.id for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)}
    return names


def public_definitions(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    return [
        node
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in (exported(path) or ())
    ]


def test_import_contracts_hold() -> None:
    """The contracts of pyproject.toml: layers, who knows the recipe, who imports timm, rich and typer."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_all_names_what_is_there(path: Path) -> None:
    names = exported(path)
    assert names is not None, "a module says what is public in __all__"
    assert len(names) == len(set(names))
    assert [item for item in names if item not in defined(path)] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "a module begins with what it is for"
    assert [node.name for node in public_definitions(path) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] == "cli":
        return
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_files_are_one_idea_and_functions_fit_a_screen(path: Path) -> None:
    """Hard limits, above the 300 and 40 lines that we aim at."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno for node in functions if node.end_lineno is not None}
    assert {key: lines for key, lines in long.items() if lines > 80} == {}


def test_no_room_is_crowded() -> None:
    rooms = [path for path in PACKAGE.rglob("*") if (path / "__init__.py").exists()]
    modules = {path: len([p for p in path.glob("*.py") if p.name != "__init__.py"]) for path in rooms}
    assert {room: n for room, n in modules.items() if n > 16} == {}
    top = {path.name for path in PACKAGE.glob("*.py")}
    assert top == {"__init__.py", "errors.py", "progress.py", "run_folder.py", "seeds.py"}


def test_tests_mirror_the_package() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    tested = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert rooms - tested == set()
