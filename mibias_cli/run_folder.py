"""The folder of a run: what belongs to it, when it may be written, and what of the machine is remembered in it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from mibias_cli.errors import RunError

__all__ = [
    "CHOICE",
    "LEAKAGE_GIVEN_TARGET",
    "RECIPE_FILE",
    "best_path",
    "claim_run_folder",
    "fresh_folder",
    "is_run",
    "last_path",
    "original_path",
    "timestamp",
    "write_environment",
]

RECIPE_FILE = "recipe.resolved.yaml"
CHOICE = "choice"
"""Kind of the record in metrics.jsonl that tells, after training, what the weights that were kept are chosen by."""
LEAKAGE_GIVEN_TARGET = "validation/leakage_given_target_bits"
"""Its figure: what the features tell of the debiased attributes beyond the target, on validation rows."""
OWNED = (
    RECIPE_FILE,
    "environment.json",
    "metrics.jsonl",
    "train.log",
    "tensorboard",
    "checkpoints",
    "report",
    "export",
)
"""What a run writes into its folder; `--overwrite` removes these and nothing else."""

PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "scikit-learn", "safetensors", "pydantic")


def timestamp() -> str:
    """The present time as a folder name, UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / RECIPE_FILE).is_file()


def last_path(run: Path) -> Path:
    """The whole training state of a run, for resuming."""
    return run / "checkpoints" / "last.pt"


def best_path(run: Path) -> Path:
    """The weights (extractor and head) that a run evaluates and exports."""
    return run / "checkpoints" / "best.safetensors"


def original_path(run: Path) -> Path:
    """The weights (extractor and head) of the original extractor: what `before` speaks of."""
    return run / "checkpoints" / "original.safetensors"


def claim_run_folder(folder: Path, *, overwrite: bool) -> None:
    """Make a folder ready for a new run.

    Raises:
        RunError: The folder holds something, and either it is not a run or overwriting was not asked for.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another folder with --out")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise RunError(
                f"{folder}: exists already; choose another --out, continue it with --resume, or pass --overwrite"
            )
        if not is_run(folder):
            raise RunError(f"{folder}: is not empty and is not a run: nothing in it was touched; choose another --out")
        for name in OWNED:
            path = folder / name
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
    folder.mkdir(parents=True, exist_ok=True)


def fresh_folder(parent: Path, name: str) -> Path:
    """`parent/name`, or where that exists `parent/name-2`, `name-3`, …: a new report never covers an old one."""
    candidate, n = parent / name, 2
    while candidate.exists():
        candidate, n = parent / f"{name}-{n}", n + 1
    return candidate


def write_environment(folder: Path, *, device: str, precision: str) -> None:
    """environment.json: versions, machine and precision, for reading a run later; no host name, user or path."""
    versions = {}
    for package in ("mibias", *PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    environment = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "n_cpus": os.cpu_count(),
        "device": device,
        "precision": precision,
        "packages": versions,
    }
    (folder / "environment.json").write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")
