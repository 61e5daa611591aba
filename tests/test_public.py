"""The public face: what programs import, loaded only when it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import mibias_cli
from mibias_cli.errors import MibiasError

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


ARRAYS = np.zeros((40, 2)), {"sex": np.arange(40) % 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mibias_cli.train({"version": 1}), "train: recipe must be Recipe | Path | str, found dict"),
        (lambda: mibias_cli.train("gone.yaml"), "gone.yaml: there is no such file"),
        (lambda: mibias_cli.train("r.yaml", gates=["a > 0"], out=3), "gates must be GateRules, found list"),
        (lambda: mibias_cli.evaluate("run", recipe=Path("gone.yaml")), "gone.yaml: there is no such file"),
        (lambda: mibias_cli.evaluate(None), "evaluate: target must be Path | str, found NoneType"),
        (lambda: mibias_cli.export("run", formats="onnx"), "formats must be Sequence[str], found str"),
        (lambda: mibias_cli.estimate(np.zeros(3), z="z", c="c"), "path must be Path | str, found ndarray"),
        (lambda: mibias_cli.estimate("t.csv", z=["a"], c="c"), "z must be str, found list"),
        (lambda: mibias_cli.estimate("t.csv", z="a", c="c", kind="text"), "kind must be Kind, found str"),
        (lambda: mibias_cli.audit(*ARRAYS, settings={}), "settings must be AuditSettings | None, found dict"),
        (lambda: mibias_cli.audit(*ARRAYS, seed="0", progress=print), "seed must be int, found str; progress must be"),
        (lambda: mibias_cli.audit(*ARRAYS, numbers="sex"), "numbers must be Collection[str], found str"),
        (lambda: mibias_cli.audit(*ARRAYS, seed=-1), "seed: is -1; write 0 or more"),
        (lambda: mibias_cli.load_recipe(None), "load_recipe: path must be Path | str, found NoneType"),
        (lambda: mibias_cli.read_report({}), "read_report: path must be Path | str, found dict"),
        (lambda: mibias_cli.load_extractor(1), "load_extractor: folder must be Path | str, found int"),
    ],
)
def test_arguments_of_another_type_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MibiasError, match=re.escape(message)):
        call()


def test_numpys_integers_are_seeds() -> None:
    quick = mibias_cli.AuditSettings(probes=("logistic",), n_bootstrap=100, n_permutations=0)
    assert mibias_cli.audit(*ARRAYS, seed=np.int64(3), settings=quick).provenance["seed"] == 3
