"""How well the tests hold the code: lines that they reach, and mutants that they notice (`make quality`).

    python benchmarks/quality.py [--mutants 300] [--seed 0] [--jobs 2] [--skip-coverage] [--work runs/quality]

A mutant is the package with one thing changed (a comparison turned, a number off by one, a condition denied, …) in a
copy of its own, on which the tests of the changed module run. One that passes them was not noticed. Mutants are drawn
by the seed, as many from a module as it has places to change. What is done stands in the work folder: begun again, only
the rest is run. The last line is JSON: {"coverage": percent, "mutation_score": percent}.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mibias_cli"
ROOMS = ("estimators", "evaluation", "recipe", "gates")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.USub: ast.UAdd, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


# --- mutants ---


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """The k-th place of a module that can be changed, and the line on which it stands."""

    module: str
    place: int
    line: int

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}#{self.place}"


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that a mutant may change, in the order of the text: code that runs, no annotations and no texts."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        typed = [getattr(node, name, None) for name in ("annotation", "returns")]
        names_only = isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets)
        checked = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for part in (*filter(None, typed), *([node] if names_only or checked else [])):
            skipped |= {id(inner) for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) not in skipped and _change(node, dry=True):
            yield node


def _change(node: ast.AST, *, dry: bool) -> bool:
    """Change a node in place (dry: only say whether that can be)."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _TURNED:
        if not dry:
            node.ops[0] = _TURNED[type(node.ops[0])]()  # type: ignore[call-overload]
        return True
    if isinstance(node, ast.BoolOp | ast.BinOp | ast.UnaryOp | ast.AugAssign) and type(node.op) in _TURNED:
        if not dry:
            node.op = _TURNED[type(node.op)]()  # type: ignore[assignment]
        return True
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        if not dry:
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        return True
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        if not dry:
            node.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
        return True
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        if not dry:
            node.value = ast.Constant(value=None)
        return True
    return False


def draw_mutants(n: int, seed: int) -> list[Mutant]:
    """A sample of all mutants of the rooms."""
    found = []
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            module = str(path.relative_to(PACKAGE))
            nodes = _nodes(ast.parse(path.read_text(encoding="utf-8")))
            found += [Mutant(module=module, place=k, line=getattr(node, "lineno", 0)) for k, node in enumerate(nodes)]
    return random.Random(seed).sample(found, min(n, len(found)))


def mutated(text: str, place: int) -> str:
    """A module's text with its k-th place changed.

    Example:
        >>> mutated("def f(x):\\n    return x < 1", 1)
        'def f(x):\\n    return x <= 1'
    """
    tree = copy.deepcopy(ast.parse(text))
    node = next(node for k, node in enumerate(_nodes(tree)) if k == place)
    _change(node, dry=False)
    return ast.unparse(ast.fix_missing_locations(tree))


def tests_of(module: str) -> list[str]:
    """The tests of a module: the file of its name, else those of its folder; and the examples in its docstrings."""
    path = Path("tests") / module
    own = path.with_name(f"test_{path.name}")
    folder = path.parent
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    # what a file tests that is called otherwise stands beside it
    tests = [str(own), str(folder)] if (ROOT / own).is_file() else [str(folder)]
    return [*tests, f"mibias_cli/{module}"]


def _try(mutant: Mutant | None, module: str, folder: Path, limit: float) -> tuple[str, float]:
    """`noticed`, `unnoticed` or `timed out`, and the seconds that it took; None: the package as it is."""
    copied = folder / "copy"
    shutil.rmtree(copied, ignore_errors=True)
    names = ("mibias_cli", "tests", "recipes", "pyproject.toml", "benchmarks", "docs", "README.md", "CHANGELOG.md")
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copied / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(source, copied / name)
    if mutant is not None:
        path = copied / "mibias_cli" / module
        path.write_text(mutated(path.read_text(encoding="utf-8"), mutant.place), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(module)]
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1"}
    started = time.monotonic()
    try:
        code = subprocess.run(
            command, cwd=copied, env=environment, capture_output=True, timeout=limit, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return "timed out", time.monotonic() - started
    finally:
        shutil.rmtree(copied, ignore_errors=True)
    return ("unnoticed" if code == 0 else "noticed"), time.monotonic() - started


def _score(n: int, seed: int, jobs: int, work: Path) -> float:
    """Percent of the mutants that the tests notice; each is noted as it ends."""
    path = work / "mutants.jsonl"
    noted = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {note["name"]: note for note in noted}
    lock = threading.Lock()

    def note(name: str, result: str, seconds: float) -> dict[str, Any]:
        found = {"name": name, "result": result, "seconds": round(seconds, 1)}
        with lock, path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        print(f"{result}: {name} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        return found

    def base(module: str, folder: Path) -> float:
        # how long the tests take, and that they pass: else every mutant would seem to be noticed
        with lock:
            known = done.get(module)
        if known is None:
            result, seconds = _try(None, module, folder, 3600)
            if result != "unnoticed":
                raise SystemExit(f"the tests of {module} fail without any mutant: {' '.join(tests_of(module))}")
            known = done[module] = note(module, "passes", seconds)
        return float(known["seconds"])

    def one(mutant: Mutant) -> str:
        if mutant.name in done:
            return str(done[mutant.name]["result"])
        folder = work / hashlib.sha256(mutant.name.encode()).hexdigest()[:12]
        limit = 60 + 4 * base(mutant.module, folder)
        result, seconds = _try(mutant, mutant.module, folder, limit)
        shutil.rmtree(folder, ignore_errors=True)
        return str(note(mutant.name, result, seconds)["result"])

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, draw_mutants(n, seed)))
    return 100 * sum(result != "unnoticed" for result in results) / len(results)


# --- lines ---


def _coverage(work: Path) -> float:
    """Percent of the package's lines with code that run in the tests."""
    data, found = work / "coverage", work / "coverage.json"
    if not found.exists():
        options, environment = ["--data-file", str(data)], {**os.environ, **_ONE_THREAD}
        run = [sys.executable, "-m", "coverage", "run", *options, "--source", "mibias_cli", "-m", "pytest", "-q"]
        if subprocess.run(run, cwd=ROOT, env=environment, check=False, stdout=sys.stderr).returncode:
            raise SystemExit("the tests fail, so what they reach tells nothing")
        report = [sys.executable, "-m", "coverage", "json", *options, "--quiet", "-o", str(found)]
        subprocess.run(report, cwd=ROOT, check=True)
    return float(json.loads(found.read_text())["totals"]["percent_covered"])


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--skip-coverage", action="store_true")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "quality")
    options = parser.parse_args()
    digest = hashlib.sha256()
    for folder in (PACKAGE, ROOT / "tests"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    work = options.work.resolve() / f"{digest.hexdigest()[:12]}-{options.seed}"
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, float | None] = {"coverage": None}
    if not options.skip_coverage:
        found["coverage"] = round(_coverage(work), 1)
    found["mutation_score"] = round(_score(options.mutants, options.seed, options.jobs, work), 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
