"""What all tests share: one thread per process (set before torch is imported), and no terminal habits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, count[int]]:
    """Where caches lie, and the next one's number: pytest's own numbering reads all folders to find each next one."""
    return tmp_path_factory.mktemp("caches"), count()


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, _caches: tuple[Path, count[int]]) -> None:
    """Tests see the same program in a terminal, in CI and in a debugging session, and no cache but their own."""
    folder, numbers = _caches
    cache = folder / str(next(numbers))
    cache.mkdir()
    monkeypatch.setenv("MIBIAS_CACHE", str(cache))
    for name in ("CI", "NO_COLOR", "MIBIAS_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


_MODELS: dict[tuple[Any, ...], Any] = {}


@pytest.fixture(autouse=True)
def _models_of_the_target_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tests train on the same digits: what their colours tell of them is fitted once for the same arguments."""
    groups = sys.modules.get("mibias_cli.data.groups")  # where no test has loaded it, none is loaded for this
    if groups is None:
        return
    fit = groups._best_model

    def fitted(y: Any, c: Any, prior: Any, n_c: Sequence[int], seed: int) -> Any:
        key = (*((a.tobytes(), a.shape, a.dtype.str) for a in (y, c, prior)), tuple(n_c), seed)
        if key not in _MODELS:
            _MODELS[key] = fit(y, c, prior, n_c, seed)
            for found in _MODELS[key]:
                found.setflags(write=False)
        return _MODELS[key]

    monkeypatch.setattr(groups, "_best_model", fitted)


@pytest.fixture
def make() -> object:
    """`reports_by_hand.make_report`."""
    from reports_by_hand import make_report  # not at the top: the environment above is set before torch is imported

    return make_report
