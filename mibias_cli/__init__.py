"""mibias for programs: what the `mibias` command does, as functions with typed results.

Nothing here loads torch before it is used: importing this package is quick.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mibias_cli.estimate.file import estimate_file as estimate
    from mibias_cli.evaluation.findings import AuditFindings, AuditSettings
    from mibias_cli.evaluation.leakage_findings import (
        AttributeFindings,
        Finding,
        Interval,
        Leakage,
        ProbeFindings,
        Sides,
    )
    from mibias_cli.export.load import LoadedExtractor, load_extractor
    from mibias_cli.export.new_rows import EmbeddedRows, PredictedRows
    from mibias_cli.recipe.load import load_recipe
    from mibias_cli.recipe.schema import Recipe
    from mibias_cli.report.document import GateResult, Report
    from mibias_cli.report.read import read_report
    from mibias_cli.report.verdict import Verdict
    from mibias_cli.run.arrays import audit
    from mibias_cli.run.workflow import EvaluatedTarget, TrainedRun, evaluate, export, train

__all__ = [
    "AttributeFindings",
    "AuditFindings",
    "AuditSettings",
    "EmbeddedRows",
    "EvaluatedTarget",
    "Finding",
    "GateResult",
    "Interval",
    "Leakage",
    "LoadedExtractor",
    "PredictedRows",
    "ProbeFindings",
    "Recipe",
    "Report",
    "Sides",
    "TrainedRun",
    "Verdict",
    "audit",
    "estimate",
    "evaluate",
    "export",
    "load_extractor",
    "load_recipe",
    "read_report",
    "train",
]

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(
        ("AttributeFindings", "Finding", "Interval", "Leakage", "ProbeFindings", "Sides"),
        "mibias_cli.evaluation.leakage_findings",
    ),
    **dict.fromkeys(("AuditFindings", "AuditSettings"), "mibias_cli.evaluation.findings"),
    **dict.fromkeys(("EvaluatedTarget", "TrainedRun", "evaluate", "export", "train"), "mibias_cli.run.workflow"),
    **dict.fromkeys(("GateResult", "Report"), "mibias_cli.report.document"),
    **dict.fromkeys(("LoadedExtractor", "load_extractor"), "mibias_cli.export.load"),
    **dict.fromkeys(("EmbeddedRows", "PredictedRows"), "mibias_cli.export.new_rows"),
    "Recipe": "mibias_cli.recipe.schema",
    "Verdict": "mibias_cli.report.verdict",
    "audit": "mibias_cli.run.arrays",
    "estimate": "mibias_cli.estimate.file",
    "load_recipe": "mibias_cli.recipe.load",
    "read_report": "mibias_cli.report.read",
}
"""Where each public name lives; it is imported when it is first asked for."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mibias_cli' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), "estimate_file" if name == "estimate" else name)
    if isinstance(found, FunctionType):
        # programs pass what they like; the rooms trust each other
        from mibias_cli.errors import checked

        found = checked(found)
    globals()[name] = found
    return found


class _Face(ModuleType):
    """This package, whose functions `export` and `estimate` share their names with rooms of the package.

    Importing `mibias_cli.export.load` makes Python set the attribute `export` to the room; here it stays the function.
    `from mibias_cli.export.load import …` finds the room by its full name, as ever.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
