"""The public face: what programs import, loaded only when it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest

import mibias_cli

PUBLIC = [
    "AttributeFindings", "AuditFindings", "AuditSettings", "EmbeddedRows", "EvaluatedTarget", "Finding", "GateResult",
    "Interval", "Leakage", "LoadedExtractor", "PredictedRows", "ProbeFindings", "Recipe", "Report", "Sides",
    "TrainedRun", "Verdict", "audit", "estimate", "evaluate", "export", "load_extractor", "load_recipe", "read_report",
    "train",
]  # fmt: skip


def test_these_names_are_public() -> None:
    """A name that goes breaks programs; one that comes is a promise: both are said in the changelog."""
    assert mibias_cli.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(mibias_cli))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_is(name: str) -> None:
    found = getattr(mibias_cli, name)
    assert found.__doc__
    assert found.__module__.startswith("mibias_cli.")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import mibias_cli, sys; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules); mibias_cli.__all__"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_functions_that_share_a_name_with_a_room_stay_functions() -> None:
    code = (
        "import mibias_cli.export.load, mibias_cli.estimate.file, mibias_cli\n"
        "from mibias_cli.export.load import load_export\n"
        "assert callable(mibias_cli.export) and callable(mibias_cli.estimate) and callable(load_export)\n"
        "from mibias_cli import estimate, export\n"
        "assert callable(export) and callable(estimate)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert files("mibias_cli").joinpath("py.typed").is_file()


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'debias'"):
        _ = mibias_cli.debias
