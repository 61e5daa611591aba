"""What all tests share: one thread per process (set before torch is imported), and no terminal habits."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

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


@pytest.fixture
def make() -> object:
    """`reports_by_hand.make_report`."""
    from reports_by_hand import make_report  # not at the top: the environment above is set before torch is imported

    return make_report
